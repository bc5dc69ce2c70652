//! The vectors of `docs/protocol.md`, made anew from their seeds and compared, so that the page cannot drift.
//!
//! `LETHE_WRITE_VECTORS=1` writes them into the page instead, after a change that is meant.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "helpers of tests")]

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use ed25519_dalek::{Signer as _, SigningKey};
use protocol::envelope::{Device, DeviceAlgorithm, DeviceSigner, EnvelopeKey, Message, Request};
use protocol::hpke::{Kem, SecretKey};
use protocol::legacy::{LegacyKeys, SigningAlgorithm};
use protocol::receipt::event::{Launch, Model, Prompt, Sampling, Transport, Usage};
use protocol::receipt::{Chain, Draft, Head, ReceiptKey};
use protocol::secrets::{Change, OperatorKey, SecretsKey};
use protocol::{ED25519, Keyset, PublicKey, Sha256Digest, algorithm, envelope, legacy, secrets};
use serde_json::{Value, json};
use support::exactly;
use zeroize::Zeroizing;

/// Compares the JSON block behind `<!-- vectors: NAME -->` with `vectors`.
fn documented(name: &str, vectors: &Value) {
    // the tests of this file run at the same time, and some may write
    static PAGE: Mutex<()> = Mutex::new(());
    let _page = PAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol.md");
    let page = std::fs::read_to_string(&path).expect("the page can be read");
    let mark = format!("<!-- vectors: {name} -->\n```json\n");
    let start = page.find(&mark).unwrap_or_else(|| panic!("the page has vectors of {name}")) + mark.len();
    let length = page[start..].find("\n```").expect("the block ends");
    let made = serde_json::to_string_pretty(vectors).expect("JSON");
    if std::env::var_os("LETHE_WRITE_VECTORS").is_some() {
        let changed = [&page[..start], &made, &page[start + length..]].concat();
        std::fs::write(&path, changed).expect("the page can be written");
    } else {
        assert_eq!(&page[start..start + length], made, "docs/protocol.md, vectors of {name}");
    }
}

#[test]
fn the_envelopes_vectors_are_on_the_page() {
    let key = EnvelopeKey {
        kid: "env-1".to_owned(),
        secret: SecretKey::from_bytes(Kem::X25519, &[0x13; 32]).expect("a key"),
    };
    let device_key = SigningKey::from_bytes(&[0x16; 32]);
    let device = Device { algorithm: DeviceAlgorithm::Ed25519, key: device_key.verifying_key().to_bytes().to_vec() };
    let sign = |message: &[u8]| device_key.sign(message).to_bytes().to_vec();
    let content = br#"{"messages":[{"content":"Hello","role":"user"}],"stream":true}"#;
    let device = DeviceSigner { device, sign: &sign, enrolment: Some("one-time-token") };
    let request = Request { content, rid: "AAECAwQFBgcICQoL", ts: 1_790_000_000, device: Some(device) };
    let (message, _) = envelope::seal(&key.published(), &request, &mut exactly(vec![0x14; 32])).expect("sealed");
    let mut reply = envelope::open(&[&key], &message).expect("opened").reply;
    let events = [("data: {\"n\":1}\n\n", false), ("data: [DONE]\n\n", false), ("{\"api_version\":\"aci/1\"}", true)];
    let answer = events
        .map(|(text, last)| json!({"plaintext": text, "event": reply.event(text.as_bytes(), last).expect("sealed")}));
    let mut reply = envelope::open(&[&key], &message).expect("opened").reply;
    let whole = "{\"api_version\":\"aci/1\"}\n{\"n\":1}";
    let one_body = json!({"plaintext": whole, "body": reply.seal(whole.as_bytes(), true).expect("sealed")});
    let vectors = json!({
        "secret_key": hex::encode([0x13; 32]),
        "key": key.published(),
        "ephemeral_ikm": hex::encode([0x14; 32]),
        "device_seed": hex::encode([0x16; 32]),
        "enrolment": "one-time-token",
        "plaintext": String::from_utf8_lossy(content),
        "request": serde_json::from_slice::<Value>(&message.to_json()).expect("JSON"),
        "signed_by_device": message.signed_by_device(),
        "device_id": hex::encode(message.device().expect("signed").expect("a device").id()),
        "p256_device": p256_device(&message),
        "answer": answer,
        "answer_in_one_body": one_body,
    });
    documented("envelope", &vectors);
}

/// The same request signed with P-256: the member, its key's secret and its id.
fn p256_device(message: &Message) -> Value {
    let secret = p256::ecdsa::SigningKey::from_slice(&[0x17; 32]).expect("a key");
    let key = secret.verifying_key().to_sec1_point(false).as_bytes().to_vec();
    let signature: p256::ecdsa::Signature = secret.sign(message.signed_by_device().as_bytes());
    let b64u = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let member = json!({"alg": "p256", "key": b64u(&key), "signature": b64u(&signature.to_bytes())});
    let mut request: Value = serde_json::from_slice(&message.to_json()).expect("JSON");
    request["device"] = member.clone();
    let request = Message::parse(request.to_string().as_bytes()).expect("a message");
    let device = request.device().expect("the signature verifies").expect("a device");
    assert_eq!((device.algorithm, &device.key), (DeviceAlgorithm::P256, &key));
    json!({"secret_key": hex::encode([0x17; 32]), "device": member, "device_id": hex::encode(device.id())})
}

