use super::*;

fn document(model: &[u8], tail: &str) -> Document {
    let text = format!(
        "version = 1\n[model]\nname = \"tiny\"\nsha256 = \"{}\"\nsize_bytes = {}\n[clients]\naccess = \"anyone\"\n{tail}",
        hex::encode(Sha256::digest(model)),
        model.len()
    );
    deployment::parse(text.as_bytes()).unwrap()
}

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

#[test]
fn sizes_have_a_unit_and_a_range() {
    assert_eq!("512M".parse(), Ok(MemoryMib(512)));
    assert_eq!("2G".parse(), Ok(MemoryMib(2048)));
    assert_eq!("2gib".parse(), Ok(MemoryMib(2048)));
    for text in ["", "512", "M", "2T", "-1G", "1.5G", "63M", "99999999G", "18446744073709551615G"] {
        assert!(text.parse::<MemoryMib>().is_err(), "{text:?}");
    }
}

#[test]
fn the_model_of_the_document_is_accepted_with_any_padding() {
    let model = file(b"weights and padding");
    check_model(model.path(), &document(b"weights", ""), &Progress::silent()).unwrap();
}

#[test]
fn a_shorter_or_different_model_is_refused_before_a_boot() {
    for bytes in [&b"weight"[..], b"weighty", b""] {
        let error = check_model(file(bytes).path(), &document(b"weights", ""), &Progress::silent()).unwrap_err();
        assert!(matches!(error, Error::WrongModel { .. }), "{error}");
    }
}

#[test]
fn a_document_over_the_limit_is_read_no_further_than_needed_to_refuse_it() {
    let document = file(&vec![b'#'; deployment::MAX_BYTES * 3]);
    let bytes = read_document(document.path()).unwrap();
    assert_eq!(bytes.len(), deployment::MAX_BYTES + 1);
    assert!(matches!(parse_document(document.path(), &bytes), Err(Error::Document { .. })));
}

#[test]
fn an_image_is_an_efi_program() {
    let expected = hex::encode(Sha256::digest(b"MZ and more"));
    assert_eq!(digest_image(file(b"MZ and more").path()).unwrap(), expected);
    assert!(matches!(digest_image(file(b"\x7fELF").path()), Err(Error::Input { .. })));
    assert!(digest_image(file(b"M").path()).is_err());
}

#[test]
fn memory_grows_with_the_model_and_stays_aligned() {
    let unreadable = file(b"no gguf");
    let small = memory_for(unreadable.path(), 1 << 20, None, false);
    let large = memory_for(unreadable.path(), 8 << 30, None, false);
    assert!(small >= BASE_MIB + 1024 && large - small >= 8 * 1024 - 64, "{small} {large}");
    assert_eq!((small % 64, large % 64), (0, 0));
    let twice = memory_for(unreadable.path(), 8 << 30, None, true);
    assert_eq!(twice - large, 8 * 1024);
}

#[test]
fn memory_follows_from_the_heads_that_are_cached() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/models/tiny-random-llama.gguf");
    let head = gguf::check_reader(File::open(&model).unwrap()).unwrap();
    // 2 layers, keys and values of 2 of 4 heads of 16 values
    assert_eq!((head.attention.heads, head.attention.cached_per_token), (4, 2 * 2 * 2 * 16));
    assert_eq!(memory_for(&model, 130_912, None, true), 192);
}

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
