//! The four things PID 1 asks of the kernel's routing tables, over rtnetlink (linux/rtnetlink.h, linux/netlink.h).
//!
//! Written out rather than taken from a crate: four fixed messages and one list, against two dozen crates with an
//! asynchronous runtime of their own. The kernel is the only peer, and its answers are still read with bounds.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

const HEADER: usize = 16;
/// `NLM_F_REQUEST | NLM_F_ACK`.
const REQUEST_ACK: u16 = 0x1 | 0x4;
/// `NLM_F_CREATE | NLM_F_EXCL`.
const CREATE: u16 = 0x400 | 0x200;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const REQUEST_DUMP: u16 = 0x1 | 0x300;
const ARPHRD_ETHER: u16 = 1;
/// Most network devices that are looked at.
const MAX_LINKS: usize = 64;

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The kernel said no, or the socket failed.
    #[error("cannot {what}")]
    Request {
        /// What was asked.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The answer is not netlink.
    #[error("the kernel's answer to {what} cannot be read")]
    Answer {
        /// What was asked.
        what: &'static str,
    },
}

/// A network device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Whether it is an Ethernet device.
    pub ethernet: bool,
    /// Its hardware address, if it has one of six bytes.
    pub hardware: Option<[u8; 6]>,
    /// Largest packet in bytes.
    pub mtu: u32,
}

/// One rtnetlink socket.
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Opens the socket.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> Result<Self, NetlinkError> {
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
            .map(|socket| Self { socket, sequence: 0 })
            .map_err(|errno| NetlinkError::Request { what: "open rtnetlink", source: errno.into() })
    }

    /// Switches a device on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn link_up(&mut self, index: u32) -> Result<(), NetlinkError> {
        self.ask("switch a network device on", link_up(index))
    }

    /// Gives a device an address.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add_address(&mut self, index: u32, address: IpAddr, prefix_bits: u8) -> Result<(), NetlinkError> {
        self.ask("add an address", add_address(index, address, prefix_bits))
    }

    /// Adds a route to one host that is reached without a gateway.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add_host_route(&mut self, index: u32, host: IpAddr) -> Result<(), NetlinkError> {
        self.ask("add the route to the gateway", add_route(index, Some(host), None))
    }

    /// Adds the default route.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add_default_route(&mut self, index: u32, gateway: IpAddr) -> Result<(), NetlinkError> {
        self.ask("add the default route", add_route(index, None, Some(gateway)))
    }

    /// All network devices, in the kernel's order.
    ///
    /// # Errors
    /// The kernel's, or an answer that cannot be read.
    pub fn links(&mut self) -> Result<Vec<Link>, NetlinkError> {
        const WHAT: &str = "list the network devices";
        let unreadable = NetlinkError::Answer { what: WHAT };
        self.send(WHAT, list_links())?;
        let mut links = Vec::new();
        loop {
            let answer = self.receive(WHAT)?;
            for message in Messages(&answer) {
                let Some((kind, body)) = message else { return Err(unreadable) };
                match kind {
                    libc::NLMSG_DONE => return Ok(links),
                    libc::NLMSG_ERROR => return Err(NetlinkError::Request { what: WHAT, source: error_of(body) }),
                    _ => {}
                }
                if i32::from(libc::RTM_NEWLINK) == kind {
                    let Some(link) = parse_link(body) else { return Err(unreadable) };
                    if links.len() == MAX_LINKS {
                        return Err(unreadable);
                    }
                    links.push(link);
                }
            }
        }
    }

    /// Sends a request and waits for the kernel's verdict.
    fn ask(&mut self, what: &'static str, request: Vec<u8>) -> Result<(), NetlinkError> {
        self.send(what, request)?;
        let answer = self.receive(what)?;
        match Messages(&answer).next() {
            Some(Some((libc::NLMSG_ERROR, body))) => {
                match body.first_chunk::<4>().map(|code| i32::from_ne_bytes(*code)) {
                    Some(0) => Ok(()),
                    Some(_) => Err(NetlinkError::Request { what, source: error_of(body) }),
                    None => Err(NetlinkError::Answer { what }),
                }
            }
            _ => Err(NetlinkError::Answer { what }),
        }
    }

    fn send(&mut self, what: &'static str, mut request: Vec<u8>) -> Result<(), NetlinkError> {
        self.sequence += 1;
        finish(&mut request, self.sequence);
        send(self.socket.as_raw_fd(), &request, MsgFlags::empty())
            .map(|_| ())
            .map_err(|errno| NetlinkError::Request { what, source: errno.into() })
    }

    fn receive(&self, what: &'static str) -> Result<Vec<u8>, NetlinkError> {
        // The kernel fills at most 32 KiB of a dump at a time.
        let mut answer = vec![0; 32 * 1024];
        let length = recv(self.socket.as_raw_fd(), &mut answer, MsgFlags::empty())
            .map_err(|errno| NetlinkError::Request { what, source: errno.into() })?;
        answer.truncate(length);
        Ok(answer)
    }
}

