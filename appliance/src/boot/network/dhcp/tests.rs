//! A server of our own on the other side, and hostile bytes.

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, DhcpMessageType, DhcpPacket, DhcpRepr, EthernetFrame, EthernetProtocol,
    EthernetRepr, IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
};

use super::*;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

/// What the server answers with.
#[derive(Clone, Copy)]
struct Terms {
    kind: DhcpMessageType,
    address: Ipv4Addr,
    mask: Ipv4Addr,
    router: Ipv4Addr,
    lease_s: u32,
}

const TERMS: Terms = Terms {
    kind: DhcpMessageType::Ack,
    address: ADDRESS,
    mask: Ipv4Addr::new(255, 255, 255, 0),
    router: SERVER,
    lease_s: 1000,
};

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A DHCP message the client sent: its type, transaction, and whether it went to one server.
fn sent(frame: &[u8]) -> Option<(DhcpMessageType, u32, Ipv4Addr)> {
    let frame = EthernetFrame::new_checked(frame).unwrap();
    if frame.ethertype() != EthernetProtocol::Ipv4 {
        return None;
    }
    let ip = Ipv4Packet::new_checked(frame.payload()).unwrap();
    let udp = UdpPacket::new_checked(ip.payload()).unwrap();
    assert_eq!((udp.src_port(), udp.dst_port()), (68, 67));
    let packet = DhcpPacket::new_checked(udp.payload()).unwrap();
    let dhcp = DhcpRepr::parse(&packet).unwrap();
    Some((dhcp.message_type, dhcp.transaction_id, ip.dst_addr()))
}

fn answer(transaction_id: u32, terms: Terms) -> Vec<u8> {
    let dhcp = DhcpRepr {
        message_type: terms.kind,
        transaction_id,
        secs: 0,
        client_hardware_address: EthernetAddress(MAC),
        client_ip: Ipv4Addr::UNSPECIFIED,
        your_ip: terms.address,
        server_ip: SERVER,
        router: Some(terms.router),
        subnet_mask: Some(terms.mask),
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: false,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(SERVER),
        parameter_request_list: None,
        dns_servers: None,
        max_size: None,
        lease_duration: Some(terms.lease_s),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    };
    let udp = UdpRepr { src_port: 67, dst_port: 68 };
    let udp_length = udp.header_len() + dhcp.buffer_len();
    let ip = Ipv4Repr {
        src_addr: SERVER,
        dst_addr: Ipv4Addr::BROADCAST,
        next_header: IpProtocol::Udp,
        payload_len: udp_length,
        hop_limit: 64,
    };
    let ethernet = EthernetRepr {
        src_addr: EthernetAddress(SERVER_MAC),
        dst_addr: EthernetAddress(MAC),
        ethertype: EthernetProtocol::Ipv4,
    };
    let checksums = ChecksumCapabilities::default();
    let mut bytes = vec![0; ethernet.buffer_len() + ip.buffer_len() + udp_length];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    ethernet.emit(&mut frame);
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet, &checksums);
    let mut datagram = UdpPacket::new_unchecked(packet.payload_mut());
    udp.emit(
        &mut datagram,
        &SERVER.into(),
        &Ipv4Addr::BROADCAST.into(),
        dhcp.buffer_len(),
        |payload| dhcp.emit(&mut DhcpPacket::new_unchecked(payload)).unwrap(),
        &checksums,
    );
    bytes
}

/// The server's answer to an ARP request, which a unicast renewal needs.
fn arp_answer() -> Vec<u8> {
    let arp = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: EthernetAddress(SERVER_MAC),
        source_protocol_addr: SERVER,
        target_hardware_addr: EthernetAddress(MAC),
        target_protocol_addr: ADDRESS,
    };
    let mut bytes = vec![0; 14 + arp.buffer_len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_src_addr(EthernetAddress(SERVER_MAC));
    frame.set_dst_addr(EthernetAddress(MAC));
    frame.set_ethertype(EthernetProtocol::Arp);
    arp.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
    bytes
}

fn next_message(client: &mut Client) -> Option<(DhcpMessageType, u32, Ipv4Addr)> {
    std::iter::from_fn(|| client.frame()).find_map(|frame| sent(&frame))
}

/// Goes through discover, offer, request, acknowledgement; answers what the client made of it.
fn lease(client: &mut Client, now: Duration, terms: Terms) -> Option<Change> {
    client.poll(now);
    let (kind, transaction, to) = next_message(client).unwrap();
    assert_eq!((kind, to), (DhcpMessageType::Discover, Ipv4Addr::BROADCAST));
    client.receive(&answer(transaction, Terms { kind: DhcpMessageType::Offer, ..terms }));
    client.poll(now);
    let (kind, transaction, _) = next_message(client).unwrap();
    assert_eq!(kind, DhcpMessageType::Request);
    client.receive(&answer(transaction, terms));
    client.poll(now)
}

fn client() -> Client {
    let mut client = Client::new(MAC, 1, Duration::ZERO);
    assert_eq!(client.poll(Duration::ZERO), Some(Change::Lost), "smoltcp begins by saying that there is no lease");
    client.wire.sent.clear();
    Client::new(MAC, 1, Duration::ZERO)
}

const LEASED: Change = Change::Leased(Lease { address: ADDRESS, prefix_bits: 24, gateway: Some(SERVER) });

