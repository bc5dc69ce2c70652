//! NVIDIA's own manifest in the corpus: read, verified, compared with the report of a device with the same VBIOS, and
//! refused in every changed form.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]
#![cfg(feature = "nvidia")]

mod corpus;

use corpus::{Corpus, negated, time};
use evidence::{
    Expected, Rule, Verdict,
    check::{Nvidia, nvidia},
    nvidia::{Evidence, Rim, verify_set},
};

/// With the manifest, and a report of the VBIOS that it is for.
const ITEM: &str = "gpu-h100-coco-vbios-960074001A";
/// Within the signer's certificate, which ran from 2023-09-06 to 2025-09-05.
const VALID: &str = "2024-06-01T00:00:00Z";

fn manifest(corpus: &Corpus) -> Vec<u8> {
    corpus.file(corpus.item(ITEM), "vbios_rim.swidtag").unwrap()
}

fn rule(manifest: &[u8], at: &str) -> Option<Rule> {
    Rim::verify(manifest, time(at)).err().map(|refusal| refusal.rule())
}

/// The verdict on a device of the corpus, with manifests.
fn check(corpus: &Corpus, id: &str, rims: &[&[u8]]) -> Verdict {
    let item = corpus.item(id);
    let (report, chain) = (corpus.file(item, "report.bin").unwrap(), corpus.file(item, "chain.pem").unwrap());
    let expected = Expected::nothing();
    nvidia(Nvidia { report: &report, chain: &chain, nonce: None, rims, expected: &expected, at: time(VALID) })
}

#[test]
fn the_embedded_root_is_that_of_gpus_and_of_switches() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let Some(corpus) = Corpus::open("the root of manifests") else { return };
    let embedded = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/roots/nvidia-rim-root.der")).unwrap();
    for name in ["rim_root", "switch_rim_root"] {
        let pem = String::from_utf8(corpus.path(&format!("roots/nvidia/{name}.pem"))).unwrap();
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).map(str::trim).collect();
        assert_eq!(STANDARD.decode(body).unwrap(), embedded, "{name}");
    }
}

#[test]
fn nvidias_manifest_is_authentic_while_its_certificates_hold() {
    let Some(corpus) = Corpus::open("NVIDIA's manifest") else { return };
    let manifest = manifest(&corpus);
    let rim = Rim::verify(&manifest, time(VALID)).expect("authentic");
    assert_eq!(rim.version(), "96.00.74.00.1A");
    let id = "1917d8f22069554f50e7f6bd80a3de9cc3126f55ff68654f5b931e18ba6c46c1fa375834164d59d99248a2968671e00a";
    assert_eq!(rim.id(), id);
    for (at, expected) in [
        ("2023-09-06T08:35:21Z", Some(Rule::G6)),
        ("2023-09-06T08:35:22Z", None),
        ("2025-09-05T08:35:22Z", None),
        ("2025-09-05T08:35:23Z", Some(Rule::G6)),
        ("2026-11-21T00:00:00Z", Some(Rule::G6)),
    ] {
        assert_eq!(rule(&manifest, at), expected, "{at}");
    }
}

/// The corpus says so itself: of twelve active entries eleven equal the report.
#[test]
fn the_device_with_the_same_vbios_differs_in_one_measurement() {
    let Some(corpus) = Corpus::open("a device beside its manifest") else { return };
    let manifest = manifest(&corpus);
    let Verdict::Refused(refusal) = check(&corpus, ITEM, &[&manifest]) else { panic!("it differs") };
    assert_eq!((refusal.rule(), refusal.reason()), (Rule::G4, "not as in the manifests, by their index: 9 (vbios)"));
    let Verdict::Accepted { claims } = check(&corpus, ITEM, &[]) else { panic!("without a manifest it is accepted") };
    assert_eq!(claims["measurements_are"], "undetermined");
    assert_eq!(claims["rims"], serde_json::json!({}));
}

