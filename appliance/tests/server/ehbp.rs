//! EHBP: sealed bodies on the ordinary routes.

use std::time::{Duration, Instant};

use deployment::{Shape, Wires, token};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use http_body_util::BodyExt as _;
use protocol::Sha256Digest;
use protocol::ehbp::{ENCAPSULATED_KEY_HEADER, KEY_PROBLEM, PendingAnswer, RESPONSE_NONCE_HEADER, seal_request};
use protocol::hpke::{PublicKey, Random};
use protocol::ohttp::KeyConfig;
use protocol::receipt::Verified;
use protocol::receipt::event::Transport;
use serde_json::{Value, json};

use crate::client::{Reply, begin, chat, post, tls};
use crate::engine::Script;
use crate::epochs::first_keys_are_wiped;
use crate::server::{Server, Setup};

fn served() -> Setup {
    Setup { wires: Wires { ehbp: true, ..Wires::default() }, ..Setup::default() }
}

pub async fn key(server: &Server) -> PublicKey {
    let reply = server.get("/.well-known/hpke-keys").await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "application/ohttp-keys"));
    let config = KeyConfig::decode(&reply.body).expect("one bare configuration");
    assert_eq!(config.key_id, 0);
    config.key
}

pub fn seal(key: &PublicKey, body: &str) -> (String, Vec<u8>, PendingAnswer) {
    let mut random = Random(|bytes: &mut [u8]| getrandom::fill(bytes).expect("random bytes"));
    seal_request(key, body.as_bytes(), &mut random).expect("sealed")
}

async fn send(server: &Server, enc: &str, body: Vec<u8>) -> Reply {
    let mut request = post("/v1/chat/completions", body);
    request.headers_mut().insert(ENCAPSULATED_KEY_HEADER, HeaderValue::from_str(enc).expect("a value"));
    server.send(request).await
}

fn open(pending: PendingAnswer, reply: &Reply) -> Vec<u8> {
    let mut opener = pending.start(reply.header(RESPONSE_NONCE_HEADER), 1 << 20).expect("a nonce");
    let mut content = Vec::new();
    opener.feed(&reply.body, &mut content).expect("opened");
    opener.finish().expect("no half chunk");
    content
}

#[tokio::test]
async fn bodies_are_sealed_both_ways_streamed_and_whole() {
    let server = Server::start(served());
    let key = key(&server).await;
    let listed = &server.identity.published().keyset;
    assert_eq!(listed.e2ee("lethe.ehbp.x25519").next().expect("a key").public_key, hex::encode(key.as_bytes()));
    let (enc, body, pending) = seal(&key, &chat(&json!({})));
    let reply = send(&server, &enc, body).await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "application/json"));
    let content: Value = serde_json::from_slice(&open(pending, &reply)).expect("JSON");
    assert_eq!(content["choices"][0]["message"]["content"], "Hello");

    let (enc, body, pending) = seal(&key, &chat(&json!({"stream": true})));
    let reply = send(&server, &enc, body).await;
    let text = String::from_utf8(open(pending, &reply)).expect("UTF-8");
    assert!(text.contains("Hel") && text.contains("data: [DONE]"));
    assert_eq!(text.len() % 512, 0, "padded");
}

#[tokio::test]
async fn errors_behind_the_seal_are_sealed_and_the_token_is_in_the_clear_header() {
    let good = token::text(&[1; 32]);
    let server = Server::start(Setup { tokens: vec![good.to_string()], ..served() });
    let key = key(&server).await;
    let (enc, body, _) = seal(&key, &chat(&json!({})));
    assert_eq!(send(&server, &enc, body).await.error(), (401, "invalid_api_key".to_owned()), "before it is opened");
    let (enc, body, pending) = seal(&key, "{");
    let mut request = post("/v1/chat/completions", body);
    request.headers_mut().insert(ENCAPSULATED_KEY_HEADER, HeaderValue::from_str(&enc).expect("a value"));
    request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {}", *good)).expect("a value"));
    let reply = server.send(request).await;
    assert_eq!(reply.status, 400);
    let content = open(pending, &reply);
    assert_eq!(content.len(), 512);
    assert_eq!(serde_json::from_slice::<Value>(&content).expect("JSON")["error"]["code"], "invalid_json");
}

