//! Secrets for a running appliance: sealed, signed, counted; and everything that is refused.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "helpers of tests")]

mod support;

use protocol::Refusal;
use protocol::hpke::{Kem, SecretKey};
use protocol::secrets::{Change, ChangeError, MAX_MESSAGE, OperatorKey, SecretsKey, open, seal};
use serde_json::Value;
use support::seeded;
use zeroize::Zeroizing;

fn key(seed: u8) -> SecretsKey {
    SecretsKey { kid: "secrets-1".to_owned(), secret: SecretKey::derive(Kem::X25519, &[seed; 32]) }
}

fn change(set: &[(&str, &str)], unset: &[&str]) -> Change {
    Change {
        set: set.iter().map(|(name, value)| ((*name).to_owned(), Zeroizing::new((*value).to_owned()))).collect(),
        unset: unset.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn sealed(change: &Change, counter: u64) -> Vec<u8> {
    let (key, operator) = (key(1), OperatorKey::from_seed(&[2; 32]));
    seal(&key.kid, &key.secret.public_key(), change, counter, &operator, &mut seeded("secrets")).expect("sealed")
}

fn operators() -> [[u8; 32]; 2] {
    [3, 2].map(|seed| OperatorKey::from_seed(&[seed; 32]).public())
}

fn opened(body: &[u8], last: u64) -> Result<(Change, u64), Refusal> {
    open(&[&key(1)], &operators(), last, body)
}

#[test]
fn a_change_reaches_the_appliance_and_nobody_else() {
    let change = change(&[("TOKEN", "s3cret\n\"ü"), ("HF_TOKEN", "x")], &["OLD"]);
    let body = sealed(&change, 5);
    assert!(!String::from_utf8_lossy(&body).contains("s3cret"));
    assert_eq!(opened(&body, 4), Ok((change, 5)));
    assert_eq!(opened(&sealed(&Change::default(), 1), 0), Ok((Change::default(), 1)), "asks for the names");
    assert_eq!(open(&[&key(9)], &operators(), 4, &body), Err(Refusal::Undecryptable));
    let renamed = SecretsKey { kid: "secrets-2".to_owned(), ..key(1) };
    assert_eq!(open(&[&renamed], &operators(), 4, &body), Err(Refusal::UnknownKey));
}

#[test]
fn an_old_counter_is_refused() {
    let body = sealed(&change(&[("TOKEN", "x")], &[]), 5);
    assert!(opened(&body, 4).is_ok());
    assert_eq!(opened(&body, 5), Err(Refusal::Rollback));
    assert_eq!(opened(&body, u64::MAX), Err(Refusal::Rollback));
}

#[test]
fn a_message_of_another_operator_or_with_a_changed_member_is_refused() {
    let body = sealed(&change(&[("TOKEN", "x")], &[]), 5);
    assert_eq!(open(&[&key(1)], &operators()[..1], 4, &body), Err(Refusal::Signature));
    assert_eq!(open(&[&key(1)], &[], 4, &body), Err(Refusal::Signature));
    let document: Value = serde_json::from_slice(&body).expect("JSON");
    let with = |name: &str, value: Value| {
        let mut changed = document.clone();
        changed[name] = value;
        opened(changed.to_string().as_bytes(), 4)
    };
    let other: Value = serde_json::from_slice(&sealed(&change(&[("TOKEN", "y")], &[]), 6)).expect("JSON");
    for name in ["counter", "ciphertext", "signature"] {
        assert_eq!(with(name, other[name].clone()), Err(Refusal::Signature), "{name}");
    }
    assert_eq!(with("kid", "secrets-2".into()), Err(Refusal::Signature));
    assert_eq!(with("enc", "A".repeat(43).into()), Err(Refusal::Signature));
    for (name, value) in
        [("v", 2.into()), ("v", "1".into()), ("enc", "?".into()), ("more", 1.into()), ("counter", (-1).into())]
    {
        assert_eq!(with(name, value), Err(Refusal::Malformed), "{name}");
    }
    assert_eq!(with("counter", u64::MAX.into()), Err(Refusal::Malformed));
    for end in 0..body.len() {
        assert_eq!(opened(&body[..end], 4), Err(Refusal::Malformed));
    }
    assert_eq!(opened(&vec![b' '; MAX_MESSAGE + 1], 4), Err(Refusal::TooLong));
}

#[test]
fn names_and_values_out_of_form_are_neither_sealed_nor_printed() {
    for (change, error) in [
        (change(&[("token", "x")], &[]), ChangeError::Name),
        (change(&[("", "x")], &[]), ChangeError::Name),
        (change(&[("1A", "x")], &[]), ChangeError::Name),
        (change(&[], &["A B"]), ChangeError::Name),
        (change(&[(&"A".repeat(65), "x")], &[]), ChangeError::Name),
        (change(&[("A", "")], &[]), ChangeError::Value),
        (change(&[("A", "x\0")], &[]), ChangeError::Value),
        (change(&[("A", &"x".repeat(16_385))], &[]), ChangeError::Value),
        (change(&[("A", "x")], &["A"]), ChangeError::Both),
    ] {
        assert_eq!(change.check(), Err(error));
        let operator = OperatorKey::from_seed(&[2; 32]);
        assert!(seal("k", &key(1).secret.public_key(), &change, 1, &operator, &mut seeded("s")).is_err());
    }
    let many: Vec<String> = (0..65).map(|number| format!("A{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(change(&[], &many).check(), Err(ChangeError::TooMany));
    assert_eq!(change(&[], &many[1..]).check(), Ok(()));
    assert!(!format!("{:?}", change(&[("TOKEN", "s3cret")], &[])).contains("s3cret"));
}