#[test]
fn a_manifest_of_another_vbios_is_refused() {
    let Some(corpus) = Corpus::open("devices beside another manifest") else { return };
    let manifest = manifest(&corpus);
    let mut others = 0;
    for item in corpus.items("nvidia-gpu").filter(|item| item["id"] != ITEM) {
        let verdict = check(&corpus, item["id"].as_str().unwrap(), &[&manifest]);
        assert_eq!(verdict.rule(), Some(Rule::G8), "{}", item["id"]);
        others += 1;
    }
    assert_eq!(others, 9);
    assert_eq!(check(&corpus, ITEM, &[&manifest, &manifest]).rule(), Some(Rule::G8), "twice");
    assert_eq!(check(&corpus, ITEM, &[&manifest, b"<a/>"]).rule(), Some(Rule::G5), "every manifest counts");
    assert_eq!(check(&corpus, ITEM, &[b""]).rule(), Some(Rule::G5));
}

#[test]
fn the_devices_of_one_machine_are_compared_one_by_one() {
    let Some(corpus) = Corpus::open("a machine beside a manifest") else { return };
    let item = corpus.item(ITEM);
    let (report, chain) = (corpus.file(item, "report.bin").unwrap(), corpus.file(item, "chain.pem").unwrap());
    let other = corpus.item("gpu-hgx-gpu0");
    let (other_report, other_chain) =
        (corpus.file(other, "report.bin").unwrap(), corpus.file(other, "chain.pem").unwrap());
    let nonce = hex::decode(item["fields"]["nonce"].as_str().unwrap()).unwrap();
    let mixed = [Evidence { report: &report, chain: &chain }, Evidence { report: &other_report, chain: &other_chain }];
    assert_eq!(verify_set(&mixed, &nonce, time(VALID)).expect_err("two nonces").rule(), Rule::G1);
    let set = verify_set(&mixed[..1], &nonce, time(VALID)).expect("one device");
    let rims = [Rim::verify(&manifest(&corpus), time(VALID)).expect("authentic")];
    let compared: Vec<_> = set.into_iter().map(|device| device.compared_with(&rims)).collect();
    assert_eq!(compared[0].as_ref().expect_err("it differs").rule(), Rule::G4);
}

/// Every changed byte is refused, or is one that means nothing: then the manifest is the same to the last bit.
#[test]
fn a_manifest_with_a_changed_byte_is_refused_or_says_the_same() {
    let Some(corpus) = Corpus::open("changed manifests") else { return };
    let manifest = manifest(&corpus);
    let original = Rim::verify(&manifest, time(VALID)).expect("authentic");
    // An odd step meets every part; the signature's end of the file, byte by byte.
    let signature = manifest.windows(14).position(|part| part == b"<ds:Signature ").unwrap();
    let positions: Vec<usize> = (0..signature).step_by(37).chain((signature..signature + 1300).step_by(3)).collect();
    assert!(positions.len() >= 800, "{}", positions.len());
    let (mut refused, mut same) = (0, 0);
    for position in positions {
        // Other letters, letters of the other size, white space of another kind.
        let all = [0x01, 0x20, 0x2a];
        let some = if manifest[position].is_ascii_whitespace() { &all[..] } else { &all[position % 3..=position % 3] };
        for bits in some {
            let mut changed = manifest.clone();
            changed[position] ^= bits;
            match Rim::verify(&changed, time(VALID)) {
                Ok(rim) => {
                    assert_eq!(rim, original, "byte {position}");
                    assert!(
                        manifest[position].is_ascii_whitespace(),
                        "byte {position}: {}",
                        manifest[position] as char
                    );
                    same += 1;
                }
                Err(refusal) => {
                    assert!([Rule::G5, Rule::G6, Rule::G7].contains(&refusal.rule()), "byte {position}: {refusal}");
                    refused += 1;
                }
            }
        }
    }
    eprintln!("{refused} changed manifests refused, {same} say the same");
    assert!(refused > 800 && same < refused / 20, "{refused} {same}");
    for length in (0..manifest.len()).step_by(211) {
        assert!(rule(&manifest[..length], VALID).is_some(), "the first {length} bytes");
    }
}

