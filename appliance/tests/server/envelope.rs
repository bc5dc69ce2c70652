//! The envelope: keys, sealed requests, sealed answers, and what is refused.

use std::time::{SystemTime, UNIX_EPOCH};

use deployment::{Wires, token};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use protocol::date;
use protocol::envelope::{AnswerOpener, KeyPage, Message, PublishedKey, Request, seal};
use protocol::hpke::Random;
use protocol::ohttp::{DATE_PROBLEM, KEY_PROBLEM};
use serde_json::{Value, json};

use crate::client::{Reply, chat, post};
use crate::engine::Script;
use crate::server::{Server, Setup};

fn served() -> Setup {
    Setup { wires: Wires { envelope: true, ..Wires::default() }, ..Setup::default() }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

async fn page(server: &Server) -> KeyPage {
    let reply = server.get("/api/pubkey").await;
    assert_eq!(reply.status, 200);
    serde_json::from_slice(&reply.body).expect("a key page")
}

fn rid() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("random bytes");
    hex::encode(bytes)
}

fn sealed(key: &PublishedKey, body: &str, rid: &str, ts: u64) -> (Message, AnswerOpener) {
    let mut random = Random(|bytes: &mut [u8]| getrandom::fill(bytes).expect("random bytes"));
    seal(key, &Request { content: body.as_bytes(), rid, ts, device: None }, &mut random).expect("sealed")
}

async fn send(server: &Server, message: &Message) -> Reply {
    server.send(post("/api/chat", message.to_json())).await
}

/// What the events of an answer open to.
fn opened(mut opener: AnswerOpener, reply: &Reply) -> String {
    assert_eq!(reply.status, 200);
    let mut content = Vec::new();
    for event in reply.events() {
        let piece = opener.open(event.as_bytes()).expect("opened");
        assert!([512, 1024, 2048, 4096].contains(&piece.len()), "padded to a bucket");
        content.extend_from_slice(&piece);
    }
    opener.finish().expect("the last event has come");
    String::from_utf8(content).expect("UTF-8")
}

#[tokio::test]
async fn the_key_pages_show_the_keys_of_the_keyset() {
    let server = Server::start(served());
    let page = page(&server).await;
    assert_eq!(page.keyset_digest, server.identity.keyset_digest());
    assert!(page.now.abs_diff(now()) < 60);
    let published = server.identity.published();
    let listed: Vec<_> = published.keyset.e2ee("lethe.envelope.x25519").collect();
    let next = page.next.clone().expect("a next key");
    for (key, listed) in [&page.current, &next].into_iter().zip(&listed) {
        assert_eq!(key.kid, listed.key_id);
        assert_eq!(hex::encode(key.key().expect("a key").as_bytes()), listed.public_key);
    }
    let jwks = server.get("/.well-known/jwks.json").await.json();
    let keys = jwks["keys"].as_array().expect("keys");
    assert_eq!(keys.len(), 2);
    assert_eq!((&keys[0]["x"], &keys[0]["use"]), (&json!(page.current.public_key), &json!("enc")));
    assert_eq!((&keys[1]["kid"], &keys[1]["crv"]), (&json!(next.kid), &json!("X25519")));
}

#[tokio::test]
async fn an_answer_streams_as_sealed_events_with_the_sizes_of_buckets() {
    let server = Server::start(served());
    let page = page(&server).await;
    for key in [page.current, page.next.expect("a next key")] {
        let (message, opener) = sealed(&key, &chat(&json!({"stream": true})), &rid(), now());
        let reply = send(&server, &message).await;
        assert!(reply.header("content-type").starts_with("text/event-stream"));
        let text = opened(opener, &reply);
        assert!(text.contains("Hel"), "{text}");
        assert!(text.contains("data: [DONE]"));
    }
}

#[tokio::test]
async fn an_answer_in_one_piece_is_one_event_or_one_body() {
    let server = Server::start(served());
    let (message, opener) = sealed(&page(&server).await.current, &chat(&json!({})), &rid(), now());
    let text = opened(opener, &send(&server, &message).await);
    assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON")["choices"][0]["message"]["content"], "Hello");

    let wires = Wires { envelope: true, envelope_streaming: false, ..Wires::default() };
    let server = Server::start(Setup { wires, ..Setup::default() });
    for stream in [false, true] {
        let body = chat(&json!({"stream": stream}));
        let (message, mut opener) = sealed(&page(&server).await.current, &body, &rid(), now());
        let reply = send(&server, &message).await;
        assert_eq!(reply.header("content-type"), "application/json");
        let content = opener.open(&reply.body).expect("opened");
        assert!(opener.is_complete());
        assert_eq!(content.starts_with(b"data: "), stream);
    }
}