#[test]
fn a_lease_is_taken() {
    assert_eq!(lease(&mut client(), at(0), TERMS), Some(LEASED));
}

#[test]
fn a_lease_of_one_address_with_a_gateway_outside_is_taken_as_it_is() {
    let mask = Ipv4Addr::BROADCAST;
    let Some(Change::Leased(lease)) = lease(&mut client(), at(0), Terms { mask, ..TERMS }) else { panic!("no lease") };
    assert_eq!((lease.prefix_bits, lease.gateway), (32, Some(SERVER)));
}

#[test]
fn the_lease_is_renewed_at_half_its_time_with_the_server_itself() {
    let mut client = client();
    lease(&mut client, at(0), TERMS);
    assert!(client.idle(at(1)) > at(400), "nothing to do for a long time");
    client.poll(at(499));
    assert!(client.frame().is_none());
    client.poll(at(501));
    client.receive(&arp_answer());
    client.poll(at(502));
    client.poll(at(503));
    let (kind, transaction, to) = next_message(&mut client).expect("a renewal");
    assert_eq!((kind, to), (DhcpMessageType::Request, SERVER));
    client.receive(&answer(transaction, TERMS));
    assert_eq!(client.poll(at(504)), None, "the same lease is no change");
    client.poll(at(999));
    assert_eq!(client.poll(at(1001)), None, "the old lease's end has no meaning any more");
}

#[test]
fn a_lease_that_nobody_renews_is_lost_at_its_end() {
    let mut client = client();
    lease(&mut client, at(0), TERMS);
    let lost = (500..1005).find(|second| client.poll(at(*second)) == Some(Change::Lost));
    assert!(lost.is_some_and(|second| (1000..1003).contains(&second)), "{lost:?}");
}

#[test]
fn an_answer_with_another_transaction_id_is_ignored() {
    let mut client = client();
    client.poll(at(0));
    let (_, transaction, _) = next_message(&mut client).unwrap();
    client.receive(&answer(transaction ^ 1, Terms { kind: DhcpMessageType::Offer, ..TERMS }));
    client.poll(at(0));
    assert!(client.frame().is_none(), "no request followed");
}

#[test]
fn transaction_ids_follow_the_seed() {
    let first = |seed| {
        let mut client = Client::new(MAC, seed, Duration::ZERO);
        client.poll(at(0));
        next_message(&mut client).unwrap().1
    };
    assert_ne!(first(1), first(2));
}

#[test]
fn addresses_no_machine_can_have_are_not_taken() {
    for address in [[127, 0, 0, 1], [0, 0, 0, 1], [224, 0, 0, 1], [255, 255, 255, 255], [240, 0, 0, 1]] {
        let mut client = client();
        client.poll(at(0));
        let (_, transaction, _) = next_message(&mut client).unwrap();
        let terms = Terms { address: address.into(), ..TERMS };
        client.receive(&answer(transaction, Terms { kind: DhcpMessageType::Offer, ..terms }));
        client.poll(at(0));
        if let Some((_, transaction, _)) = next_message(&mut client) {
            client.receive(&answer(transaction, terms));
        }
        assert!(!matches!(client.poll(at(0)), Some(Change::Leased(_))), "{address:?}");
    }
}

#[test]
fn masks_that_are_none_are_not_taken_and_a_gateway_that_is_none_is_left_out() {
    for mask in [[255, 0, 255, 0], [0, 0, 0, 0]] {
        let change = lease(&mut client(), at(0), Terms { mask: mask.into(), ..TERMS });
        assert!(!matches!(change, Some(Change::Leased(_))), "{mask:?} {change:?}");
    }
    let router = Ipv4Addr::BROADCAST;
    let Some(Change::Leased(lease)) = lease(&mut client(), at(0), Terms { router, ..TERMS }) else {
        panic!("no lease")
    };
    assert_eq!(lease.gateway, None);
}

#[test]
fn a_lease_of_no_time_makes_no_endless_loop_inside_one_poll() {
    let mut client = client();
    lease(&mut client, at(0), Terms { lease_s: 0, ..TERMS });
    for second in 0..100 {
        client.poll(at(second));
        assert!(client.wire.sent.len() <= QUEUE);
        while client.frame().is_some() {}
    }
}

#[test]
fn cut_and_changed_answers_neither_panic_nor_lease() {
    // A small generator (xorshift64): the test says the same every time.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut client = client();
    for round in 0..20_000_u64 {
        let now = Duration::from_millis(round);
        client.poll(now);
        let transaction = next_message(&mut client).map_or(1, |(_, transaction, _)| transaction);
        let mut bytes = answer(transaction, Terms { kind: DhcpMessageType::Offer, ..TERMS });
        for _ in 0..=random() % 8 {
            let position = random() as usize % bytes.len();
            bytes[position] = random() as u8;
        }
        bytes.truncate(random() as usize % (bytes.len() + 1));
        client.receive(&bytes);
        let noise: Vec<u8> = (0..random() % 600).map(|_| random() as u8).collect();
        client.receive(&noise);
        assert!(!matches!(client.poll(now), Some(Change::Leased(_))), "round {round}");
    }
}

#[test]
fn more_frames_than_the_queue_holds_are_dropped() {
    let mut client = client();
    for _ in 0..1000 {
        client.receive(&[0; 60]);
    }
    client.receive(&[0; FRAME_BYTES + 1]);
    assert_eq!(client.wire.received.len(), QUEUE);
}