/// The errno that an error message begins with, negated.
fn error_of(body: &[u8]) -> io::Error {
    let code = body.first_chunk::<4>().map_or(0, |code| i32::from_ne_bytes(*code));
    io::Error::from_raw_os_error(code.wrapping_neg())
}

/// A message without its length and sequence number, which [`finish`] fills in.
fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.resize(HEADER, 0);
    bytes.extend_from_slice(body);
    bytes
}

fn finish(message: &mut [u8], sequence: u32) {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    if let Some(field) = message.first_chunk_mut::<4>() {
        *field = length.to_ne_bytes();
    }
    if let Some(field) = message.get_mut(8..12) {
        field.copy_from_slice(&sequence.to_ne_bytes());
    }
}

/// Appends an attribute: length, type, value, padding to four bytes.
fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// `struct ifinfomsg` with `IFF_UP` set in flags and change mask.
fn link_up(index: u32) -> Vec<u8> {
    let up = (libc::IFF_UP as u32).to_ne_bytes();
    let mut body = vec![0; 4];
    body.extend_from_slice(&index.to_ne_bytes());
    body.extend_from_slice(&up);
    body.extend_from_slice(&up);
    message(libc::RTM_NEWLINK, REQUEST_ACK, &body)
}

fn list_links() -> Vec<u8> {
    message(libc::RTM_GETLINK, REQUEST_DUMP, &[0; 16])
}

/// `struct ifaddrmsg`, local address and address. IPv6 skips duplicate detection: the address is the document's.
fn add_address(index: u32, address: IpAddr, prefix_bits: u8) -> Vec<u8> {
    let (family, bytes) = family_and_bytes(address);
    let flags = if address.is_ipv6() { libc::IFA_F_NODAD as u8 } else { 0 };
    let mut body = vec![family, prefix_bits, flags, libc::RT_SCOPE_UNIVERSE];
    body.extend_from_slice(&index.to_ne_bytes());
    let mut message = message(libc::RTM_NEWADDR, REQUEST_ACK | CREATE, &body);
    attribute(&mut message, libc::IFA_LOCAL, &bytes);
    attribute(&mut message, libc::IFA_ADDRESS, &bytes);
    message
}

/// `struct rtmsg`: to one host or, without one, to everywhere; through a gateway or, without one, on the link.
fn add_route(index: u32, host: Option<IpAddr>, gateway: Option<IpAddr>) -> Vec<u8> {
    let family = host.or(gateway).map_or(0, |address| family_and_bytes(address).0);
    let host = host.map(|host| family_and_bytes(host).1);
    let destination_bits = host.as_ref().map_or(0, |bytes| u8::try_from(bytes.len() * 8).unwrap_or(0));
    let scope = if gateway.is_some() { libc::RT_SCOPE_UNIVERSE } else { libc::RT_SCOPE_LINK };
    let body =
        [family, destination_bits, 0, 0, libc::RT_TABLE_MAIN, libc::RTPROT_BOOT, scope, libc::RTN_UNICAST, 0, 0, 0, 0];
    let mut message = message(libc::RTM_NEWROUTE, REQUEST_ACK | CREATE, &body);
    if let Some(host) = host {
        attribute(&mut message, libc::RTA_DST, &host);
    }
    if let Some(gateway) = gateway {
        attribute(&mut message, libc::RTA_GATEWAY, &family_and_bytes(gateway).1);
    }
    attribute(&mut message, libc::RTA_OIF, &index.to_ne_bytes());
    message
}

fn family_and_bytes(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(v4) => (libc::AF_INET as u8, Ipv4Addr::octets(&v4).to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6 as u8, Ipv6Addr::octets(&v6).to_vec()),
    }
}

