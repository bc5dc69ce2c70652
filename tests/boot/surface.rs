//! What a machine shows to the network: one port, which random bytes do not bring down.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this package is test code: what cannot go on says why and ends"
)]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use lethe_tests::guest::{LIMIT, Plan, wire_ports};
use lethe_tests::scan::Wire;
use lethe_tests::{document, program};

const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const FIXED: &str = "[network]\nmode = \"static\"\naddress = \"10.0.2.15\"\nprefix_bits = 24\n";

#[test]
fn a_scan_of_all_tcp_ports_finds_exactly_one_open() {
    let model = program::tiny_model();
    let mut plan = Plan::new(&program::image(), &model, Some(document::for_model(&model, FIXED).as_bytes()));
    let (socket, theirs) = wire_ports().expect("two free ports");
    plan.wire = Some((socket.local_addr().expect("it is bound").port(), theirs));
    let wire = Wire::new(socket, SocketAddr::from(([127, 0, 0, 1], theirs)), OURS, GUEST).expect("a wire");
    let mut guest = plan.start();
    guest.line("lethe: ready");
    let mac = wire.resolve(LIMIT).expect("the guest answers ARP");
    let ports = wire.scan(mac, LIMIT).expect("the wire holds");
    assert_eq!(ports.open.into_iter().collect::<Vec<_>>(), [8443]);
    assert_eq!(ports.closed.len(), 65_534, "every other port says that it is closed");
    assert!(guest.runs());
}

/// A machine with a host route only, as several clouds give it, and a caller behind the gateway, if it is told of one.
fn answers_a_far_caller(gateway: &str) -> bool {
    let router = Ipv4Addr::new(172, 16, 0, 1);
    let address = Ipv4Addr::new(10, 9, 8, 7);
    let model = program::tiny_model();
    let network = format!("[network]\nmode = \"static\"\naddress = \"{address}\"\nprefix_bits = 32\n{gateway}");
    let mut plan = Plan::new(&program::image(), &model, Some(document::for_model(&model, &network).as_bytes()));
    let (socket, theirs) = wire_ports().expect("two free ports");
    plan.wire = Some((socket.local_addr().expect("it is bound").port(), theirs));
    let wire = Wire::new(socket, SocketAddr::from(([127, 0, 0, 1], theirs)), router, address).expect("a wire");
    let mut guest = plan.start();
    guest.line("lethe: ready");
    // the guest's hardware address is QEMU's first; without a route back it need not answer an ARP question from afar
    let mac = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
    wire.knock(mac, Ipv4Addr::new(203, 0, 113, 9), 8443, Duration::from_secs(5)).expect("the wire holds")
}

#[test]
fn a_gateway_outside_of_the_prefix_carries_answers() {
    assert!(answers_a_far_caller("gateway = \"172.16.0.1\"\n"));
    assert!(!answers_a_far_caller(""), "without a gateway nothing goes there");
}

/// xorshift64*: the same strings on every run.
fn random_bytes(state: &mut u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length);
    for _ in 0..length {
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        bytes.push((state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8);
    }
    bytes
}

/// QEMU's user network accepts one connection at a time; a caller it has no room for waits a second and then ever longer. A new
/// call gets through at once.
fn connect(port: u16) -> TcpStream {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    (0..300)
        .find_map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok())
        .expect("the port stays open")
}

#[test]
fn a_thousand_random_byte_strings_leave_the_machine_serving() {
    let model = program::tiny_model();
    let plan = Plan::new(&program::image(), &model, Some(document::for_model(&model, "").as_bytes()));
    let mut guest = plan.start();
    guest.line("lethe: ready");
    let mut state = 0x1e7e_1e7e_1e7e_1e7e;
    for round in 0..1000_usize {
        let mut bytes = random_bytes(&mut state, 1 + round * 37 % 4096);
        if round % 2 == 0 {
            // half of them begin like a TLS record, so that they get past the first byte
            let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
            bytes.splice(0..0, [22, 3, 1, length[0], length[1]]);
        }
        let mut stream = connect(guest.port);
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time limit");
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        // until the server has read it all and closed
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let url = format!("https://127.0.0.1:{}", guest.port);
    let answer =
        program::run("lethe", &["chat", &url, "--allow-no-tee", "--ask", "hello", "--max-tokens", "4", "--wait", "60"]);
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    assert!(guest.runs());
}
