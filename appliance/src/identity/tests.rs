//! What holds for identities: keys, keysets, epochs.

use super::*;

pub(super) fn document() -> Document {
    let text = format!(
        "version = 1\n[model]\nname = \"m\"\nsha256 = \"{}\"\nsize_bytes = 1\n[clients]\naccess = \"anyone\"\n",
        "ab".repeat(32)
    );
    deployment::parse(text.as_bytes()).expect("document")
}

pub(super) const ORIGIN: Origin = Origin { host_mode: true, insecure_host: false, document_sha256: [9; 32] };

#[test]
fn every_boot_has_other_keys() {
    let (one, two) = (
        Identity::establish(&document(), ORIGIN).expect("one"),
        Identity::establish(&document(), ORIGIN).expect("two"),
    );
    assert_ne!(one.tls().spki_sha256(), two.tls().spki_sha256());
    assert_ne!(one.receipt().id(), two.receipt().id());
    assert_ne!(one.boot_id(), two.boot_id());
    assert_ne!(one.keyset_digest(), two.keyset_digest());
}

/// An identity with short lives, and about when it began.
pub(super) fn short() -> (Identity, Instant) {
    short_on(None)
}

pub(super) fn short_on(endorsements: Option<Vec<u8>>) -> (Identity, Instant) {
    let mut document = document();
    document.keys = deployment::Keys { epoch_seconds: 100, epoch_requests: 16, grace_seconds: 30 };
    document.receipts.seconds = 50;
    (document.wires.ehbp, document.wires.envelope) = (true, true);
    let ground = Ground { machine: Arc::new(NoTee), binding: Binding::None, document: Vec::new(), endorsements };
    (Identity::on(&document, ORIGIN, ground).expect("identity"), Instant::now())
}

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

#[test]
fn a_keyset_has_the_keys_of_this_epoch_before_those_of_the_next() {
    let (identity, start) = short();
    let before = identity.published();
    let keys = |published: &Published, algorithm| {
        published.keyset.e2ee(algorithm).map(|key| key.public_key.clone()).collect::<Vec<_>>()
    };
    assert_eq!(before.keyset.check(0), Ok(()));
    identity.advance(after(start, 100)).expect("the next epoch");
    let now = identity.published();
    assert_eq!((before.epoch, now.epoch), (0, 1));
    assert_ne!(before.digest, now.digest);
    use protocol::keyset::algorithm::{EHBP, ENVELOPE, OHTTP, OHTTP_XWING};
    for algorithm in [OHTTP, OHTTP_XWING, EHBP, ENVELOPE] {
        let (old, new) = (keys(&before, algorithm), keys(&now, algorithm));
        assert_eq!((old.len(), new.len()), (2, 2));
        assert_eq!(old[1], new[0], "what was next is current");
        assert_ne!(old[0], new[1]);
    }
    assert_eq!(before.keyset.tls_public_keys, now.keyset.tls_public_keys, "pins hold");
    assert_eq!(before.keyset.receipt_signing_keys, now.keyset.receipt_signing_keys);
}

#[test]
fn the_keyset_has_keys_for_the_wires_that_are_served_and_no_others() {
    let mut document = document();
    let algorithms = |document: &Document| {
        let identity = Identity::establish(document, ORIGIN).expect("identity");
        let report: protocol::Report =
            serde_json::from_slice(&identity.report(None).expect("report")).expect("a report");
        let keys = &identity.published().keyset.e2ee_public_keys;
        (keys.iter().map(|key| key.algo.clone()).collect::<Vec<_>>(), report.service_capabilities.wires)
    };
    let (keys, wires) = algorithms(&document);
    assert_eq!(keys, ["lethe.ohttp.x25519", "lethe.ohttp.xwing", "lethe.ohttp.x25519", "lethe.ohttp.xwing"]);
    assert_eq!(wires, ["ohttp", "ohttp-chunked"]);
    document.wires.post_quantum = false;
    assert_eq!(algorithms(&document).0, ["lethe.ohttp.x25519", "lethe.ohttp.x25519"]);
    (document.wires.ohttp, document.wires.envelope) = (false, true);
    let (keys, wires) = algorithms(&document);
    assert_eq!((keys.len(), wires), (2, vec!["envelope".to_owned()]));
    assert!(keys.iter().all(|algo| algo == "lethe.envelope.x25519"));
}