/// The messages of one datagram: type and body each; `None` once for a length that does not fit.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Option<(i32, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.0);
        let Some((length, kind)) = lengths_and_type(rest) else { return Some(None) };
        let Some(body) = rest.get(HEADER..length) else { return Some(None) };
        self.0 = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Some((kind, body)))
    }
}

fn lengths_and_type(message: &[u8]) -> Option<(usize, i32)> {
    let length = u32::from_ne_bytes(*message.first_chunk()?);
    let kind = u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?);
    Some((usize::try_from(length).ok()?, i32::from(kind)))
}

/// `struct ifinfomsg` and the two attributes that matter.
fn parse_link(body: &[u8]) -> Option<Link> {
    let kind = u16::from_ne_bytes(body.get(2..4)?.try_into().ok()?);
    let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let mut link = Link { index, ethernet: kind == ARPHRD_ETHER, hardware: None, mtu: 1500 };
    let mut rest = body.get(16..)?;
    while !rest.is_empty() {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
        let value = rest.get(4..length)?;
        match kind {
            libc::IFLA_ADDRESS => link.hardware = value.try_into().ok(),
            libc::IFLA_MTU => link.mtu = u32::from_ne_bytes(value.try_into().ok()?),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(mut message: Vec<u8>) -> String {
        finish(&mut message, 7);
        hex::encode(message)
    }

    // Field by field what iproute2 6.1 sends for the same commands (`strace -e trace=sendmsg ip …`), little-endian, with
    // another sequence number.
    #[test]
    fn messages_are_those_of_the_kernel_s_own_tool() {
        assert_eq!(finished(link_up(2)), "2000000010000500070000000000000000000000020000000100000001000000");
        assert_eq!(
            finished(add_address(2, [10, 0, 2, 15].into(), 24)),
            "280000001400050607000000000000000218000002000000080002000a00020f080001000a00020f"
        );
        assert_eq!(
            finished(add_route(2, None, Some([10, 0, 2, 2].into()))),
            "2c00000018000506070000000000000002000000fe03000100000000080005000a0002020800040002000000"
        );
        assert_eq!(
            finished(add_route(2, Some([10, 128, 0, 1].into()), None)),
            "2c00000018000506070000000000000002200000fe03fd0100000000080001000a8000010800040002000000"
        );
    }

    #[test]
    fn ipv6_addresses_are_sixteen_bytes_and_skip_duplicate_detection() {
        let message = add_address(3, "fd00::1".parse().unwrap(), 64);
        assert_eq!(message[16..20], [10, 64, 2, 0]);
        assert_eq!(message.len(), HEADER + 8 + 2 * (4 + 16));
    }

    #[test]
    fn the_kernel_lists_the_loopback_device() {
        let links = Netlink::open().unwrap().links().unwrap();
        assert!(links.iter().any(|link| link.index == 1 && !link.ethernet), "{links:?}");
    }

    #[test]
    fn a_request_the_kernel_refuses_names_what_was_asked() {
        let error = Netlink::open().unwrap().link_up(0x7FFF_FFFF).unwrap_err();
        assert!(matches!(&error, NetlinkError::Request { what: "switch a network device on", .. }), "{error:?}");
    }

    #[test]
    fn an_answer_cut_anywhere_is_an_error_and_no_panic() {
        let mut body = vec![0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        attribute(&mut body, libc::IFLA_ADDRESS, &[2, 0, 0, 0, 0, 1]);
        attribute(&mut body, libc::IFLA_MTU, &1400_u32.to_ne_bytes());
        let whole = Link { index: 2, ethernet: true, hardware: Some([2, 0, 0, 0, 0, 1]), mtu: 1400 };
        assert_eq!(parse_link(&body), Some(whole));
        for cut in 0..body.len() {
            assert_ne!(parse_link(&body[..cut]), Some(whole), "{cut}");
        }
        let mut message = message(libc::RTM_NEWLINK, 0, &body);
        finish(&mut message, 1);
        assert!(Messages(&message).all(|message| message.is_some()));
        for cut in 1..message.len() {
            assert_eq!(Messages(&message[..cut]).next(), Some(None), "{cut}");
        }
        message[..4].copy_from_slice(&3_u32.to_ne_bytes());
        assert_eq!(Messages(&message).next(), Some(None), "a length shorter than its own field");
    }
}
