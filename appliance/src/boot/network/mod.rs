//! The network, by PID 1: loopback and the first Ethernet device, addressed by the document or by DHCP.

mod dhcp;
mod netlink;
mod packet;

use std::io;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use deployment::Network;

use self::dhcp::{Change, Client, Lease};
use self::netlink::{Link, Netlink, NetlinkError};
use self::packet::Packets;
use super::Refused;
use super::console::{Console, Event};

/// How long the boot waits for a lease.
const LEASE_WAIT: Duration = Duration::from_secs(60);
/// Least time between two rounds of the client: whatever the host sends, it cannot make a busy loop of it.
const ROUND: Duration = Duration::from_millis(20);

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The kernel refused a change.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// There is no device.
    #[error("there is no Ethernet device")]
    NoDevice,
    /// The DHCP client cannot work.
    #[error("cannot open packet sockets for DHCP")]
    Packets(#[source] io::Error),
    /// Nobody leased an address.
    #[error("no DHCP lease within {} s", LEASE_WAIT.as_secs())]
    NoLease,
    /// The system's random numbers are not ready.
    #[error("no random numbers")]
    Random,
}

impl From<NetworkError> for Refused {
    fn from(error: NetworkError) -> Self {
        let code = match &error {
            NetworkError::Netlink(_) | NetworkError::Random => "network",
            NetworkError::NoDevice => "network-device",
            NetworkError::Packets(_) | NetworkError::NoLease => "network-dhcp",
        };
        Self::new(code, &error)
    }
}

/// Proof that the machine has its address.
#[derive(Debug)]
pub struct Up {
    /// The address.
    pub address: IpAddr,
}

/// Brings up loopback and the first Ethernet device. With DHCP a thread stays that renews the lease.
///
/// # Errors
/// [`NetworkError`].
pub fn bring_up(network: &Network, console: Console) -> Result<Up, NetworkError> {
    let mut netlink = Netlink::open()?;
    let links = netlink.links()?;
    for loopback in links.iter().filter(|link| link.index == 1 && !link.ethernet) {
        netlink.link_up(loopback.index)?;
    }
    let device = first_ethernet(&links).ok_or(NetworkError::NoDevice)?;
    netlink.link_up(device.index)?;
    match network {
        Network::Static { address, prefix_bits, gateway } => {
            configure(&mut netlink, device.index, *address, *prefix_bits, *gateway)?;
            Ok(Up { address: *address })
        }
        Network::Dhcp => {
            let mut dhcp = Dhcp::start(device)?;
            let lease = dhcp.wait_for_lease()?;
            let address = lease.address.into();
            configure(&mut netlink, device.index, address, lease.prefix_bits, lease.gateway.map(IpAddr::V4))?;
            thread::Builder::new()
                .name("dhcp".to_owned())
                .spawn(move || dhcp.keep(lease, console))
                .map_err(NetworkError::Packets)?;
            Ok(Up { address })
        }
    }
}

fn first_ethernet(links: &[Link]) -> Option<Link> {
    links.iter().filter(|link| link.ethernet && link.hardware.is_some()).min_by_key(|link| link.index).copied()
}

/// Address, then the gateway's own route where it lies outside the prefix, then the default route.
fn configure(
    netlink: &mut Netlink,
    index: u32,
    address: IpAddr,
    prefix_bits: u8,
    gateway: Option<IpAddr>,
) -> Result<(), NetlinkError> {
    netlink.add_address(index, address, prefix_bits)?;
    let Some(gateway) = gateway else { return Ok(()) };
    if !on_link(address, prefix_bits, gateway) {
        netlink.add_host_route(index, gateway)?;
    }
    netlink.add_default_route(index, gateway)
}

/// Whether `other` lies in the network of `address`.
fn on_link(address: IpAddr, prefix_bits: u8, other: IpAddr) -> bool {
    let (a, b, width) = match (address, other) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return false,
    };
    let host_bits = u32::from(u8::saturating_sub(width, prefix_bits));
    (a ^ b).checked_shr(host_bits).unwrap_or(0) == 0
}

