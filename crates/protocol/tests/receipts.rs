//! Receipts: ACI's vector byte for byte, our events, the chain of a tenant, and everything that is refused.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "helpers of tests")]

mod support;

use std::collections::BTreeMap;

use protocol::receipt::event::{Launch, Model, Place, Prompt, Sampling, Transport, Usage};
use protocol::receipt::{
    Chain, ChainError, Draft, Head, MAX_RECEIPT, Receipt, ReceiptError, ReceiptKey, Verified, follows,
};
use protocol::{Keyset, Sha256Digest};
use serde_json::{Value, json};
use support::{bytes, corpus, text};

fn key() -> ReceiptKey {
    ReceiptKey::from_seed(&[2; 32]).with_id("receipt-1")
}

fn keyset() -> Keyset {
    Keyset {
        subject: None,
        not_after: 1_800_000_000,
        receipt_signing_keys: vec![key().public_key()],
        e2ee_public_keys: Vec::new(),
        tls_public_keys: Vec::new(),
    }
}

fn head(keyset: &Keyset) -> Head {
    Head {
        receipt_id: "rcpt-0001".to_owned(),
        chat_id: Some("chatcmpl-123".to_owned()),
        model: Some("demo-model".to_owned()),
        workload_keyset_digest: keyset.digest().expect("digest"),
        endpoint: "/v1/chat/completions".to_owned(),
        method: "POST".to_owned(),
        served_at: 1_750_000_000,
    }
}

fn digest(text: &str) -> Sha256Digest {
    Sha256Digest::of(text.as_bytes())
}

fn events() -> (Model, Prompt, Sampling, Usage, Launch, Transport) {
    let model =
        Model { name: "m".to_owned(), gguf_sha256: digest("gguf"), chat_template_sha256: Some(digest("template")) };
    let parameters = BTreeMap::from([("temperature".to_owned(), "0.7".to_owned())]);
    let sampling = Sampling { seed: u64::MAX.to_string(), max_tokens: 100, parameters };
    let usage = Usage { prompt_tokens: 5, completion_tokens: 7, finish_reason: "stop".to_owned() };
    let (tee_type, boot_id) = ("none".to_owned(), "ab".repeat(16));
    let launch = Launch { tee_type, measurement: None, boot_id, epoch: 3 };
    let transport = Transport {
        wire: "ohttp".to_owned(),
        request_ciphertext_hash: Some(digest("sealed")),
        response_ciphertext_hash: None,
    };
    (model, Prompt { prompt_sha256: digest("prompt") }, sampling, usage, launch, transport)
}

/// A receipt at a place of the chain.
fn receipt(chain: &mut Chain, request: &str) -> Receipt {
    let (model, prompt, sampling, usage, launch, transport) = events();
    let mut draft = Draft::new(head(&keyset()), digest(request));
    draft.forwarded(digest("rewritten"));
    draft.push(&model);
    draft.push(&prompt);
    draft.push(&sampling);
    draft.push(&usage);
    draft.push(&launch);
    draft.push(&transport);
    draft.push(&chain.place());
    let receipt = draft.sign(digest("response"), &key()).expect("signed");
    chain.advance(&receipt);
    receipt
}

fn verified(receipt: &Receipt) -> Verified {
    Verified::check(receipt.json().as_bytes(), &keyset()).expect("verified")
}

#[test]
fn acis_own_receipt_verifies_and_the_same_key_signs_the_same_bytes() {
    let Some(vectors) = corpus("vectors/aci/vectors.json") else { return };
    let keyset: Keyset = serde_json::from_str(text(&vectors, "keyset_jcs")).expect("keyset");
    let seed = bytes(&vectors, "receipt_key_seed").try_into().expect("32 bytes");
    let key = ReceiptKey::from_seed(&seed).with_id("receipt-1");
    assert_eq!(key.public_key(), keyset.receipt_signing_keys[0]);
    let served = text(&vectors, "receipt_served");
    let receipt = Verified::check(served.as_bytes(), &keyset).expect("verified");
    assert_eq!(*receipt.head(), head(&keyset));
    assert_eq!(receipt.event::<Model>(), Ok(None));

    // our own draft of the same events; `upstream.verified` is an aggregator's, so it has no type here
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Upstream(Value);
    impl protocol::receipt::event::Event for Upstream {
        const TYPE: &'static str = "upstream.verified";
    }
    let document: Value = serde_json::from_str(served).expect("JSON");
    let hash =
        |index: usize| document["event_log"][index]["body_hash"].as_str().expect("hash").parse().expect("digest");
    let mut draft = Draft::new(head(&keyset), hash(0));
    draft.forwarded(hash(1));
    draft.push(&Upstream(document["event_log"][2].clone()));
    assert_eq!(draft.sign(hash(3), &key).expect("signed").json(), served);
}

