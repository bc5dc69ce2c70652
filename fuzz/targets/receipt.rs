//! Receipts and the JSON under them: read or refused; canonical forms are read back; only the true receipt verifies.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use protocol::receipt::event::{Model, Place, Usage};
use protocol::receipt::{Draft, Head, Receipt, ReceiptKey, Verified};
use protocol::{Keyset, canonical, json};

fn truth() -> &'static (Keyset, Receipt) {
    static TRUTH: OnceLock<(Keyset, Receipt)> = OnceLock::new();
    TRUTH.get_or_init(|| {
        let key = ReceiptKey::from_seed(&[2; 32]);
        let keyset = Keyset {
            subject: None,
            not_after: 1,
            receipt_signing_keys: vec![key.public_key()],
            e2ee_public_keys: Vec::new(),
            tls_public_keys: Vec::new(),
        };
        let digest = keyset.digest().expect("digest");
        let head = Head {
            receipt_id: "r".to_owned(),
            chat_id: None,
            model: Some("m".to_owned()),
            workload_keyset_digest: digest,
            endpoint: "/v1/chat/completions".to_owned(),
            method: "POST".to_owned(),
            served_at: 1,
        };
        let mut draft = Draft::new(head, digest);
        draft.forwarded(digest);
        draft.push(&Place { counter: 0, previous: None });
        (keyset, draft.sign(digest, &key).expect("signed"))
    })
}

fuzz_target!(|data: &[u8]| {
    let (keyset, receipt) = truth();
    if let Ok(verified) = Verified::check(data, keyset) {
        assert_eq!(verified.digest(), receipt.digest());
        assert!(verified.event::<Place>().is_ok() && verified.event::<Model>() == Ok(None));
        assert_eq!(verified.event::<Usage>(), Ok(None));
    }
    if let Ok(value) = json::parse(data) {
        if let Ok(text) = canonical(&value) {
            assert_eq!(json::parse(text.as_bytes()).as_ref(), Ok(&value));
            assert_eq!(canonical(&json::parse(text.as_bytes()).expect("JSON")).as_ref(), Ok(&text));
        }
    }
});