/// The DHCP client on its sockets.
struct Dhcp {
    packets: Packets,
    client: Client,
    started: Instant,
}

impl Dhcp {
    fn start(device: Link) -> Result<Self, NetworkError> {
        let hardware = device.hardware.ok_or(NetworkError::NoDevice)?;
        let packets = Packets::open(device.index).map_err(NetworkError::Packets)?;
        let seed = getrandom::u64().map_err(|_| NetworkError::Random)?;
        Ok(Self { packets, client: Client::new(hardware, seed, Duration::ZERO), started: Instant::now() })
    }

    fn wait_for_lease(&mut self) -> Result<Lease, NetworkError> {
        while self.started.elapsed() < LEASE_WAIT {
            if let Some(Change::Leased(lease)) = self.round(LEASE_WAIT).map_err(NetworkError::Packets)? {
                return Ok(lease);
            }
        }
        Err(NetworkError::NoLease)
    }

    /// Renews the lease for as long as the machine runs.
    ///
    /// The privilege to change addresses is gone by then. So an address whose lease ended is kept while a new lease is
    /// asked for: in a virtual machine it is the host that would give it to another. A lease of *another* address
    /// cannot be followed, and ends the process: the machine restarts with it.
    fn keep(mut self, lease: Lease, console: Console) {
        loop {
            match self.round(Duration::MAX) {
                Ok(Some(Change::Leased(new))) if new.address != lease.address => {
                    console.event(Event::LeaseLost);
                    std::process::abort();
                }
                Ok(_) => {}
                // The device is gone or broken, and the host knows; established connections end by themselves.
                Err(_) => thread::sleep(Duration::from_secs(1)),
            }
        }
    }

    /// Waits for a frame or the client's next deadline, at most `most`, and lets the client work.
    fn round(&mut self, most: Duration) -> io::Result<Option<Change>> {
        let idle = self.client.idle(self.started.elapsed()).min(most);
        if idle > Duration::ZERO {
            self.packets.wait(idle.max(ROUND))?;
        }
        let mut frame = [0_u8; dhcp::FRAME_BYTES];
        while let Some(length) = self.packets.receive(&mut frame)? {
            self.client.receive(frame.get(..length).unwrap_or_default());
        }
        let change = self.client.poll(self.started.elapsed());
        while let Some(frame) = self.client.frame() {
            self.packets.send(&frame);
        }
        Ok(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_inside_the_prefix_needs_no_route_of_its_own() {
        let address = IpAddr::from([10, 0, 2, 15]);
        assert!(on_link(address, 24, [10, 0, 2, 2].into()));
        assert!(on_link(address, 8, [10, 255, 0, 1].into()));
        assert!(on_link(address, 0, [192, 0, 2, 1].into()));
        assert!(on_link("fd00::2".parse().unwrap(), 64, "fd00::1".parse().unwrap()));
    }

    #[test]
    fn a_gateway_outside_the_prefix_is_off_link() {
        let address = IpAddr::from([10, 128, 0, 5]);
        assert!(!on_link(address, 32, [10, 128, 0, 1].into()));
        assert!(!on_link(address, 24, [10, 128, 1, 1].into()));
        assert!(!on_link("fd00::2".parse().unwrap(), 128, "fd00::1".parse().unwrap()));
        assert!(!on_link(address, 0, "fd00::1".parse().unwrap()), "another family");
    }

    #[test]
    fn the_first_ethernet_device_is_the_one_with_the_lowest_index() {
        let link = |index, ethernet| Link { index, ethernet, hardware: Some([2; 6]), mtu: 1500 };
        let links = [link(1, false), link(5, true), link(3, true)];
        assert_eq!(first_ethernet(&links).unwrap().index, 3);
        assert_eq!(first_ethernet(&links[..1]), None);
    }
}