fn digest(text: &str) -> Sha256Digest {
    Sha256Digest::of(text.as_bytes())
}

#[test]
fn the_receipts_vectors_are_on_the_page() {
    let key = ReceiptKey::from_seed(&[0x02; 32]);
    let ohttp = SecretKey::from_bytes(Kem::X25519, &[0x12; 32]).expect("a key").public_key();
    let ohttp = PublicKey {
        key_id: "ohttp-1".to_owned(),
        algo: algorithm::OHTTP.to_owned(),
        public_key: hex::encode(ohttp.as_bytes()),
    };
    let keyset = Keyset {
        subject: None,
        not_after: 4_102_444_800,
        receipt_signing_keys: vec![key.public_key()],
        e2ee_public_keys: vec![ohttp],
        tls_public_keys: Vec::new(),
    };
    assert_eq!(keyset.receipt_signing_keys[0].algo, ED25519);
    let mut chain = Chain::default();
    let receipts: Vec<Value> =
        ["first", "second"].iter().map(|name| receipt(&keyset, &key, &mut chain, name)).collect();
    let vectors = json!({
        "receipt_key_seed": hex::encode([0x02; 32]),
        "keyset_jcs": keyset.canonical().expect("canonical"),
        "keyset_digest": keyset.digest().expect("digest"),
        "receipts": receipts,
        "digest_of_second": chain.place().previous,
    });
    documented("receipts", &vectors);
}

fn receipt(keyset: &Keyset, key: &ReceiptKey, chain: &mut Chain, name: &str) -> Value {
    let head = Head {
        receipt_id: format!("rcpt-{name}"),
        chat_id: Some(format!("chatcmpl-{name}")),
        model: Some("smollm2".to_owned()),
        workload_keyset_digest: keyset.digest().expect("digest"),
        endpoint: "/v1/chat/completions".to_owned(),
        method: "POST".to_owned(),
        served_at: 1_790_000_000,
    };
    let mut draft = Draft::new(head, digest(&format!("{name} request")));
    draft.forwarded(digest(&format!("{name} request, as inference read it")));
    draft.push(&Model {
        name: "smollm2".to_owned(),
        gguf_sha256: digest("model"),
        chat_template_sha256: Some(digest("template")),
    });
    draft.push(&Prompt { prompt_sha256: digest("effective prompt") });
    let parameters = [("temperature", "0.7"), ("top_p", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let parameters = BTreeMap::from(parameters);
    draft.push(&Sampling { seed: "12345678901234567890".to_owned(), max_tokens: 256, parameters });
    draft.push(&Usage { prompt_tokens: 31, completion_tokens: 9, finish_reason: "stop".to_owned() });
    draft.push(&Launch {
        tee_type: "sev_snp".to_owned(),
        measurement: Some("ab".repeat(48)),
        boot_id: "cd".repeat(16),
        epoch: 7,
    });
    draft.push(&Transport {
        wire: "ohttp-chunked".to_owned(),
        request_ciphertext_hash: Some(digest(&format!("{name} request, sealed"))),
        response_ciphertext_hash: None,
    });
    draft.push(&chain.place());
    let receipt = draft.sign(digest(&format!("{name} response")), key).expect("signed");
    chain.advance(&receipt);
    serde_json::from_str(receipt.json()).expect("JSON")
}

#[test]
fn the_older_signatures_vectors_are_on_the_page() {
    let keys = LegacyKeys::from_seeds(&[0x21; 32], &[0x22; 32]).expect("keys");
    let text = legacy::text(digest("first request"), digest("first response"));
    let signed = [SigningAlgorithm::Ecdsa, SigningAlgorithm::Ed25519]
        .map(|algorithm| serde_json::to_value(keys.sign(algorithm, &text)).expect("JSON"));
    let vectors = json!({
        "secp256k1_secret_key": hex::encode([0x22; 32]),
        "ed25519_seed": hex::encode([0x21; 32]),
        "signatures": signed,
    });
    documented("legacy", &vectors);
}

#[test]
fn the_secrets_vectors_are_on_the_page() {
    let key = SecretsKey {
        kid: "secrets-1".to_owned(),
        secret: SecretKey::from_bytes(Kem::X25519, &[0x31; 32]).expect("a key"),
    };
    let operator = OperatorKey::from_seed(&[0x32; 32]);
    let change = Change {
        set: BTreeMap::from([("TOKEN".to_owned(), Zeroizing::new("correct horse".to_owned()))]),
        unset: ["OLD_TOKEN".to_owned()].into(),
    };
    let public = key.secret.public_key();
    let body = secrets::seal(&key.kid, &public, &change, 3, &operator, &mut exactly(vec![0x33; 32])).expect("sealed");
    let vectors = json!({
        "secret_key": hex::encode([0x31; 32]),
        "public_key": hex::encode(public.as_bytes()),
        "operator_seed": hex::encode([0x32; 32]),
        "operator_public_key": hex::encode(operator.public()),
        "ephemeral_ikm": hex::encode([0x33; 32]),
        "plaintext": r#"{"set":{"TOKEN":"correct horse"},"unset":["OLD_TOKEN"]}"#,
        "message": serde_json::from_slice::<Value>(&body).expect("JSON"),
    });
    assert_eq!(secrets::open(&[&key], &[operator.public()], 2, &body), Ok((change, 3)));
    documented("secrets", &vectors);
}