#[test]
fn an_altered_signature_or_certificate_is_refused() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let Some(corpus) = Corpus::open("altered signatures of a manifest") else { return };
    let manifest = String::from_utf8(manifest(&corpus)).unwrap();
    let original = Rim::verify(manifest.as_bytes(), time(VALID)).expect("authentic");
    let inside = |name: &str| -> Vec<String> {
        let open = format!("<ds:{name}>");
        manifest.split(&open).skip(1).map(|part| part.split("</ds:").next().unwrap().to_owned()).collect()
    };
    let bytes = |text: &str| STANDARD.decode(text.split_whitespace().collect::<String>()).unwrap();
    let value = &inside("SignatureValue")[0];
    for position in 0..96 {
        let mut changed = bytes(value);
        changed[position] ^= 0x10;
        let edited = manifest.replace(value, &STANDARD.encode(changed));
        assert_eq!(rule(edited.as_bytes(), VALID), Some(Rule::G7), "byte {position} of the signature");
    }
    let order = "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973";
    let order = hex::decode(order).unwrap();
    for number in [vec![0; 48], order.clone(), vec![0xff; 48]] {
        let (r, s) = ([&number, &bytes(value)[48..]].concat(), [&bytes(value)[..48], &number].concat());
        for changed in [r, s, number.repeat(2)] {
            let edited = manifest.replace(value, &STANDARD.encode(changed));
            assert_eq!(rule(edited.as_bytes(), VALID), Some(Rule::G7), "a number that is none of a signature");
        }
    }
    for other in [&bytes(value)[..95], &[&bytes(value)[..], &[0]].concat(), &[]] {
        let edited = manifest.replace(value, &STANDARD.encode(other));
        assert_eq!(rule(edited.as_bytes(), VALID), Some(Rule::G5), "{} bytes of a signature", other.len());
    }
    // The other sign of the same signature: ECDSA has both, and what is signed is the same.
    let mut twin = bytes(value);
    let s = negated(&order, &twin[48..]);
    twin[48..].copy_from_slice(&s);
    let edited = manifest.replace(value, &STANDARD.encode(twin));
    assert_eq!(Rim::verify(edited.as_bytes(), time(VALID)), Ok(original));

    let certificates = inside("X509Certificate");
    assert_eq!(certificates.len(), 4);
    for (number, certificate) in certificates.iter().enumerate() {
        let der = bytes(certificate);
        for position in (0..der.len()).step_by(5) {
            let mut changed = der.clone();
            changed[position] ^= 0x04;
            let edited = manifest.replace(certificate, &STANDARD.encode(changed));
            assert_eq!(rule(edited.as_bytes(), VALID), Some(Rule::G6), "byte {position} of certificate {number}");
        }
    }
    // The device root is NVIDIA's too, and may not vouch for manifests.
    let device_root = String::from_utf8(corpus.path("roots/nvidia/device_root.pem")).unwrap();
    let body: String = device_root.lines().filter(|line| !line.starts_with('-')).collect();
    assert_eq!(rule(manifest.replace(&certificates[3], &body).as_bytes(), VALID), Some(Rule::G6));
}

#[test]
fn a_manifest_wrapped_into_another_is_refused() {
    let Some(corpus) = Corpus::open("wrapped manifests") else { return };
    let manifest = String::from_utf8(manifest(&corpus)).unwrap();
    let (body, signature) = manifest.split_at(manifest.find("<ds:Signature ").unwrap());
    let (signature, _) = signature.split_at(signature.find("</SoftwareIdentity>").unwrap());
    let unsigned = format!("{body}</SoftwareIdentity>");
    let evil = body.replace("active=\"True\"", "active=\"False\"");
    let around = |inside: &str| {
        signature
            .replace("</ds:Signature>", &format!("<ds:Object>{inside}</ds:Object></ds:Signature></SoftwareIdentity>"))
    };
    let end = "</SoftwareIdentity>";
    for (what, wrapped, expected) in [
        ("the original beside other measurements", format!("{evil}{unsigned}{signature}{end}"), Rule::G7),
        ("the whole original inside", format!("{evil}{manifest}{end}"), Rule::G5),
        ("the original in an object", format!("{evil}{}", around(&unsigned)), Rule::G5),
        ("the signed original in an object", format!("{evil}{}", around(&manifest)), Rule::G5),
        ("two signatures", format!("{body}{signature}{signature}{end}"), Rule::G5),
        ("no signature", unsigned.clone(), Rule::G5),
        ("other measurements, the original's signature", format!("{evil}{signature}{end}"), Rule::G7),
        ("a document type", format!("<!DOCTYPE SoftwareIdentity>{manifest}"), Rule::G5),
    ] {
        assert_eq!(rule(wrapped.trim().as_bytes(), VALID), Some(expected), "{what}");
    }
}
