//! The vectors of RFC 9180 and of draft-ietf-hpke-pq: keys, encapsulation, every message, every exported secret.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "helpers of tests")]

mod support;

use protocol::hpke::{Kem, PublicKey, SecretKey, Suite, receive, send};
use serde_json::Value;
use support::{bytes, corpus, exactly};

/// The vectors of base mode with a suite of ours.
fn ours(vectors: &Value) -> Vec<(Suite, &Value)> {
    let id = |vector: &Value, name: &str| u16::try_from(vector[name].as_u64().expect("an id")).expect("of 16 bits");
    let suite = |vector| Suite::from_ids(id(vector, "kem_id"), id(vector, "kdf_id"), id(vector, "aead_id"));
    let base = vectors.as_array().expect("a list").iter().filter(|vector| vector["mode"] == 0);
    base.filter_map(|vector| Some((suite(vector)?, vector))).collect()
}

fn check(suite: Suite, vector: &Value) {
    let secret = SecretKey::from_bytes(suite.kem, &bytes(vector, "skRm").try_into().expect("32 bytes")).expect("a key");
    let public = PublicKey::from_bytes(suite.kem, &bytes(vector, "pkRm")).expect("public key");
    assert_eq!(secret.public_key(), public);
    let material = bytes(vector, "ikmR").try_into().expect("32 bytes");
    assert_eq!(SecretKey::derive(suite.kem, &material).public_key(), public);

    let info = bytes(vector, "info");
    let (enc, mut sender) = send(suite.aead, &public, &info, &mut exactly(bytes(vector, "ikmE"))).expect("sender");
    assert_eq!(enc, bytes(vector, "enc"));
    let mut receiver = receive(suite.aead, &secret, &enc, &info).expect("receiver");
    for message in vector["encryptions"].as_array().expect("a list") {
        let (aad, plain, sealed) = (bytes(message, "aad"), bytes(message, "pt"), bytes(message, "ct"));
        assert_eq!(sender.seal(&aad, &plain).expect("sealed"), sealed);
        assert_eq!(*receiver.open(&aad, &sealed).expect("opened"), plain);
    }
    for export in vector["exports"].as_array().expect("a list") {
        let label = bytes(export, "exporter_context");
        let mut secret = vec![0; usize::try_from(export["L"].as_u64().expect("a length")).expect("small")];
        sender.export(&label, &mut secret).expect("exported");
        assert_eq!(secret, bytes(export, "exported_value"));
        secret.fill(0);
        receiver.export(&label, &mut secret).expect("exported");
        assert_eq!(secret, bytes(export, "exported_value"));
    }
}

#[test]
fn x25519_suites_match_rfc_9180() {
    let Some(vectors) = corpus("vectors/hpke/rfc9180-x25519-hkdf-sha256.json") else { return };
    let ours = ours(&vectors);
    assert_eq!(ours.len(), 3, "AES-128-GCM, AES-256-GCM and ChaCha20-Poly1305");
    for (suite, vector) in ours {
        check(suite, vector);
    }
}

#[test]
fn the_post_quantum_suite_matches_its_draft() {
    let Some(vectors) = corpus("vectors/hpke/pq-hpke.json") else { return };
    let ours = ours(&vectors);
    assert_eq!(ours.iter().map(|(suite, _)| suite.kem).collect::<Vec<_>>(), [Kem::XWing]);
    for (suite, vector) in ours {
        check(suite, vector);
    }
}

#[test]
fn another_key_another_info_or_a_key_of_low_order_opens_nothing() {
    for kem in [Kem::X25519, Kem::XWing] {
        let aead = protocol::hpke::Aead::Aes128Gcm;
        let secret = SecretKey::derive(kem, &[1; 32]);
        let (enc, mut sender) = send(aead, &secret.public_key(), b"info", &mut support::seeded("s")).expect("sender");
        let sealed = sender.seal(b"", b"text").expect("sealed");
        let opens = |key: &SecretKey, enc: &[u8], info: &[u8]| {
            receive(aead, key, enc, info).and_then(|mut receiver| receiver.open(b"", &sealed)).is_ok()
        };
        assert!(opens(&secret, &enc, b"info"));
        assert!(!opens(&secret, &enc, b"other"));
        assert!(!opens(&SecretKey::derive(kem, &[2; 32]), &enc, b"info"));
        assert!(!opens(&secret, &enc[1..], b"info"));
        for index in [0, enc.len() / 2, enc.len() - 1] {
            let mut changed = enc.clone();
            changed[index] ^= 1;
            assert!(!opens(&secret, &changed, b"info"));
        }
    }
    let zero = PublicKey::from_bytes(Kem::X25519, &[0; 32]).expect("32 bytes");
    assert!(send(protocol::hpke::Aead::Aes128Gcm, &zero, b"", &mut support::seeded("s")).is_err());
}
