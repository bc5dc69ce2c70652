//! Epochs: keysets change in time, clients see it, and what was said about the old one can still be had.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deployment::{Keys, Receipts};
use lethe_appliance::identity::Published;
use protocol::{Report, Sha256Digest};
use serde_json::Value;

use crate::client::Reply;
use crate::server::{Server, Setup};

fn quick() -> Server {
    Server::start(Setup {
        keys: Keys { epoch_seconds: 1, epoch_requests: 16, grace_seconds: 1 },
        receipts: Receipts { seconds: 60, count: 16 },
        ..Setup::default()
    })
}

async fn next_epoch(server: &Server) -> std::sync::Arc<Published> {
    let before = server.identity.published().epoch;
    for _ in 0..400 {
        let published = server.identity.published();
        if published.epoch > before {
            return published;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no epoch began");
}

fn report(reply: &Reply) -> Report {
    assert_eq!(reply.status, 200);
    serde_json::from_slice(&reply.body).expect("a report")
}

#[tokio::test]
async fn an_epoch_begins_in_time_and_every_answer_says_so() {
    let server = quick();
    let first = server.get("/health").await.header("x-aci-keyset-digest").to_owned();
    assert_eq!(first, server.identity.keyset_digest().to_string());
    let next = next_epoch(&server).await;
    server.events.line(&[&format!("epoch number={}", next.epoch)]).await;
    let reply = server.get("/nothing").await;
    let digest = reply.header("x-aci-keyset-digest");
    assert_ne!(digest, first, "errors too");
    assert!(digest.parse::<Sha256Digest>().is_ok());
}

#[tokio::test]
async fn the_evidence_of_a_past_epoch_can_be_had_by_its_digest() {
    let server = quick();
    let old = report(&server.get("/v1/aci/attestation").await);
    next_epoch(&server).await;
    let kept = report(&server.get(&format!("/v1/aci/attestation?keyset={}", old.workload_keyset_digest)).await);
    assert_eq!(kept, old);
    assert_eq!(kept.check(None), Ok(()));
    let fresh = report(&server.get("/v1/aci/attestation").await);
    assert_ne!(fresh.workload_keyset_digest, old.workload_keyset_digest);

    let unknown = Sha256Digest::of(b"another");
    let reply = server.get(&format!("/v1/aci/attestation?keyset={unknown}")).await;
    assert_eq!((reply.error(), reply.json()["error"]["type"].as_str()), ((404, "not_found".into()), Some("not_found")));
    let nonce = "00".repeat(32);
    for query in ["keyset=".to_owned(), "keyset=ab".to_owned(), format!("keyset={unknown}&nonce={nonce}")] {
        let reply = server.get(&format!("/v1/aci/attestation?{query}")).await;
        assert_eq!(reply.error(), (400, "invalid_value".to_owned()), "{query}");
    }
}

#[tokio::test]
async fn evidence_of_an_epoch_is_made_before_it_begins() {
    let server = quick();
    let next = next_epoch(&server).await;
    assert!(server.identity.report_kept(next.digest).is_some());
}

/// Ends the first epoch and its grace while a request to its keys waits for an engine that takes its time.
pub async fn first_keys_are_wiped(server: &Server) {
    while server.engine.seen.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let keys = Arc::downgrade(&server.identity.live().current);
    let now = Instant::now();
    server.identity.advance(now).expect("the next epoch");
    server.identity.forget(now);
    assert!(keys.upgrade().is_some(), "in its grace");
    server.identity.forget(now + Duration::from_secs(3601));
    assert!(keys.upgrade().is_none(), "something holds the old keys");
}

#[tokio::test]
async fn the_report_without_a_nonce_is_made_once_and_then_waits_for_nobody() {
    let server = Server::say(&["a"]);
    let all = || Arc::clone(server.state.evidence()).try_acquire_many_owned(16).expect("all places");
    let taken = all();
    assert_eq!(server.get("/v1/aci/attestation").await.error(), (429, "queue_full".to_owned()), "not made yet");
    drop(taken);
    let first = server.get("/v1/aci/attestation").await;
    assert_eq!(report(&first).check(None), Ok(()));
    let taken = all();
    assert_eq!(server.get("/v1/aci/attestation").await.body, first.body);
    let bound = server.get(&format!("/v1/aci/attestation?nonce={}", "ab".repeat(32))).await;
    assert_eq!(bound.error(), (429, "queue_full".to_owned()), "another nonce needs the machine");
    drop(taken);
}

#[tokio::test]
async fn requests_for_evidence_wait_in_a_short_queue_and_others_are_told_to_come_back() {
    let server = Server::say(&["a"]);
    let ask = async || server.get(&format!("/v1/aci/attestation?nonce={}", "ab".repeat(32))).await;
    let places = u32::try_from(server.state.evidence().available_permits()).expect("few");
    assert_eq!(places, 16);
    let taken = Arc::clone(server.state.evidence()).try_acquire_many_owned(places - 1).expect("all but one");
    assert_eq!(ask().await.status, 200, "the last place");
    let last = Arc::clone(server.state.evidence()).try_acquire_owned().expect("it was given back");
    let busy = ask().await;
    assert_eq!((busy.error(), busy.header("retry-after")), ((429, "queue_full".to_owned()), "1"));
    assert_eq!(server.get("/v1/attestation/report").await.error(), (429, "queue_full".to_owned()));
    assert_eq!(server.chat(serde_json::json!({})).await.status, 200, "answers go on");
    drop((taken, last));
    assert_eq!(ask().await.status, 200);
}

#[tokio::test]
async fn the_machine_is_asked_for_evidence_so_many_times_at_once_and_then_now_and_again() {
    let server = Server::say(&["a"]);
    let nonce = format!("/v1/aci/attestation?nonce={}", "ab".repeat(32));
    // In turns, until both were refused: the bound gives one more every eighth of a second, so one refusal says nothing of the next.
    let (start, mut given, mut refused) = (Instant::now(), 0_u128, [false; 2]);
    for turn in (0..2).cycle().take(1000) {
        let answer = server.get([nonce.as_str(), "/v1/attestation/report"][turn]).await;
        if answer.status == 200 {
            given += 1;
            continue;
        }
        assert_eq!((answer.error(), answer.header("retry-after")), ((429, "queue_full".to_owned()), "1"));
        refused[turn] = true;
        if refused == [true; 2] {
            break;
        }
    }
    assert_eq!(refused, [true; 2], "nothing bounds it");
    let most = 32 + start.elapsed().as_millis() / 125 + 1;
    assert!((32..=most).contains(&given), "one bound for both: {given} of {most}");
    assert_eq!(server.get("/v1/aci/attestation").await.status, 200, "what was made already");
    tokio::time::sleep(Duration::from_millis(1000)).await;
    assert_eq!(server.get(&nonce).await.status, 200, "as the answer said");
}

#[tokio::test]
async fn older_verifiers_get_a_report_in_their_own_shape() {
    let server = Server::say(&["a"]);
    let get = async |query: &str| server.get(&format!("/v1/attestation/report{query}")).await;
    let nonce = "ab".repeat(32);
    let reply: Value = get(&format!("?nonce={nonce}&signing_algo=ed25519")).await.json();
    assert_eq!((reply["request_nonce"].as_str(), reply["signing_algo"].as_str()), (Some(&*nonce), Some("ed25519")));
    let listed = &server.identity.published().keyset.receipt_signing_keys;
    let own = listed.iter().find(|key| key.algo == "lethe.legacy.ed25519").expect("a key");
    assert_eq!(reply["signing_address"], own.public_key, "the keyset has the key");

    let (one, two) = (get("").await.json(), get("").await.json());
    assert_eq!(one["signing_algo"], "ecdsa");
    assert_ne!(one["request_nonce"], two["request_nonce"], "random where the client has none");
    let address = one["signing_address"].as_str().expect("an address");
    assert_eq!(get(&format!("?signing_address={address}")).await.status, 200);
    assert_eq!(get("?signing_address=0x00").await.error(), (404, "not_found".to_owned()));
    for query in ["?nonce=00", "?signing_algo=rsa", "?nonce="] {
        assert_eq!(get(query).await.error(), (400, "invalid_value".to_owned()), "{query}");
    }
    assert_eq!(get("?version=2").await.error(), (400, "unknown_parameter".to_owned()));
    assert_eq!(get("?model=other").await.error(), (404, "model_not_found".to_owned()));
}