#[tokio::test]
async fn what_does_not_open_gets_the_standard_errors_and_asks_nobody() {
    let server = Server::start(served());
    let key = key(&server).await;
    let (enc, body, _) = seal(&key, &chat(&json!({})));
    let changed = |bytes: &[u8], index: usize| {
        let mut bytes = bytes.to_vec();
        bytes[index] ^= 1;
        bytes
    };
    let last = body.len() - 1;
    for (name, enc, body) in [
        ("a flipped byte", enc.clone(), changed(&body, 10)),
        ("a flipped byte of the tag", enc.clone(), changed(&body, last)),
        ("another key", "11".repeat(32), body.clone()),
    ] {
        let reply = send(&server, &enc, body).await;
        assert_eq!((reply.status.as_u16(), reply.header("content-type")), (422, "application/problem+json"), "{name}");
        assert_eq!(reply.json()["type"], KEY_PROBLEM, "{name}");
        assert_eq!(reply.header(RESPONSE_NONCE_HEADER), "", "{name}");
    }
    for (name, enc, body) in [
        ("cut off", enc.clone(), body[..last].to_vec()),
        ("no body", enc.clone(), Vec::new()),
        ("no key", "00".to_owned(), body.clone()),
        ("an upper-case key", enc.to_uppercase(), body.clone()),
        ("plain JSON", enc.clone(), b"{\"model\":1}".to_vec()),
    ] {
        let reply = send(&server, &enc, body).await;
        let expected = if name == "plain JSON" { (413, "body_too_large") } else { (400, "undecryptable") };
        assert_eq!(reply.error(), (expected.0, expected.1.to_owned()), "{name}");
    }
    let huge = [&[0x80, 0, 0, 0][..], &body[4..]].concat();
    assert_eq!(send(&server, &enc, huge).await.error(), (413, "body_too_large".to_owned()), "a length of 2^31");
    assert!(server.engine.seen.lock().unwrap().is_empty());
    let undecryptable = send(&server, &enc, changed(&body, 10)).await;
    assert_eq!(send(&server, &enc, body.clone()).await.status, 200, "the good one counts still");
    let again = send(&server, &enc, body).await;
    let seen = |reply: &Reply| {
        let headers = ["content-type", RESPONSE_NONCE_HEADER].map(|name| reply.header(name).to_owned());
        (reply.status, headers, reply.body.clone())
    };
    assert_eq!(seen(&again), seen(&undecryptable), "once, and nobody learns why");
    assert_eq!(server.engine.seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn keys_that_are_over_are_wiped_while_an_answer_to_them_is_made() {
    for stream in [false, true] {
        let server = Server::start(Setup { script: Script::Late(1000), ..served() });
        let (enc, body, pending) = seal(&key(&server).await, &chat(&json!({"stream": stream})));
        let (reply, ()) = tokio::join!(send(&server, &enc, body), first_keys_are_wiped(&server));
        assert!(String::from_utf8_lossy(&open(pending, &reply)).contains("late"));
    }
}

#[tokio::test]
async fn the_keys_of_three_epochs_open_and_one_whose_grace_is_over_gets_the_key_problem() {
    let server = Server::start(served());
    let live = server.identity.live();
    let (old, next) = (key(&server).await, live.next.ehbp().public_key());
    drop(live);
    let ask = async |key: &PublicKey| {
        let (enc, body, pending) = seal(key, &chat(&json!({})));
        (send(&server, &enc, body).await, pending)
    };
    let opens = async |key: &PublicKey| {
        let (reply, pending) = ask(key).await;
        reply.status == 200 && String::from_utf8_lossy(&open(pending, &reply)).contains("Hello")
    };
    assert!(opens(&old).await && opens(&next).await, "the next one is taken already");
    let now = Instant::now();
    server.identity.advance(now).expect("the next epoch");
    server.identity.forget(now);
    assert_eq!(key(&server).await, next);
    assert!(opens(&old).await && opens(&next).await, "the old one in its grace");
    server.identity.forget(now + Duration::from_secs(3601));
    let (late, _) = ask(&old).await;
    assert_eq!((late.status.as_u16(), &late.json()["type"]), (422, &json!(KEY_PROBLEM)));
    assert!(opens(&next).await, "with the key that is published now it goes on");
}

#[tokio::test]
async fn a_paced_stream_is_sealed_in_chunks_of_one_size() {
    let wires = Wires { ehbp: true, shape: Shape::Paced, paced_ms: 20, paced_bytes: 1024, ..Wires::default() };
    let script = Script::SayWithPauses(vec![(0, "a"), (150, "some longer piece of text")]);
    let server = Server::start(Setup { script, wires, ..Setup::default() });
    let (enc, body, pending) = seal(&key(&server).await, &chat(&json!({"stream": true})));
    let reply = send(&server, &enc, body).await;
    let (mut rest, mut sizes) = (&reply.body[..], Vec::new());
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).expect("small");
        sizes.push(length);
        rest = &after[length..];
    }
    assert!(sizes.iter().all(|size| *size == 1024 + 16), "{sizes:?}");
    assert!(sizes.len() >= 5, "frames while nothing is said: {}", sizes.len());
    assert!(String::from_utf8_lossy(&open(pending, &reply)).contains("[DONE]"));
}

#[tokio::test]
async fn the_receipts_id_is_in_the_clear_like_all_headers() {
    let server = Server::start(served());
    let (enc, body, pending) = seal(&key(&server).await, &chat(&json!({})));
    let reply = send(&server, &enc, body).await;
    let kept = server.get(&format!("/v1/aci/receipts/{}", reply.header("x-receipt-id"))).await;
    let receipt = Verified::check(&kept.body, &server.identity.published().keyset).expect("a receipt");
    let (request, answer) = (Sha256Digest::of(chat(&json!({})).as_bytes()), Sha256Digest::of(&open(pending, &reply)));
    assert_eq!(receipt.check_exchange(request, answer), Ok(()));
    let transport: Transport = receipt.event().expect("well formed").expect("a transport");
    assert_eq!(transport.wire, "ehbp");
}

#[tokio::test]
async fn a_client_that_goes_away_frees_the_sequence() {
    let server = Server::start(Setup { script: Script::Endless, ..served() });
    let (enc, body, _) = seal(&key(&server).await, &chat(&json!({"stream": true})));
    let mut request = post("/v1/chat/completions", body);
    request.headers_mut().insert(ENCAPSULATED_KEY_HEADER, HeaderValue::from_str(&enc).expect("a value"));
    let mut response = begin(tls(&server, b"http/1.1").await, request).await;
    assert!(response.frame().await.is_some(), "it streams");
    drop(response);
    assert!(server.engine.abandoned(1).await);
}

#[tokio::test]
async fn a_sealed_body_is_refused_by_name_where_the_wire_is_off() {
    let server = Server::say(&["a"]);
    assert_eq!(server.get("/.well-known/hpke-keys").await.error(), (404, "unknown_url".to_owned()));
    let reply = send(&server, &"11".repeat(32), b"{}".to_vec()).await;
    assert_eq!(reply.error(), (400, "no_such_wire".to_owned()));
}
