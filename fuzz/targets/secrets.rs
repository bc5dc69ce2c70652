//! Secrets: messages and the changes inside them, read or refused; what is read is written the same.
//!
//! An even first byte reads a message, an odd one the JSON of a change.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::hpke::{Kem, SecretKey};
use protocol::secrets::{Change, OperatorKey, SecretsKey, open};

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    if choice % 2 == 0 {
        let key = SecretsKey { kid: "k".to_owned(), secret: SecretKey::derive(Kem::X25519, &[1; 32]) };
        let operator = OperatorKey::from_seed(&[2; 32]).public();
        if let Ok((change, counter)) = open(&[&key], &[operator], 0, rest) {
            assert!(counter > 0 && change.check().is_ok());
        }
    } else if let Some(change) = Change::from_json(rest) {
        assert!(change.check().is_ok());
        assert_eq!(Change::from_json(&change.to_json()).as_ref(), Some(&change));
    }
});
