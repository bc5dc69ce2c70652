//! How a machine's port is reached from this computer.

use std::net::{IpAddr, Ipv4Addr, TcpListener};

use deployment::Document;

use crate::machine::Error;
use crate::machine::description::{Fixed, Network};

/// How the document's port is reached from this computer.
///
/// # Errors
/// If the document listens where nothing can be forwarded to, or no port is free.
pub fn network(document: Option<&Document>, port: Option<u16>) -> Result<Network, Error> {
    let listen = document.map_or_else(deployment::Listen::default, |document| document.listen.clone());
    if listen.address.ip().is_loopback() {
        return Err(Error::Input {
            what: format!("the document listens on {}, which is the machine's own loopback", listen.address),
            help: "write address = \"0.0.0.0:8443\" under [listen]".to_owned(),
        });
    }
    let fixed = match document.map(|document| &document.network) {
        Some(deployment::Network::Static { address: IpAddr::V4(address), prefix_bits, gateway }) => {
            let gateway = match gateway {
                Some(IpAddr::V4(gateway)) => Some(*gateway),
                _ => None,
            };
            Some(Fixed { address: *address, prefix_bits: (*prefix_bits).min(24), gateway })
        }
        Some(deployment::Network::Static { address: IpAddr::V6(address), .. }) => {
            return Err(Error::Input {
                what: format!("the document gives the machine the address {address}; only IPv4 can be forwarded here"),
                help: "use an IPv4 address or mode = \"dhcp\" under [network]".to_owned(),
            });
        }
        Some(deployment::Network::Dhcp) | None => None,
    };
    Ok(Network { host_port: host_port(port)?, guest_port: listen.address.port(), fixed })
}

/// The port that was asked for if it is free, or a free one.
fn host_port(port: Option<u16>) -> Result<u16, Error> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port.unwrap_or(0))).and_then(|listener| listener.local_addr());
    bound.map(|address| address.port()).map_err(|error| Error::Input {
        what: format!("port {} on 127.0.0.1 cannot be used: {error}", port.unwrap_or(0)),
        help: "choose another with --port, or leave it out for a free one".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::inputs::fixture::document;

    #[test]
    fn a_document_without_network_is_forwarded_through_dhcp() {
        let network = network(Some(&document(b"weights", "[listen]\naddress = \"0.0.0.0:443\"\n")), None).unwrap();
        assert_eq!((network.guest_port, network.fixed), (443, None));
        assert_ne!(network.host_port, 0);
    }

    #[test]
    fn a_fixed_address_is_forwarded_to() {
        let tail = "[network]\nmode = \"static\"\naddress = \"10.9.8.7\"\nprefix_bits = 32\ngateway = \"172.16.0.1\"\n";
        let network = network(Some(&document(b"weights", tail)), None).unwrap();
        let gateway = Some(Ipv4Addr::new(172, 16, 0, 1));
        assert_eq!(network.fixed, Some(Fixed { address: Ipv4Addr::new(10, 9, 8, 7), prefix_bits: 24, gateway }));
    }

    #[test]
    fn what_cannot_be_forwarded_to_is_said_at_once() {
        for tail in [
            "[listen]\naddress = \"127.0.0.1:8443\"\n",
            "[network]\nmode = \"static\"\naddress = \"fd00::2\"\nprefix_bits = 64\n",
        ] {
            assert!(matches!(network(Some(&document(b"weights", tail)), None), Err(Error::Input { .. })), "{tail}");
        }
    }

    #[test]
    fn a_port_in_use_is_refused() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(matches!(network(None, Some(port)), Err(Error::Input { .. })));
        drop(listener);
        assert_eq!(network(None, Some(port)).unwrap().host_port, port);
    }
}