#[test]
fn the_next_keyset_and_its_evidence_are_ready_before_the_epoch_begins() {
    let (identity, start) = short();
    let (when, due) = identity.due();
    assert_eq!(due, Due::Prepare);
    assert!(when >= after(start, 74) && when < after(start, 76), "a quarter of the epoch before its end");
    let next = identity.prepare().expect("prepared");
    let report = identity.report_of(&next).expect("evidence");
    assert_ne!(identity.keyset_digest(), next.digest, "not yet");
    assert_eq!(identity.due().1, Due::Begin);
    assert_eq!(identity.overdue(after(start, 99)), Duration::ZERO);
    assert!(
        identity.overdue(after(start, 110)) >= Duration::from_secs(10),
        "an epoch goes on until the next one begins"
    );
    identity.advance(after(start, 100)).expect("the next epoch");
    assert_eq!(identity.keyset_digest(), next.digest);
    assert_eq!(identity.report_kept(next.digest), Some(report));
}

#[test]
fn a_key_opens_from_before_its_epoch_to_the_end_of_its_grace() {
    let (identity, start) = short();
    let first = identity.live().current;
    let weak = Arc::downgrade(&first);
    drop(first);
    let numbers = |live: Live| live.all().map(|epoch| epoch.number()).collect::<Vec<_>>();
    assert_eq!(numbers(identity.live()), [0, 1]);
    identity.advance(after(start, 100)).expect("the next epoch");
    assert_eq!(numbers(identity.live()), [1, 2, 0]);
    assert_eq!(identity.due(), (after(start, 130), Due::Forget));
    identity.forget(after(start, 129));
    assert!(weak.upgrade().is_some());
    identity.forget(after(start, 130));
    assert_eq!(numbers(identity.live()), [1, 2]);
    assert!(weak.upgrade().is_none(), "nothing holds the old keys");
}

#[test]
fn a_full_epoch_ends_early_and_never_sooner_than_after_a_minute() {
    let (identity, start) = short();
    let epoch = identity.live().current;
    for number in 0..14_u8 {
        assert_eq!(epoch.accept("w", &[number]), Ok(Room::Enough));
    }
    assert_eq!(epoch.accept("w", &[14]), Ok(Room::Little));
    assert_eq!(epoch.accept("w", &[14]), Err(protocol::replay::Seen::Before));
    assert_eq!(epoch.accept("w", &[15]), Ok(Room::Little));
    assert_eq!(epoch.accept("w", &[16]), Err(protocol::replay::Seen::Full));
    identity.press();
    identity.prepare().expect("prepared");
    let (when, due) = identity.due();
    assert_eq!(due, Due::Begin);
    assert!(when >= after(start, 59) && when <= after(start, 60));
}

#[test]
fn a_next_key_that_is_full_already_ends_its_epoch_after_a_minute_and_an_empty_one_does_not() {
    for (messages, expected_s) in [(16_u8, 60), (0, 100)] {
        let (identity, start) = short();
        let next = identity.live().next;
        for number in 0..messages {
            assert!(next.accept("w", &[number]).is_ok());
        }
        assert_eq!(next.accept("w", &[16]).is_err(), messages == 16);
        assert_eq!(identity.live().current.accept("w", &[16]), Ok(Room::Enough), "the current key goes on");
        identity.advance(after(start, 100)).expect("the next epoch");
        identity.forget(after(start, 150));
        identity.prepare().expect("prepared");
        assert_eq!(identity.due(), (after(start, 100 + expected_s), Due::Begin));
        assert_eq!(identity.live().next.accept("w", &[16]), Ok(Room::Enough), "and so does the key after it");
    }
}

#[test]
fn a_name_that_no_certificate_can_carry_is_refused() {
    let mut document = document();
    document.listen.names = vec!["ok.example".to_owned(), "n\u{e4}me".to_owned()];
    assert!(matches!(Identity::establish(&document, ORIGIN), Err(IdentityError::Name { index: 1, .. })));
}
