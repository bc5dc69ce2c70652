//! The envelope: keys, sealed requests, sealed answers, and what is refused.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use deployment::{Shape, Wires, token};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use http_body_util::BodyExt as _;
use protocol::Sha256Digest;
use protocol::date;
use protocol::envelope::{AnswerOpener, KeyPage, Message, PublishedKey, Request, seal};
use protocol::hpke::Random;
use protocol::ohttp::{DATE_PROBLEM, KEY_PROBLEM};
use protocol::receipt::Verified;
use serde_json::{Value, json};

use crate::client::{Reply, begin, chat, post, tls};
use crate::engine::Script;
use crate::epochs::first_keys_are_wiped;
use crate::server::{Server, Setup};

fn served() -> Setup {
    Setup { wires: Wires { envelope: true, ..Wires::default() }, ..Setup::default() }
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

pub async fn page(server: &Server) -> KeyPage {
    let reply = server.get("/api/pubkey").await;
    assert_eq!(reply.status, 200);
    serde_json::from_slice(&reply.body).expect("a key page")
}

pub fn rid() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("random bytes");
    hex::encode(bytes)
}

pub fn sealed(key: &PublishedKey, body: &str, rid: &str, ts: u64) -> (Message, AnswerOpener) {
    let mut random = Random(|bytes: &mut [u8]| getrandom::fill(bytes).expect("random bytes"));
    seal(key, &Request { content: body.as_bytes(), rid, ts, device: None }, &mut random).expect("sealed")
}

async fn send(server: &Server, message: &Message) -> Reply {
    server.send(post("/api/chat", message.to_json())).await
}

/// What the events of an answer open to: the answer, and the receipt in the last one.
fn opened_with_receipt(mut opener: AnswerOpener, reply: &Reply) -> (String, String) {
    assert_eq!(reply.status, 200);
    let (mut content, mut receipt) = (Vec::new(), Vec::new());
    for event in reply.events() {
        let piece = opener.open(event.as_bytes()).expect("opened");
        assert!([512, 1024, 2048, 4096].contains(&piece.len()), "padded to a bucket");
        if opener.is_complete() {
            assert_eq!(piece.len(), 4096, "receipts have one size, and so has none");
            receipt.extend_from_slice(&piece);
        } else {
            content.extend_from_slice(&piece);
        }
    }
    opener.finish().expect("the last event has come");
    (String::from_utf8(content).expect("UTF-8"), String::from_utf8(receipt).expect("UTF-8").trim_end().to_owned())
}

fn opened(opener: AnswerOpener, reply: &Reply) -> String {
    opened_with_receipt(opener, reply).0
}

#[tokio::test]
async fn the_key_pages_show_the_keys_of_the_keyset() {
    let server = Server::start(served());
    let page = page(&server).await;
    assert_eq!(page.keyset_digest, server.identity.keyset_digest());
    assert!(page.now.abs_diff(now()) < 60);
    assert_eq!(page.suite, "DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305");
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

/// What an answer in one body opens to: the receipt, and the answer.
fn opened_body(mut opener: AnswerOpener, reply: &Reply) -> (String, String) {
    let content = opener.open(&reply.body).expect("one sealed object");
    assert!(opener.is_complete(), "and the last");
    let content = std::str::from_utf8(&content).expect("UTF-8");
    let (receipt, answer) = content.split_once('\n').expect("two parts");
    assert_eq!(receipt.len(), 4096, "receipts have one size, and so has none");
    (receipt.to_owned(), answer.to_owned())
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
        let (message, opener) = sealed(&page(&server).await.current, &body, &rid(), now());
        let reply = send(&server, &message).await;
        assert_eq!(reply.header("content-type"), "application/json");
        let (receipt, content) = opened_body(opener, &reply);
        assert_eq!(content.starts_with("data: "), stream);
        let receipt = Verified::check(receipt.as_bytes(), &server.identity.published().keyset).expect("a receipt");
        let digest = Sha256Digest::of(content.as_bytes());
        assert_eq!(receipt.check_exchange(Sha256Digest::of(body.as_bytes()), digest), Ok(()));
        let cut = Sha256Digest::of(&content.as_bytes()[1..]);
        assert!(receipt.check_exchange(Sha256Digest::of(body.as_bytes()), cut).is_err(), "byte for byte");
    }
}