#[tokio::test]
async fn errors_inside_are_sealed() {
    let server = Server::start(served());
    let key = page(&server).await.current;
    for body in ["{", &chat(&json!({"model": "other"})), &chat(&json!({"foo": 1}))] {
        let (message, opener) = sealed(&key, body, &rid(), now());
        let text = opened(opener, &send(&server, &message).await);
        assert_eq!(text.len(), 512, "the first bucket");
        assert!(serde_json::from_str::<Value>(&text).expect("JSON")["error"]["code"].is_string());
    }
    *server.engine.script.lock().unwrap() = Script::FailMidway;
    let (message, opener) = sealed(&key, &chat(&json!({"stream": true})), &rid(), now());
    let text = opened(opener, &send(&server, &message).await);
    assert!(text.contains("\"error\"") && !text.contains("[DONE]"));
}

#[tokio::test]
async fn a_token_is_needed_where_the_document_says_so() {
    let good = token::text(&[1; 32]);
    let server = Server::start(Setup { tokens: vec![good.to_string()], ..served() });
    let (message, opener) = sealed(&page(&server).await.current, &chat(&json!({})), &rid(), now());
    assert_eq!(send(&server, &message).await.error(), (401, "invalid_api_key".to_owned()));
    let mut request = post("/api/chat", message.to_json());
    request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {}", *good)).expect("a value"));
    assert!(opened(opener, &server.send(request).await).contains("Hello"));
}

#[tokio::test]
async fn a_message_and_its_rid_count_once() {
    let server = Server::start(served());
    let key = page(&server).await.current;
    let id = rid();
    let (message, _) = sealed(&key, &chat(&json!({})), &id, now());
    assert_eq!(send(&server, &message).await.status, 200);
    assert_eq!(send(&server, &message).await.error(), (400, "undecryptable".to_owned()));
    let (again, _) = sealed(&key, &chat(&json!({})), &id, now());
    assert_eq!(send(&server, &again).await.error(), (400, "undecryptable".to_owned()), "the same rid");
    let (other, _) = sealed(&key, &chat(&json!({})), &rid(), now());
    assert_eq!(send(&server, &other).await.status, 200);
    assert_eq!(server.engine.seen.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_late_request_is_told_the_time() {
    let server = Server::start(served());
    let key = page(&server).await.current;
    for ts in [now() - 120, now() + 120, 0] {
        let (message, _) = sealed(&key, &chat(&json!({})), &rid(), ts);
        let reply = send(&server, &message).await;
        assert_eq!((reply.status.as_u16(), reply.header("content-type")), (400, "application/problem+json"));
        assert_eq!(reply.json()["type"], DATE_PROBLEM);
        assert!(reply.json()["now"].as_u64().expect("a time").abs_diff(now()) < 60);
        assert!(date::read(reply.header("date")).expect("a date").abs_diff(now()) < 60);
    }
    let (message, _) = sealed(&key, &chat(&json!({})), &rid(), now() - 30);
    assert_eq!(send(&server, &message).await.status, 200);
}

#[tokio::test]
async fn what_does_not_open_is_refused_in_one_form() {
    let server = Server::start(served());
    let key = page(&server).await.current;
    let (message, _) = sealed(&key, &chat(&json!({})), &rid(), now());
    let good: Value = serde_json::from_slice(&message.to_json()).expect("JSON");
    let with = |member: &str, value: Value| {
        let mut message = good.clone();
        message[member] = value;
        message.to_string()
    };
    let ciphertext = good["ciphertext"].as_str().expect("text");
    let flipped = format!("{}{}", if ciphertext.starts_with('A') { "B" } else { "A" }, &ciphertext[1..]);
    for (name, body) in [
        ("a flipped byte", with("ciphertext", json!(flipped))),
        ("cut off", with("ciphertext", json!(&ciphertext[..ciphertext.len() - 4]))),
        ("empty", with("ciphertext", json!(""))),
        ("another time than sealed", with("ts", json!(now() + 1))),
        ("another rid than sealed", with("rid", json!(rid()))),
        ("an unknown member", with("extra", json!(1))),
        ("no JSON", "{".to_owned()),
        ("nothing", String::new()),
    ] {
        let reply = server.send(post("/api/chat", body)).await;
        assert_eq!(reply.error(), (400, "undecryptable".to_owned()), "{name}");
    }
    let stranger = PublishedKey { kid: "env-0000000000000000".to_owned(), ..key.clone() };
    let (unknown, _) = sealed(&stranger, &chat(&json!({})), &rid(), now());
    let reply = send(&server, &unknown).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["type"]), (400, &json!(KEY_PROBLEM)));
    assert!(server.engine.seen.lock().unwrap().is_empty());
    assert_eq!(send(&server, &message).await.status, 200);
    let off = Server::say(&["a"]);
    for path in ["/api/pubkey", "/.well-known/jwks.json"] {
        assert_eq!(off.get(path).await.error(), (404, "unknown_url".to_owned()));
    }
    assert_eq!(send(&off, &message).await.error(), (404, "unknown_url".to_owned()));
}
