//! The envelope: both sides against each other, device keys, and everything that is refused.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "helpers of tests")]

mod support;

use ed25519_dalek::{Signer as _, SigningKey};
use protocol::envelope::{
    AnswerOpener, Device, DeviceAlgorithm, DeviceSigner, EnvelopeKey, EventError, KeyPage, Message, Opened,
    PublishedKey, Request, jwks, open, seal,
};
use protocol::hpke::{Kem, SecretKey};
use protocol::{Refusal, Sha256Digest};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use support::seeded;

const RID: &str = "0123456789abcdef";

fn key(kid: &str) -> EnvelopeKey {
    EnvelopeKey { kid: kid.to_owned(), secret: SecretKey::derive(Kem::X25519, &[3; 32]) }
}

fn request(content: &[u8]) -> Request<'_> {
    Request { content, rid: RID, ts: 1_790_000_000, device: None }
}

fn sealed(request: &Request<'_>) -> (Message, AnswerOpener) {
    seal(&key("k1").published(), request, &mut seeded("envelope")).expect("sealed")
}

fn opened() -> (Opened, AnswerOpener) {
    let (message, opener) = sealed(&request(b"{}"));
    (open(&[&key("k1")], &Message::parse(&message.to_json()).expect("message")).expect("opened"), opener)
}

#[test]
fn a_request_opens_and_its_answer_streams() {
    let (opened, mut opener) = opened();
    assert_eq!(**opened.content, *b"{}");
    assert!(opened.enrolment.is_none() && opened.enc.len() == 32);
    let mut reply = opened.reply;
    for (number, content) in ["data: one\n\n", "data: two\n\n", "data: [DONE]\n\n"].into_iter().enumerate() {
        let event = reply.event(content.as_bytes(), number == 2).expect("sealed");
        let json = event.strip_prefix("data: ").and_then(|event| event.strip_suffix("\n\n")).expect("an event");
        assert!(!json.contains('\n'));
        assert_eq!(**opener.open(json.as_bytes()).expect("opened"), *content.as_bytes());
        assert_eq!(opener.is_complete(), number == 2);
    }
    assert!(reply.seal(b"more", false).is_err(), "nothing after the last event");
    assert_eq!(opener.finish(), Ok(()));
}

#[test]
fn another_key_or_a_changed_member_is_refused() {
    let (message, _) = sealed(&request(b"{}"));
    let body = message.to_json();
    let refused = |body: &[u8]| match Message::parse(body) {
        Ok(message) => open(&[&key("k1")], &message).err(),
        Err(refusal) => Some(refusal),
    };
    assert_eq!(refused(&body), None);
    assert_eq!(open(&[&key("k2")], &message).err(), Some(Refusal::UnknownKey));
    let other = EnvelopeKey { secret: SecretKey::derive(Kem::X25519, &[4; 32]), ..key("k1") };
    assert_eq!(open(&[&other], &message).err(), Some(Refusal::Undecryptable));

    let with = |name: &str, value: Value| {
        let mut document: Value = serde_json::from_slice(&body).expect("JSON");
        document[name] = value;
        refused(document.to_string().as_bytes())
    };
    assert_eq!(with("ts", json!(1_790_000_001)), Some(Refusal::Malformed), "aad says another time");
    assert_eq!(with("rid", json!("0123456789abcdeg")), Some(Refusal::Malformed));
    for (name, value) in [
        ("kid", json!("")),
        ("kid", json!("k 1")),
        ("rid", json!("short")),
        ("rid", json!("0123456789abcde\n")),
        ("ts", json!(-1)),
        ("ts", json!(1.5)),
        ("ts", json!(u64::MAX)),
        ("enc", json!("***")),
        ("enc", json!(null)),
        ("ciphertext", json!("AA==")),
        ("more", json!(1)),
        ("device", json!({"alg": "ed25519"})),
    ] {
        assert_eq!(with(name, value.clone()), Some(Refusal::Malformed), "{name}: {value}");
    }
    assert_eq!(with("ciphertext", json!("")), Some(Refusal::Undecryptable));
    assert_eq!(with("enc", json!("AAAA")), Some(Refusal::Undecryptable));
    let text = String::from_utf8(body.clone()).expect("UTF-8");
    assert_eq!(refused(text.replacen('{', "{\"kid\":\"k1\",", 1).as_bytes()), Some(Refusal::Malformed), "named twice");
    for end in 0..body.len() {
        assert_eq!(refused(&body[..end]), Some(Refusal::Malformed));
    }
}

/// A base64url text with the lowest or the highest bit of one digit flipped, for each of its digits.
fn flipped(text: &str) -> impl Iterator<Item = (usize, String)> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..text.len()).flat_map(move |index| {
        [1, 32].map(|bit| {
            let mut text = text.as_bytes().to_vec();
            let value = DIGITS.iter().position(|digit| *digit == text[index]).expect("base64url");
            text[index] = DIGITS[value ^ bit];
            (index, String::from_utf8(text).expect("ASCII"))
        })
    })
}

