//! The DHCPv4 client: smoltcp's state machine and parser (RFC 2131) on two filtered packet sockets.
//!
//! smoltcp is used for nothing but this. It is a fuzzed parser without `unsafe` for bytes that come from the host's
//! network, and it takes time and randomness as arguments, so renewal is tested without waiting for it.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::dhcpv4;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr};

/// Largest frame that is taken in: Ethernet header and a packet of 1500 bytes.
pub const FRAME_BYTES: usize = 1514;
/// Most frames that wait; more are dropped.
const QUEUE: usize = 16;

/// What a lease says, as far as it is used. Name servers are not: the appliance asks for no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// This machine's address.
    pub address: Ipv4Addr,
    /// Length of its network's prefix, 1 to 32 bits.
    pub prefix_bits: u8,
    /// The default gateway; may lie outside the prefix.
    pub gateway: Option<Ipv4Addr>,
}

/// A change of the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// An address was leased, or its lease came back with other content.
    Leased(Lease),
    /// The lease ended or was taken back.
    Lost,
}

/// The client. It neither waits nor reads a clock: its caller does.
pub struct Client {
    wire: Wire,
    interface: Interface,
    sockets: SocketSet<'static>,
    dhcp: SocketHandle,
}

impl Client {
    /// A client that has sent nothing yet. `seed` makes transaction ids unguessable.
    #[must_use]
    pub fn new(hardware: [u8; 6], seed: u64, now: Duration) -> Self {
        let mut wire = Wire::default();
        let mut config = Config::new(EthernetAddress(hardware).into());
        config.random_seed = seed;
        let interface = Interface::new(config, &mut wire, instant(now));
        let mut socket = dhcpv4::Socket::new();
        let mut retry = dhcpv4::RetryConfig::default();
        // A virtual network answers in milliseconds, and the boot waits for it.
        retry.discover_timeout = Duration::from_secs(2).into();
        retry.initial_request_timeout = Duration::from_secs(1).into();
        socket.set_retry_config(retry);
        let mut sockets = SocketSet::new(vec![SocketStorage::EMPTY]);
        let dhcp = sockets.add(socket);
        Self { wire, interface, sockets, dhcp }
    }

    /// Hands over a frame from the network.
    pub fn receive(&mut self, frame: &[u8]) {
        if self.wire.received.len() < QUEUE && frame.len() <= FRAME_BYTES {
            self.wire.received.push_back(frame.to_vec());
        }
    }

    /// Works through what came in and what time brings; answers a change of the lease.
    pub fn poll(&mut self, now: Duration) -> Option<Change> {
        self.interface.poll(instant(now), &mut self.wire, &mut self.sockets);
        let event = self.sockets.get_mut::<dhcpv4::Socket<'_>>(self.dhcp).poll()?;
        let change = match event {
            dhcpv4::Event::Deconfigured => Change::Lost,
            dhcpv4::Event::Configured(config) => {
                let lease = Lease {
                    address: config.address.address(),
                    prefix_bits: config.address.prefix_len(),
                    gateway: config.router.filter(|router| is_host(*router)),
                };
                if lease.prefix_bits == 0 || !is_host(lease.address) {
                    // Nothing a network would mean; ask again instead of configuring it.
                    self.sockets.get_mut::<dhcpv4::Socket<'_>>(self.dhcp).reset();
                    return None;
                }
                Change::Leased(lease)
            }
        };
        self.apply(change);
        Some(change)
    }

    /// The next frame to be sent.
    pub fn frame(&mut self) -> Option<Vec<u8>> {
        self.wire.sent.pop_front()
    }

    /// How long nothing is to be done unless a frame arrives.
    pub fn idle(&mut self, now: Duration) -> Duration {
        self.interface
            .poll_delay(instant(now), &self.sockets)
            .map_or(Duration::from_secs(60), |delay| Duration::from_micros(delay.total_micros()))
    }

    /// Tells smoltcp's interface its address and gateway, which it needs to renew the lease.
    fn apply(&mut self, change: Change) {
        let routes = self.interface.routes_mut();
        routes.remove_default_ipv4_route();
        let address = match change {
            Change::Lost => None,
            Change::Leased(lease) => {
                if let Some(gateway) = lease.gateway {
                    let _ = routes.add_default_ipv4_route(gateway);
                }
                Some(IpCidr::new(lease.address.into(), lease.prefix_bits))
            }
        };
        self.interface.update_ip_addrs(|addresses| {
            addresses.clear();
            if let Some(address) = address {
                let _ = addresses.push(address);
            }
        });
    }
}

/// Whether an address can be one machine's in a network.
fn is_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    (1..224).contains(&first) && !address.is_loopback()
}

fn instant(now: Duration) -> Instant {
    Instant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}

/// Frames in both directions, as smoltcp's network device.
#[derive(Default)]
struct Wire {
    received: VecDeque<Vec<u8>>,
    sent: VecDeque<Vec<u8>>,
}

struct Received(Vec<u8>);
struct Sending<'a>(&'a mut VecDeque<Vec<u8>>);

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending<'_>)> {
        self.received.pop_front().map(|frame| (Received(frame), Sending(&mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        (self.sent.len() < QUEUE).then_some(Sending(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES;
        capabilities
    }
}

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = vec![0; length];
        let result = f(&mut frame);
        self.0.push_back(frame);
        result
    }
}

#[cfg(test)]
mod tests;