#[test]
fn a_receipt_verifies_in_any_json_encoding_and_its_events_are_read() {
    let receipt = receipt(&mut Chain::default(), "request");
    let pretty =
        serde_json::to_string_pretty(&serde_json::from_str::<Value>(receipt.json()).expect("JSON")).expect("JSON");
    for encoding in [receipt.json(), &pretty] {
        let verified = Verified::check(encoding.as_bytes(), &keyset()).expect("verified");
        let (model, prompt, sampling, usage, launch, transport) = events();
        assert_eq!(verified.event(), Ok(Some(model)));
        assert_eq!(verified.event(), Ok(Some(prompt)));
        assert_eq!(verified.event(), Ok(Some(sampling)));
        assert_eq!(verified.event(), Ok(Some(usage)));
        assert_eq!(verified.event(), Ok(Some(launch)));
        assert_eq!(verified.event(), Ok(Some(transport)));
        assert_eq!(verified.event(), Ok(Some(Place { counter: 0, previous: None })));
        assert_eq!(verified.forwarded(), Some(digest("rewritten")));
        assert_eq!(verified.digest(), receipt.digest());
    }
}

#[test]
fn a_receipt_as_a_fields_value_is_printable_ascii_and_the_same_receipt() {
    let keyset = keyset();
    let head = Head { model: Some("a\u{7f}\u{e9}\u{1f600}\n\"\\".to_owned()), ..head(&keyset) };
    let digest = keyset.digest().expect("digest");
    let receipt = Draft::new(head.clone(), digest).sign(digest, &key()).expect("signed");
    let field = receipt.field();
    assert!(field.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{field}");
    assert!(field.contains(r#""a\u007f\u00e9\ud83d\ude00\n\"\\""#), "{field}");
    let verified = Verified::check(field.as_bytes(), &keyset).expect("it verifies");
    assert_eq!((verified.head(), verified.digest()), (&head, receipt.digest()));
    assert!(Verified::check(field.replace("u00e9", "u00e8").as_bytes(), &keyset).is_err());
}

#[test]
fn a_receipt_is_of_its_own_request_and_response_only() {
    let verified = verified(&receipt(&mut Chain::default(), "request"));
    assert_eq!(verified.check_exchange(digest("request"), digest("response")), Ok(()));
    assert_eq!(verified.check_exchange(digest("other"), digest("response")), Err(ReceiptError::OtherRequest));
    assert_eq!(verified.check_exchange(digest("request"), digest("other")), Err(ReceiptError::OtherResponse));
}

/// The receipt with a change, refused with this error.
fn refused(change: impl Fn(&mut Value)) -> ReceiptError {
    let mut document: Value = serde_json::from_str(receipt(&mut Chain::default(), "request").json()).expect("JSON");
    change(&mut document);
    Verified::check(document.to_string().as_bytes(), &keyset()).expect_err("refused")
}

#[test]
fn a_receipt_with_any_change_is_refused() {
    let receipt = receipt(&mut Chain::default(), "request");
    assert_eq!(refused(|document| document["note"] = json!(1)), ReceiptError::Malformed, "an added member");
    assert_eq!(refused(|document| document["event_log"][2]["note"] = json!(1)), ReceiptError::Signature);
    assert_eq!(refused(|document| document["model"] = json!("other")), ReceiptError::Signature);
    assert_eq!(refused(|document| document["served_at"] = json!(1)), ReceiptError::Signature);
    assert_eq!(refused(|document| document["api_version"] = json!("aci/2")), ReceiptError::Version);
    assert_eq!(refused(|document| document["key_id"] = json!("receipt-2")), ReceiptError::UnknownKey);
    assert_eq!(
        refused(|document| document["workload_keyset_digest"] = json!(digest("x").to_string())),
        ReceiptError::Keyset
    );
    assert_eq!(refused(|document| document["signature"] = json!("00".repeat(64))), ReceiptError::Signature);
    assert_eq!(refused(|document| document["signature"] = json!("")), ReceiptError::Signature);
    assert_eq!(refused(|document| document["served_at"] = json!(1.5)), ReceiptError::Malformed);
    let upper = |document: &mut Value| {
        document["signature"] = json!(document["signature"].as_str().expect("text").to_uppercase());
    };
    assert_eq!(refused(upper), ReceiptError::Signature);
    let json = receipt.json();
    let twice = json.replacen("\"model\":", "\"model\":\"other\",\"model\":", 1);
    assert_eq!(Verified::check(twice.as_bytes(), &keyset()), Err(ReceiptError::Malformed), "a member named twice");
    let long = " ".repeat(MAX_RECEIPT) + json;
    assert_eq!(Verified::check(long.as_bytes(), &keyset()), Err(ReceiptError::Malformed));
    for end in (0..json.len()).step_by(7) {
        assert_eq!(Verified::check(&json.as_bytes()[..end], &keyset()), Err(ReceiptError::Malformed));
    }
    for index in (0..json.len()).step_by(5) {
        let mut changed = json.as_bytes().to_vec();
        changed[index] ^= 1;
        assert!(Verified::check(&changed, &keyset()).is_err(), "{index}");
    }
}

#[test]
fn a_key_of_another_role_or_algorithm_signs_no_receipt() {
    let other = |change: fn(&mut Keyset)| {
        let mut keyset = keyset();
        change(&mut keyset);
        let receipt = Draft::new(head(&keyset), digest("a")).sign(digest("b"), &key()).expect("signed");
        Verified::check(receipt.json().as_bytes(), &keyset).err()
    };
    assert_eq!(other(|_| ()), None);
    let renamed = |keyset: &mut Keyset| keyset.receipt_signing_keys[0].algo = "lethe.legacy.ed25519".to_owned();
    assert_eq!(other(renamed), Some(ReceiptError::UnknownKey));
    let moved = |keyset: &mut Keyset| keyset.e2ee_public_keys = std::mem::take(&mut keyset.receipt_signing_keys);
    assert_eq!(other(moved), Some(ReceiptError::UnknownKey));
    let swapped = |keyset: &mut Keyset| {
        let other = ReceiptKey::from_seed(&[3; 32]).with_id("receipt-1");
        keyset.receipt_signing_keys = vec![other.public_key()];
    };
    assert_eq!(other(swapped), Some(ReceiptError::Signature));
}

#[test]
fn events_that_are_not_those_of_one_request_are_refused() {
    /// Signs whatever it is given, as a server with an error would.
    fn signed(events: Value) -> Option<ReceiptError> {
        use ed25519_dalek::Signer as _;
        let keyset = keyset();
        let mut document = json!({
            "api_version": "aci/1", "receipt_id": "r", "chat_id": null, "model": null, "endpoint": "/", "method": "POST",
            "workload_keyset_digest": keyset.digest().expect("digest").to_string(), "served_at": 1,
            "event_log": events, "key_id": "receipt-1",
        });
        let key = ed25519_dalek::SigningKey::from_bytes(&[2; 32]);
        let signature = key.sign(protocol::canonical(&document).expect("canonical").as_bytes());
        document["signature"] = hex::encode(signature.to_bytes()).into();
        Verified::check(document.to_string().as_bytes(), &keyset).err()
    }
    let event = |kind: &str| json!({"type": kind, "body_hash": digest(kind).to_string()});
    let (received, forwarded, returned) =
        (event("request.received"), event("request.forwarded"), event("response.returned"));
    assert_eq!(signed(json!([received, returned])), None, "a refusal");
    assert_eq!(signed(json!([received, {"type": "lethe.new"}, forwarded, returned])), None);
    for events in [
        json!([]),
        json!([received]),
        json!([returned, received]),
        json!([forwarded, received, returned]),
        json!([received, received, returned]),
        json!([received, returned, returned]),
        json!([received, forwarded, forwarded, returned]),
        json!([received, {"type": "request.forwarded"}, returned]),
        json!([{"type": "request.received"}, returned]),
        json!([received, {"kind": "x"}, returned]),
        json!([received, {"type": 1}, returned]),
    ] {
        assert_eq!(signed(events.clone()), Some(ReceiptError::Events), "{events}");
    }
}

#[test]
fn a_tenants_chain_shows_gaps_and_forks() {
    let mut chain = Chain::default();
    let [first, second, third] = ["a", "b", "c"].map(|request| verified(&receipt(&mut chain, request)));
    assert_eq!(follows(&first, &second), Ok(()));
    assert_eq!(follows(&second, &third), Ok(()));
    assert_eq!(follows(&first, &third), Err(ChainError::Gap));
    assert_eq!(follows(&second, &first), Err(ChainError::Gap));
    let other = verified(&receipt(&mut Chain::default(), "other"));
    assert_eq!(follows(&other, &second), Err(ChainError::Fork));
    let without = Draft::new(head(&keyset()), digest("a")).sign(digest("b"), &key()).expect("signed");
    assert_eq!(follows(&first, &verified(&without)), Err(ChainError::NoPlace));
    let later = Keyset { not_after: 1_900_000_000, ..keyset() };
    let mut draft = Draft::new(head(&later), digest("a"));
    draft.push(&Place { counter: 1, previous: Some(first.digest()) });
    let later =
        Verified::check(draft.sign(digest("b"), &key()).expect("signed").json().as_bytes(), &later).expect("verified");
    assert_eq!(follows(&first, &later), Err(ChainError::OtherEpoch));
}