#[test]
fn a_flipped_bit_of_any_character_is_refused() {
    let body = sealed(&request(b"{\"messages\":[]}")).0.to_json();
    let good: Value = serde_json::from_slice(&body).expect("JSON");
    for (name, refusal) in
        [("enc", Refusal::Undecryptable), ("ciphertext", Refusal::Undecryptable), ("aad", Refusal::Malformed)]
    {
        let text = good[name].as_str().expect("text");
        for (index, changed) in flipped(text) {
            let mut document = good.clone();
            document[name] = changed.into();
            let read = Message::parse(document.to_string().as_bytes());
            let refused = read.and_then(|message| open(&[&key("k1")], &message).map(drop)).expect_err("refused");
            // bits of the last digit that stand for no byte must be zeros
            let spare = index + 1 == text.len() && refused == Refusal::Malformed;
            assert!(refused == refusal || spare, "{name}, digit {index}: {refused}");
        }
    }
}

#[test]
fn a_flipped_bit_of_a_devices_signature_or_key_is_refused() {
    let random = ring::rand::SystemRandom::new();
    let form = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(form, &random).expect("key");
    let p256 = EcdsaKeyPair::from_pkcs8(form, document.as_ref(), &random).expect("key");
    let device = Device { algorithm: DeviceAlgorithm::P256, key: p256.public_key().as_ref().to_vec() };
    let sign = |message: &[u8]| p256.sign(&random, message).expect("signed").as_ref().to_vec();
    for message in [ed25519(None).1, with_device(device, &sign, None)] {
        assert!(matches!(message.device(), Ok(Some(_))));
        let good: Value = serde_json::from_slice(&message.to_json()).expect("JSON");
        for name in ["signature", "key"] {
            let text = good["device"][name].as_str().expect("text");
            for (index, changed) in flipped(text) {
                let mut document = good.clone();
                document["device"][name] = changed.into();
                let message = Message::parse(document.to_string().as_bytes()).expect("well formed");
                let refused = message.device().expect_err("refused");
                let spare = index + 1 == text.len() && refused == Refusal::Malformed;
                assert!(refused == Refusal::Signature || spare, "{name}, digit {index}: {refused}");
            }
        }
    }
}

#[test]
fn events_open_in_their_order_once_and_for_their_request_only() {
    let (opened, _) = opened();
    let mut reply = opened.reply;
    let events = [(b"one", false), (b"two", false), (b"end", true)]
        .map(|(content, last)| reply.seal(content, last).expect("sealed"));
    let read = |order: &[usize]| {
        let mut opener = sealed(&request(b"{}")).1;
        for index in order {
            opener.open(events[*index].as_bytes())?;
        }
        opener.finish()
    };
    assert_eq!(read(&[0, 1, 2]), Ok(()));
    assert_eq!(read(&[]), Err(EventError::Truncated));
    assert_eq!(read(&[0, 1]), Err(EventError::Truncated));
    assert_eq!(read(&[1, 0, 2]), Err(EventError::Undecryptable));
    assert_eq!(read(&[0, 0, 1, 2]), Err(EventError::Undecryptable));
    assert_eq!(read(&[0, 2]), Err(EventError::Undecryptable));
    assert_eq!(read(&[0, 1, 2, 2]), Err(EventError::AfterLast));

    let first = |text: &str| sealed(&request(b"{}")).1.open(text.as_bytes()).err();
    assert_eq!(first(&events[0]), None);
    assert_eq!(first(&events[0].replace("false", "true")), Some(EventError::Undecryptable), "marked as the last");
    assert_eq!(first(&events[1].replace("\"seq\":1", "\"seq\":0")), Some(EventError::Undecryptable));
    assert_eq!(first("{}"), Some(EventError::Malformed));
    assert_eq!(first("{\"ciphertext\":\"!\",\"last\":false,\"seq\":0}"), Some(EventError::Malformed));
    assert_eq!(first("{\"ciphertext\":\"\",\"last\":false,\"seq\":0}"), Some(EventError::Undecryptable));
    let other = Request { rid: "another-request--", ..request(b"{}") };
    assert_eq!(sealed(&other).1.open(events[0].as_bytes()).err(), Some(EventError::Undecryptable));
}

fn with_device(device: Device, sign: &dyn Fn(&[u8]) -> Vec<u8>, enrolment: Option<&str>) -> Message {
    let signer = DeviceSigner { device, sign, enrolment };
    sealed(&Request { device: Some(signer), ..request(b"{}") }).0
}

fn ed25519(enrolment: Option<&str>) -> (Device, Message) {
    let key = SigningKey::from_bytes(&[9; 32]);
    let device = Device { algorithm: DeviceAlgorithm::Ed25519, key: key.verifying_key().to_bytes().to_vec() };
    (device.clone(), with_device(device, &|message| key.sign(message).to_bytes().to_vec(), enrolment))
}