#[tokio::test]
async fn the_last_event_is_the_receipt_of_the_others_and_of_no_other_answer() {
    let server = Server::start(served());
    let key = page(&server).await.current;
    for stream in [false, true] {
        let body = chat(&json!({"stream": stream}));
        let (message, opener) = sealed(&key, &body, &rid(), now());
        let reply = send(&server, &message).await;
        let (answer, receipt) = opened_with_receipt(opener, &reply);
        let receipt = Verified::check(receipt.as_bytes(), &server.identity.published().keyset).expect("a receipt");
        let request = Sha256Digest::of(body.as_bytes());
        assert_eq!(receipt.check_exchange(request, Sha256Digest::of(answer.as_bytes())), Ok(()));
        assert!(
            receipt.check_exchange(request, Sha256Digest::of(answer.trim_end().as_bytes())).is_err(),
            "byte for byte"
        );
        assert_eq!(receipt.head().endpoint, "/api/chat");
        let path = format!("/v1/aci/receipts/{}", receipt.head().receipt_id);
        assert_eq!(
            server.get(&path).await.json()["receipt_id"],
            *receipt.head().receipt_id,
            "the same that can be fetched"
        );
    }
}

#[tokio::test]
async fn nothing_outside_tells_what_is_inside() {
    let good = token::text(&[1; 32]);
    for envelope_streaming in [true, false] {
        let wires = Wires { envelope: true, envelope_streaming, ..Wires::default() };
        let server = Server::start(Setup { wires, tokens: vec![good.to_string()], ..Setup::default() });
        let key = page(&server).await.current;
        let mut outsides = std::collections::HashSet::new();
        // an answer, a streamed one, and refusals, which all have receipts of their own
        for body in [chat(&json!({})), chat(&json!({"stream": true})), chat(&json!({"model": "other"})), "{".to_owned()]
        {
            let (message, opener) = sealed(&key, &body, &rid(), now());
            let mut request = post("/api/chat", message.to_json());
            let bearer = HeaderValue::from_str(&format!("Bearer {}", *good)).expect("a value");
            request.headers_mut().insert(AUTHORIZATION, bearer);
            let reply = server.send(request).await;
            let mut outside: Vec<_> = reply
                .headers
                .iter()
                // random, or a clock; the length of a body is its shape's business
                .filter(|(name, _)| !["x-request-id", "date", "content-length"].contains(&name.as_str()))
                .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
                .collect();
            outside.sort();
            assert!(!outside.iter().any(|header| header.starts_with("x-receipt-id")), "{outside:?}");
            outsides.insert((reply.status.as_u16(), outside));
            if envelope_streaming {
                assert!(opened_with_receipt(opener, &reply).1.contains("rcpt-"), "it is inside");
            } else {
                assert!(opened_body(opener, &reply).0.contains("rcpt-"), "it is inside");
            }
        }
        assert_eq!(outsides.len(), 1, "{outsides:#?}");
    }
}

