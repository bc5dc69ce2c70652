//! EHBP: sealed bodies on the ordinary routes.

use deployment::{Wires, token};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use protocol::ehbp::{ENCAPSULATED_KEY_HEADER, KEY_PROBLEM, PendingAnswer, RESPONSE_NONCE_HEADER, seal_request};
use protocol::hpke::{PublicKey, Random};
use protocol::ohttp::KeyConfig;
use serde_json::{Value, json};

use crate::client::{Reply, chat, post};
use crate::server::{Server, Setup};

fn served() -> Setup {
    Setup { wires: Wires { ehbp: true, ..Wires::default() }, ..Setup::default() }
}

async fn key(server: &Server) -> PublicKey {
    let reply = server.get("/.well-known/hpke-keys").await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "application/ohttp-keys"));
    let config = KeyConfig::decode(&reply.body).expect("one bare configuration");
    assert_eq!(config.key_id, 0);
    config.key
}

fn seal(key: &PublicKey, body: &str) -> (String, Vec<u8>, PendingAnswer) {
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
    assert_eq!(send(&server, &enc, body.clone()).await.status, 200, "the good one counts still");
    assert_eq!(send(&server, &enc, body).await.error(), (400, "undecryptable".to_owned()), "once");
    assert_eq!(server.engine.seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_sealed_body_is_refused_by_name_where_the_wire_is_off() {
    let server = Server::say(&["a"]);
    assert_eq!(server.get("/.well-known/hpke-keys").await.error(), (404, "unknown_url".to_owned()));
    let reply = send(&server, &"11".repeat(32), b"{}".to_vec()).await;
    assert_eq!(reply.error(), (400, "no_such_wire".to_owned()));
}
