//! Secrets: messages and the changes inside them, and files that a host keeps for a restart, read or refused; what is read is
//! written the same.
//!
//! The first byte chooses: a message, the JSON of a change, a sealed file as a host hands it in, or the content of one that was sealed
//! with the machine's own key.

#![no_main]

use std::sync::OnceLock;

use hkdf::Hkdf;
use libfuzzer_sys::fuzz_target;
use protocol::hpke::{Aead, AnswerKey, Kem, SecretKey};
use protocol::secrets::{Change, Kept, OperatorKey, SecretsKey, keep, open, restore};
use sha2::Sha256;

const SECRET: [u8; 32] = [3; 32];
const DOCUMENT: [u8; 32] = [4; 32];
const SALT: [u8; 32] = [5; 32];

fn key() -> &'static SecretsKey {
    static KEY: OnceLock<SecretsKey> = OnceLock::new();
    KEY.get_or_init(|| SecretsKey { kid: "k".to_owned(), secret: SecretKey::derive(Kem::X25519, &[1; 32]) })
}

fn operator() -> &'static [u8; 32] {
    static PUBLIC: OnceLock<[u8; 32]> = OnceLock::new();
    PUBLIC.get_or_init(|| OperatorKey::from_seed(&[2; 32]).public())
}

/// The one file that this machine sealed.
fn file() -> &'static Vec<u8> {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| {
        let kept = Kept { counter: 7, digests: [("TOKEN".to_owned(), [1; 32])].into() };
        let file = keep(&kept, &SECRET, &DOCUMENT, &SALT).expect("sealed");
        let plain = format!(r#"{{"v":1,"counter":7,"digests":{{"TOKEN":"{}"}}}}"#, "01".repeat(32));
        assert_eq!(seal(plain.as_bytes()), file);
        file
    })
}

/// A file with a valid header and this content, written from the description of the form and not by the product.
fn seal(plain: &[u8]) -> Vec<u8> {
    static MATERIAL: OnceLock<[u8; 44]> = OnceLock::new();
    let material = MATERIAL.get_or_init(|| {
        let mut material = [0; 44];
        let info: [&[u8]; 2] = [b"lethe sealed secrets v1", &DOCUMENT];
        Hkdf::<Sha256>::new(Some(&SALT), &SECRET).expand_multi_info(&info, &mut material).expect("expanded");
        material
    });
    let (key, nonce) = material.split_at(32);
    let mut key = AnswerKey::new(Aead::ChaCha20Poly1305, key, nonce.try_into().expect("12 bytes")).expect("a key");
    let mut file = [&b"LETHESEC"[..], &SALT].concat();
    key.seal_into(b"", plain, &mut file).expect("sealed");
    file
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    match choice % 4 {
        0 => {
            if let Ok((change, counter)) = open(&[key()], &[*operator()], 0, rest) {
                assert!(counter > 0 && change.check().is_ok());
            }
        }
        1 => {
            if let Some(change) = Change::from_json(rest) {
                assert!(change.check().is_ok());
                assert_eq!(Change::from_json(&change.to_json()).as_ref(), Some(&change));
            }
        }
        2 => assert_eq!(restore(rest, &SECRET, &DOCUMENT).is_ok(), rest == file()),
        _ => {
            let sealed = seal(rest);
            assert!(restore(&sealed, &SECRET, &[0; 32]).is_err(), "under another document");
            if let Ok(kept) = restore(&sealed, &SECRET, &DOCUMENT) {
                let again = keep(&kept, &SECRET, &DOCUMENT, &SALT).expect("sealed again");
                assert_eq!(restore(&again, &SECRET, &DOCUMENT), Ok(kept));
            }
        }
    }
});