#[test]
fn a_device_signs_with_ed25519_or_p256_in_either_form() {
    let (device, message) = ed25519(None);
    assert_eq!(message.device(), Ok(Some(device.clone())));
    assert_eq!(sealed(&request(b"{}")).0.device(), Ok(None));

    let random = ring::rand::SystemRandom::new();
    for form in [&ECDSA_P256_SHA256_FIXED_SIGNING, &ECDSA_P256_SHA256_ASN1_SIGNING] {
        let document = EcdsaKeyPair::generate_pkcs8(form, &random).expect("key");
        let key = EcdsaKeyPair::from_pkcs8(form, document.as_ref(), &random).expect("key");
        let device = Device { algorithm: DeviceAlgorithm::P256, key: key.public_key().as_ref().to_vec() };
        let sign = |message: &[u8]| key.sign(&random, message).expect("signed").as_ref().to_vec();
        let message = with_device(device.clone(), &sign, None);
        assert_eq!(message.device(), Ok(Some(device)));
        let wrong = Device { algorithm: DeviceAlgorithm::P256, key: vec![4; 65] };
        assert_eq!(with_device(wrong, &sign, None).device(), Err(Refusal::Signature));
    }
}

#[test]
fn a_signature_of_another_device_or_over_other_members_is_refused() {
    let (device, message) = ed25519(None);
    let key = SigningKey::from_bytes(&[8; 32]);
    let forged = with_device(device, &|message| key.sign(message).to_bytes().to_vec(), None);
    assert_eq!(forged.device(), Err(Refusal::Signature));
    // the signature of one request on another
    let other = seal(&key_of("k1"), &Request { ts: 5, ..request(b"{}") }, &mut seeded("other")).expect("sealed").0;
    let mut moved: Value = serde_json::from_slice(&other.to_json()).expect("JSON");
    let document: Value = serde_json::from_slice(&message.to_json()).expect("JSON");
    moved["device"] = document["device"].clone();
    let moved = Message::parse(moved.to_string().as_bytes()).expect("message");
    assert_eq!(moved.device(), Err(Refusal::Signature));
    for (name, value) in [("alg", "rsa"), ("key", "?"), ("signature", "?")] {
        let mut changed = document.clone();
        changed["device"][name] = value.into();
        let changed = Message::parse(changed.to_string().as_bytes()).expect("message");
        assert_eq!(changed.device(), Err(Refusal::Malformed));
    }
    for (name, value) in [("alg", "p256"), ("key", "AAAA"), ("signature", "AAAA")] {
        let mut changed = document.clone();
        changed["device"][name] = value.into();
        let changed = Message::parse(changed.to_string().as_bytes()).expect("message");
        assert_eq!(changed.device(), Err(Refusal::Signature));
    }
}

fn key_of(kid: &str) -> PublishedKey {
    key(kid).published()
}

#[test]
fn an_enrolment_token_is_sealed_with_the_request() {
    let (_, message) = ed25519(Some("one-time-token"));
    let body = message.to_json();
    assert!(!String::from_utf8_lossy(&body).contains("one-time-token"));
    let opened = open(&[&key("k1")], &message).expect("opened");
    assert_eq!(**opened.enrolment.expect("a token"), *b"one-time-token");
    let mut changed: Value = serde_json::from_slice(&body).expect("JSON");
    changed["device"]["enrolment"] = "AAAA".into();
    let changed = Message::parse(changed.to_string().as_bytes()).expect("message");
    assert_eq!(open(&[&key("k1")], &changed).err(), Some(Refusal::Undecryptable));
}

#[test]
fn keys_are_published_with_suite_and_keyset_and_as_jwks() {
    let (current, next) = (key("k1"), EnvelopeKey { kid: "k2".to_owned(), ..key("k2") });
    let page = KeyPage::new(&current, Some(&next), Sha256Digest::of(b"keyset"), 7);
    let read: KeyPage = serde_json::from_value(serde_json::to_value(&page).expect("JSON")).expect("page");
    assert_eq!(read, page);
    assert_eq!(read.current.key(), Some(current.secret.public_key()));
    assert_eq!(PublishedKey { public_key: "AAAA".to_owned(), ..read.current }.key(), None);
    let set = jwks(&[current.published(), next.published()]);
    assert_eq!(set["keys"][1]["kid"], "k2");
    assert_eq!(set["keys"][0]["x"], page.current.public_key);
    assert_eq!(
        (&set["keys"][0]["kty"], &set["keys"][0]["crv"], &set["keys"][0]["use"]),
        (&json!("OKP"), &json!("X25519"), &json!("enc"))
    );
}

#[test]
fn a_request_out_of_form_is_not_sealed() {
    let sealed = |request: &Request<'_>| seal(&key_of("k1"), request, &mut seeded("r")).is_ok();
    assert!(sealed(&request(b"{}")));
    assert!(!sealed(&Request { rid: "short", ..request(b"{}") }));
    assert!(!sealed(&Request { ts: u64::MAX, ..request(b"{}") }));
    let low = PublishedKey { public_key: "A".repeat(43), ..key_of("k1") };
    assert!(seal(&low, &request(b"{}"), &mut seeded("r")).is_err(), "a key of low order");
}
