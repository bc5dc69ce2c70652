//! A TCP port scan over raw Ethernet frames, through QEMU's UDP-carried network.
//!
//! A forwarded port would show only what was forwarded; here the machine sits alone on a wire with us and every one of
//! its 65,535 ports gets a SYN. Frames: Ethernet II, ARP (RFC 826), IPv4 (RFC 791), TCP (RFC 9293).

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

const OUR_MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
const BROADCAST: [u8; 6] = [0xff; 6];
const OUR_PORT: u16 = 40_000;
const WINDOW: usize = 256;

/// One end of the wire.
pub struct Wire {
    socket: UdpSocket,
    peer: SocketAddr,
    ours: Ipv4Addr,
    guest: Ipv4Addr,
}

/// Which ports answered, and how.
#[derive(Debug, Default)]
pub struct Ports {
    /// Ports that answered SYN with SYN and ACK.
    pub open: BTreeSet<u16>,
    /// Ports that answered with RST.
    pub closed: BTreeSet<u16>,
}

impl Wire {
    /// Takes our end: frames go to QEMU's socket at `peer` and come to `socket`.
    ///
    /// # Errors
    /// When the socket takes no time limit.
    pub fn new(socket: UdpSocket, peer: SocketAddr, ours: Ipv4Addr, guest: Ipv4Addr) -> io::Result<Self> {
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        Ok(Self { socket, peer, ours, guest })
    }

    /// Finds the guest's hardware address, answering its own questions meanwhile.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] when it does not answer within `limit`.
    pub fn resolve(&self, limit: Duration) -> io::Result<[u8; 6]> {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            self.send(&arp(1, BROADCAST, self.ours, [0; 6], self.guest))?;
            if let Some(frame) = self.receive()?
                && let Some((mac, sender)) = arp_sender(&frame)
                && sender == self.guest
            {
                return Ok(mac);
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "the guest answers no ARP"))
    }

    /// Sends a SYN to every port and waits until each answered, or `limit` is over.
    ///
    /// # Errors
    /// When the socket fails; a silent port is in neither set.
    pub fn scan(&self, mac: [u8; 6], limit: Duration) -> io::Result<Ports> {
        let end = Instant::now() + limit;
        let mut found = Ports::default();
        let mut waiting: BTreeSet<u16> = (1..=u16::MAX).collect();
        while !waiting.is_empty() && Instant::now() < end {
            let burst: Vec<u16> = waiting.iter().copied().take(WINDOW).collect();
            for port in &burst {
                self.send(&syn(mac, self.ours, self.guest, *port))?;
            }
            while burst.iter().any(|port| waiting.contains(port)) {
                let Some(frame) = self.receive()? else { break };
                let Some((port, flags)) = tcp_answer(&frame, self.guest) else { continue };
                if flags & 0x12 == 0x12 {
                    found.open.insert(port);
                } else if flags & 0x04 != 0 {
                    found.closed.insert(port);
                }
                waiting.remove(&port);
            }
        }
        Ok(found)
    }

    /// Sends a SYN from a far address, as a gateway would hand it on, and says whether the port accepted within `limit`.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn knock(&self, mac: [u8; 6], from: Ipv4Addr, port: u16, limit: Duration) -> io::Result<bool> {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            self.send(&syn(mac, from, self.guest, port))?;
            if let Some(frame) = self.receive()?
                && tcp_answer(&frame, self.guest).is_some_and(|(found, flags)| found == port && flags & 0x12 == 0x12)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send_to(frame, self.peer).map(|_| ())
    }

    fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = [0; 2048];
        match self.socket.recv(&mut buffer) {
            Ok(length) => {
                let frame = buffer[..length].to_vec();
                if let Some((mac, sender)) = arp_question(&frame, self.ours) {
                    self.send(&arp(2, mac, self.ours, mac, sender))?;
                }
                Ok(Some(frame))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(None),
            // QEMU has not opened its end yet, or has gone
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn ethernet(to: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(60);
    frame.extend(to);
    frame.extend(OUR_MAC);
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame.resize(frame.len().max(60), 0);
    frame
}

fn arp(operation: u16, to: [u8; 6], ours: Ipv4Addr, target_mac: [u8; 6], target: Ipv4Addr) -> Vec<u8> {
    let mut body = vec![0, 1, 8, 0, 6, 4];
    body.extend(operation.to_be_bytes());
    body.extend(OUR_MAC);
    body.extend(ours.octets());
    body.extend(target_mac);
    body.extend(target.octets());
    ethernet(to, 0x0806, &body)
}

fn arp_fields(frame: &[u8]) -> Option<(u16, [u8; 6], Ipv4Addr, Ipv4Addr)> {
    if frame.get(12..14)? != [0x08, 0x06] {
        return None;
    }
    let operation = u16::from_be_bytes(frame.get(20..22)?.try_into().ok()?);
    let mac: [u8; 6] = frame.get(22..28)?.try_into().ok()?;
    let sender: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
    let target: [u8; 4] = frame.get(38..42)?.try_into().ok()?;
    Some((operation, mac, sender.into(), target.into()))
}

fn arp_sender(frame: &[u8]) -> Option<([u8; 6], Ipv4Addr)> {
    arp_fields(frame).filter(|fields| fields.0 == 2).map(|fields| (fields.1, fields.2))
}

fn arp_question(frame: &[u8], ours: Ipv4Addr) -> Option<([u8; 6], Ipv4Addr)> {
    arp_fields(frame).filter(|fields| fields.0 == 1 && fields.3 == ours).map(|fields| (fields.1, fields.2))
}

fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for pair in parts.concat().chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

fn syn(mac: [u8; 6], ours: Ipv4Addr, guest: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut tcp = Vec::with_capacity(20);
    tcp.extend(OUR_PORT.to_be_bytes());
    tcp.extend(port.to_be_bytes());
    tcp.extend(u32::from(port).to_be_bytes()); // sequence number: any
    tcp.extend([0; 4]);
    tcp.extend([0x50, 0x02, 0x10, 0x00, 0, 0, 0, 0]);
    let pseudo = [&ours.octets()[..], &guest.octets()[..], &[0, 6, 0, 20]].concat();
    let sum = checksum(&[&pseudo, &tcp]);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    let mut ip = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
    ip.extend(ours.octets());
    ip.extend(guest.octets());
    let sum = checksum(&[&ip]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ip.extend(tcp);
    ethernet(mac, 0x0800, &ip)
}

fn tcp_answer(frame: &[u8], guest: Ipv4Addr) -> Option<(u16, u8)> {
    let ip = frame.get(14..)?;
    if frame.get(12..14)? != [0x08, 0x00] || *ip.get(9)? != 6 || ip.get(12..16)? != guest.octets() {
        return None;
    }
    let tcp = ip.get(usize::from(ip.first()? & 0x0f) * 4..)?;
    if u16::from_be_bytes(tcp.get(2..4)?.try_into().ok()?) != OUR_PORT {
        return None;
    }
    Some((u16::from_be_bytes(tcp.get(0..2)?.try_into().ok()?), *tcp.get(13)?))
}