#[tokio::test]
async fn keys_that_are_over_are_wiped_while_an_answer_to_them_is_made() {
    for stream in [false, true] {
        let server = Server::start(Setup { script: Script::Late(1000), ..served() });
        let (message, opener) = sealed(&page(&server).await.current, &chat(&json!({"stream": stream})), &rid(), now());
        let (reply, ()) = tokio::join!(send(&server, &message), first_keys_are_wiped(&server));
        assert!(opened(opener, &reply).contains("late"));
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
async fn a_client_that_goes_away_frees_the_sequence() {
    let server = Server::start(Setup { script: Script::Endless, ..served() });
    let (message, _) = sealed(&page(&server).await.current, &chat(&json!({"stream": true})), &rid(), now());
    let mut response = begin(tls(&server, b"http/1.1").await, post("/api/chat", message.to_json())).await;
    assert!(response.frame().await.is_some(), "it streams");
    drop(response);
    assert!(server.engine.abandoned(1).await);
}

#[tokio::test]
async fn a_client_that_goes_away_frees_the_sequence_of_an_answer_in_one_body_too() {
    use tokio::io::AsyncWriteExt as _;
    let wires = Wires { envelope: true, envelope_streaming: false, ..Wires::default() };
    let server = Server::start(Setup { script: Script::Endless, wires, ..Setup::default() });
    let (message, _) = sealed(&page(&server).await.current, &chat(&json!({"stream": true})), &rid(), now());
    let body = message.to_json();
    let mut stream = tls(&server, b"http/1.1").await;
    let head = format!("POST /api/chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), &body].concat()).await.expect("written");
    stream.flush().await.expect("written");
    while server.engine.seen.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(server.engine.abandoned.load(std::sync::atomic::Ordering::SeqCst), 0, "it is being made");
    drop(stream);
    assert!(server.engine.abandoned(1).await);
}

#[tokio::test]
async fn a_paced_stream_is_sealed_in_events_of_one_size() {
    let wires = Wires { envelope: true, shape: Shape::Paced, paced_ms: 20, paced_bytes: 1024, ..Wires::default() };
    let script = Script::SayWithPauses(vec![(0, "a"), (150, "some longer piece of text")]);
    let server = Server::start(Setup { script, wires, ..Setup::default() });
    let (message, mut opener) = sealed(&page(&server).await.current, &chat(&json!({"stream": true})), &rid(), now());
    let reply = send(&server, &message).await;
    let (mut sizes, mut content) = (Vec::new(), Vec::new());
    for event in reply.events() {
        let piece = opener.open(event.as_bytes()).expect("opened");
        sizes.push(piece.len());
        content.extend_from_slice(&piece);
    }
    opener.finish().expect("the last event has come");
    assert_eq!(sizes.pop(), Some(4096), "the receipt");
    assert!(sizes.iter().all(|size| *size == 1024), "{sizes:?}");
    assert!(sizes.len() >= 5, "frames while nothing is said: {}", sizes.len());
    assert!(String::from_utf8_lossy(&content).contains("[DONE]"));
}

#[tokio::test]
async fn the_key_before_opens_in_its_grace_and_gets_the_key_problem_after_it() {
    let server = Server::start(served());
    let old = page(&server).await.current;
    let ask = async |key: &PublishedKey| {
        let (message, opener) = sealed(key, &chat(&json!({})), &rid(), now());
        (send(&server, &message).await, opener)
    };
    let start = Instant::now();
    server.identity.advance(start).expect("the next epoch");
    server.identity.forget(start);
    let fresh = page(&server).await.current;
    assert_ne!(fresh.kid, old.kid);
    for key in [&old, &fresh] {
        let (reply, opener) = ask(key).await;
        assert!(opened(opener, &reply).contains("Hello"));
    }
    server.identity.forget(start + Duration::from_secs(3601));
    let (late, _) = ask(&old).await;
    assert_eq!((late.status.as_u16(), &late.json()["type"]), (400, &json!(KEY_PROBLEM)));
    let (reply, opener) = ask(&fresh).await;
    assert!(opened(opener, &reply).contains("Hello"), "with the key that is published now it goes on");
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

    let wires = Wires { envelope: true, dates: false, ..Wires::default() };
    let server = Server::start(Setup { wires, ..Setup::default() });
    let (message, opener) = sealed(&page(&server).await.current, &chat(&json!({})), &rid(), 0);
    assert!(opened(opener, &send(&server, &message).await).contains("Hello"), "where the document looks at no clock");
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
