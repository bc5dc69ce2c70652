//! OHTTP and chunked OHTTP, with the `ohttp` and `bhttp` crates as clients, and what the gateway refuses.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bhttp::{Message, Mode};
use deployment::{Keys, Limits, OperatorKey as Listed, Secrets, Shape, Wires, token};
use futures::executor::block_on;
use futures::io::{AllowStdIo, AsyncReadExt as _, AsyncWriteExt as _};
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt as _;
use protocol::Sha256Digest;
use protocol::bhttp::{Field, Limits as Bounds, Request, RequestHead, Response, value_of};
use protocol::date;
use protocol::hpke::{Aead, Random};
use protocol::ohttp::{
    CHUNKED_REQUEST_TYPE, DATE_PROBLEM, KEY_PROBLEM, KeyConfig, REQUEST_TYPE, decode_list, seal_chunked_request,
    seal_request,
};
use protocol::receipt::event::{Place, Transport};
use protocol::receipt::{IN_TRAILER, RECEIPT_FIELD, Verified, follows};
use serde_json::{Value, json};

use crate::client::{Reply, begin, chat, post, tls};
use crate::engine::Script;
use crate::epochs::first_keys_are_wiped;
use crate::secrets;
use crate::server::{MARK, Server, Setup};

const GATEWAY: &str = "/.well-known/ohttp-gateway";

fn random() -> Random<impl FnMut(&mut [u8])> {
    Random(|bytes: &mut [u8]| getrandom::fill(bytes).expect("random bytes"))
}

async fn list(server: &Server) -> Vec<u8> {
    let reply = server.get(GATEWAY).await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "application/ohttp-keys"));
    reply.body.to_vec()
}

async fn config(server: &Server) -> KeyConfig {
    decode_list(&list(server).await).expect("our list").remove(0)
}

pub fn request(method: &str, path: &str, fields: &[(&str, &str)], content: impl Into<Vec<u8>>) -> Request {
    let fields = fields.iter().map(|(name, value)| Field::new(name, *value)).collect();
    let (method, scheme, path) = (method.to_owned(), "https".to_owned(), path.to_owned());
    let head = RequestHead { method, scheme, authority: "lethe.example".to_owned(), path, fields };
    Request { head, content: content.into(), trailers: Vec::new() }
}

fn ask(extra: &Value) -> Request {
    request("POST", "/v1/chat/completions", &[("content-type", "application/json")], chat(extra))
}

async fn send(server: &Server, kind: &'static str, message: Vec<u8>) -> Reply {
    let mut request = post(GATEWAY, message);
    request.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    server.send(request).await
}

/// The answer to a request in one piece.
pub async fn whole(server: &Server, request: &Request) -> Response {
    whole_to(server, &config(server).await, request).await
}

/// As [`whole`], with a key that may not be the current one.
async fn whole_to(server: &Server, config: &KeyConfig, request: &Request) -> Response {
    let (message, pending) =
        seal_request(config, Aead::ChaCha20Poly1305, &request.encode(), &mut random()).expect("sealed");
    let reply = send(server, REQUEST_TYPE, message).await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "message/ohttp-res"));
    let opened = pending.open(&reply.body).expect("opened");
    Response::decode(&opened, Bounds::default()).expect("a response")
}

/// The answer to a chunked request.
async fn chunked(server: &Server, request: &Request) -> Response {
    let content = request.encode_indeterminate();
    let (message, mut opener) =
        seal_chunked_request(&config(server).await, Aead::Aes256Gcm, &content, &mut random()).expect("sealed");
    let reply = send(server, CHUNKED_REQUEST_TYPE, message).await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "message/ohttp-chunked-res"));
    let mut opened = Vec::new();
    opener.feed(&reply.body, &mut opened).expect("opened");
    opener.finish(&mut opened).expect("whole");
    Response::decode(&opened, Bounds::default()).expect("a response")
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    let field = response.head.fields.iter().find(|field| field.name == name);
    field.map_or("", |field| std::str::from_utf8(&field.value).expect("text"))
}

fn code(response: &Response) -> (u16, String) {
    let json: Value = serde_json::from_slice(&response.content).expect("JSON");
    (response.head.status, json["error"]["code"].as_str().expect("a code").to_owned())
}

fn data(stream: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(stream).expect("UTF-8");
    text.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
}

fn judged_request() -> Message {
    let mut message = Message::request(
        b"POST".to_vec(),
        b"https".to_vec(),
        b"lethe.example".to_vec(),
        b"/v1/chat/completions".to_vec(),
    );
    message.put_header("content-type", "application/json");
    message.write_content(chat(&json!({"stream": true})));
    message
}

fn judge_answer(answer: &[u8]) {
    let message = Message::read_bhttp(&mut std::io::Cursor::new(answer)).expect("binary HTTP");
    assert_eq!(message.control().status().map(u16::from), Some(200));
    assert_eq!(message.header().get(b"x-aci-version"), Some(&b"aci/1"[..]));
    let data = data(message.content());
    assert_eq!(data.last().map(String::as_str), Some("[DONE]"));
    assert!(data.iter().any(|event| event.contains("Hel")));
}

#[tokio::test]
async fn the_judge_gets_an_answer_with_every_key_and_suite() {
    let server = Server::say(&["Hel", "lo"]);
    let configs = ohttp::KeyConfig::decode_list(&list(&server).await).expect("the judge reads the list");
    assert_eq!(configs.len(), 4, "X25519 and X-Wing, of this epoch and the next");
    for mut config in configs {
        let client = ohttp::ClientRequest::from_config(&mut config).expect("a key");
        let mut content = Vec::new();
        judged_request().write_bhttp(Mode::KnownLength, &mut content).expect("written");
        let (message, response) = client.encapsulate(&content).expect("sealed");
        let reply = send(&server, REQUEST_TYPE, message).await;
        judge_answer(&response.decapsulate(&reply.body).expect("the judge opens it"));
    }
}

/// What the judge writes, for whoever sends it.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Sent {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_judge_gets_a_chunked_answer_and_refuses_one_that_is_cut_off() {
    let server = Server::say(&["Hel", "lo"]);
    for mut config in ohttp::KeyConfig::decode_list(&list(&server).await).expect("the judge reads the list") {
        let mut content = Vec::new();
        judged_request().write_bhttp(Mode::IndeterminateLength, &mut content).expect("written");
        let client = ohttp::ClientRequest::from_config(&mut config).expect("a key");
        let sent = Sent::default();
        let mut request = client.encapsulate_stream(AllowStdIo::new(sent.clone())).expect("started");
        let written = async {
            request.write_all(&content).await?;
            request.close().await
        };
        block_on(written).expect("sealed");
        let message = sent.0.lock().unwrap().clone();
        let reply = send(&server, CHUNKED_REQUEST_TYPE, message).await;
        let read = |answer: &[u8]| {
            let mut opened = Vec::new();
            let mut response = request.response(answer).expect("a reader");
            block_on(response.read_to_end(&mut opened)).map(|_| opened)
        };
        judge_answer(&read(&reply.body).expect("the judge opens it"));
        assert!(read(&reply.body[..reply.body.len() - 1]).is_err(), "one byte less");
    }
}

#[tokio::test]
async fn any_route_can_be_inside_and_has_its_own_status_and_headers() {
    let server = Server::say(&["Hel", "lo"]);
    for response in [whole(&server, &ask(&json!({}))).await, chunked(&server, &ask(&json!({}))).await] {
        assert_eq!((response.head.status, header(&response, "content-type")), (200, "application/json"));
        let json: Value = serde_json::from_slice(&response.content).expect("JSON");
        assert_eq!(json["choices"][0]["message"]["content"], "Hello");
        assert_eq!(header(&response, "x-aci-keyset-digest"), server.identity.keyset_digest().to_string());
    }
    let models = whole(&server, &request("GET", "/v1/models/small", &[], "")).await;
    assert_eq!(models.head.status, 200);
    let asked = request("GET", &format!("/v1/aci/attestation?nonce={}", "ab".repeat(32)), &[], "");
    assert_eq!(chunked(&server, &asked).await.head.status, 200);
}

#[tokio::test]
async fn the_first_token_leaves_before_the_last_is_made() {
    let server = Server::script(Script::Endless);
    let content = ask(&json!({"stream": true})).encode_indeterminate();
    let (message, mut opener) =
        seal_chunked_request(&config(&server).await, Aead::Aes128Gcm, &content, &mut random()).expect("sealed");
    let mut request = post(GATEWAY, message);
    request.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(CHUNKED_REQUEST_TYPE));
    let mut response = begin(tls(&server, b"http/1.1").await, request).await;
    assert_eq!(response.headers()["incremental"], "?1");
    let mut opened = Vec::new();
    while !String::from_utf8_lossy(&opened).contains("more ") {
        let frame = response.frame().await.expect("a frame").expect("bytes");
        opener.feed(frame.data_ref().expect("data"), &mut opened).expect("opened");
    }
    assert_eq!(server.engine.abandoned.load(std::sync::atomic::Ordering::SeqCst), 0, "it goes on");
    drop(response);
    assert!(server.engine.abandoned(1).await, "a client that goes away frees the sequence");
    assert!(opener.finish(&mut opened).is_err(), "and has no whole answer");
}

#[tokio::test]
async fn keys_that_are_over_are_wiped_while_an_answer_to_them_is_made() {
    for stream in [false, true] {
        let late = || Server::script(Script::Late(1000));
        let (one, two, request) = (late(), late(), ask(&json!({"stream": stream})));
        let (first, ()) = tokio::join!(whole(&one, &request), first_keys_are_wiped(&one));
        let (second, ()) = tokio::join!(chunked(&two, &request), first_keys_are_wiped(&two));
        for response in [first, second] {
            assert!(String::from_utf8_lossy(&response.content).contains("late"));
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_of_its_message_leaves_nothing_behind() {
    use tokio::io::AsyncWriteExt as _;
    let server = Server::say(&["a"]);
    let (message, _) = seal_request(&config(&server).await, Aead::Aes128Gcm, &ask(&json!({})).encode(), &mut random())
        .expect("sealed");
    let places = server.state.sealed_bodies().available_permits();
    let mut stream = tls(&server, b"http/1.1").await;
    let head = format!(
        "POST {GATEWAY} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {REQUEST_TYPE}\r\ncontent-length: {}\r\n\r\n",
        message.len()
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    stream.write_all(&message[..20]).await.expect("written");
    let until = async |expected| {
        for _ in 0..200 {
            if server.state.sealed_bodies().available_permits() == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} places", server.state.sealed_bodies().available_permits());
    };
    until(places - 1).await;
    drop(stream);
    until(places).await;
    assert!(server.engine.seen.lock().unwrap().is_empty());
    assert_eq!(send(&server, REQUEST_TYPE, message).await.status, 200, "and it still counts");
}

#[tokio::test]
async fn errors_behind_the_seal_are_sealed() {
    let good = token::text(&[1; 32]);
    let limits = Limits { body_bytes: 2048, ..Limits::default() };
    let server = Server::start(Setup { tokens: vec![good.to_string()], limits, ..Setup::default() });
    let bearer = format!("Bearer {}", *good);
    let with = |fields: &[(&str, &str)], content: &str| request("POST", "/v1/chat/completions", fields, content);
    let json = ("content-type", "application/json");
    for (request, expected) in [
        (ask(&json!({})), (401, "invalid_api_key")),
        (request("GET", "/v1/nothing", &[], ""), (404, "unknown_url")),
        (request("GET", "/v1/chat/completions", &[], ""), (405, "method_not_allowed")),
        (request("POST", GATEWAY, &[("content-type", REQUEST_TYPE)], "x"), (404, "unknown_url")),
        (with(&[json, ("authorization", &bearer)], &"x".repeat(3000)), (413, "body_too_large")),
        (with(&[json, ("authorization", &bearer)], "{"), (400, "invalid_json")),
        (with(&[("content-type", "text/plain"), ("authorization", &bearer)], "{}"), (415, "unsupported_media_type")),
        (with(&[json, ("ehbp-encapsulated-key", "00"), ("authorization", &bearer)], "{}"), (400, "no_such_wire")),
    ] {
        for response in [whole(&server, &request).await, chunked(&server, &request).await] {
            assert_eq!(code(&response), (expected.0, expected.1.to_owned()));
        }
    }
    let fine = with(&[json, ("authorization", &bearer)], &chat(&json!({})));
    assert_eq!(whole(&server, &fine).await.head.status, 200);
}

/// Sizes of what comes back for these requests and for one that is none, in one piece and chunked; a set each.
async fn sizes(server: &Server, requests: &[Request]) -> [std::collections::BTreeSet<usize>; 2] {
    let (config, mut sizes) = (config(server).await, [const { std::collections::BTreeSet::new() }; 2]);
    let contents = requests.iter().map(|request| (request.encode(), request.encode_indeterminate()));
    for (content, parts) in contents.chain([(vec![9], vec![9])]) {
        let (message, _) = seal_request(&config, Aead::Aes128Gcm, &content, &mut random()).expect("sealed");
        let (whole, chunked) = (send(server, REQUEST_TYPE, message).await, {
            let (message, _) = seal_chunked_request(&config, Aead::Aes128Gcm, &parts, &mut random()).expect("sealed");
            send(server, CHUNKED_REQUEST_TYPE, message).await
        });
        assert_eq!((whole.status.as_u16(), chunked.status.as_u16()), (200, 200), "sealed");
        sizes[0].insert(whole.body.len());
        sizes[1].insert(chunked.body.len());
    }
    sizes
}

#[tokio::test]
async fn errors_have_one_size_which_short_answers_have_too() {
    let good = token::text(&[1; 32]);
    let setup = |shape| {
        let wires = Wires { shape, ..Wires::default() };
        Server::start(Setup { tokens: vec![good.to_string()], wires, ..Setup::default() })
    };
    let bearer = format!("Bearer {}", *good);
    let fields = [("content-type", "application/json"), ("authorization", &*bearer)];
    let with = |content: String| request("POST", "/v1/chat/completions", &fields, content);
    let requests = [
        ask(&json!({})),
        request("GET", "/v1/nothing", &[], ""),
        request("GET", "/v1/chat/completions", &[], ""),
        request("GET", "/v1/aci/receipts/rcpt-0", &[], ""),
        request("POST", "/v1/chat/completions", &[("content-type", "text/plain"), ("authorization", &bearer)], "{}"),
        with("{".to_owned()),
        with(chat(&json!({"model": "other"}))),
        with(chat(&json!({"logit_bias": {"1000": 1}}))),
        with(chat(&json!({"stream_options": {"include_usage": true, "x": 1}, "stream": true}))),
        with(chat(&json!({"messages": [{"role": "assistant", "content": "x"}]}))),
        with(chat(&json!({}))),
        request("GET", "/health", &[], ""),
    ];
    // nonce and tag; nonce, the final chunk's mark and its tag
    let expected = [1024 + 16 + 16, 1024 + 16 + 1 + 16];
    for shape in [Shape::Padded, Shape::Paced] {
        assert_eq!(
            sizes(&setup(shape), &requests).await.map(|sizes| sizes.into_iter().collect::<Vec<_>>()),
            expected.map(|size| vec![size]),
            "{shape:?}"
        );
    }
    for sizes in sizes(&setup(Shape::Off), &requests).await {
        assert!(sizes.len() > 5, "without padding they differ: {sizes:?}");
    }
}

#[tokio::test]
async fn what_does_not_open_is_refused_in_one_form_and_asks_nobody() {
    let server = Server::say(&["a"]);
    let config = config(&server).await;
    let content = ask(&json!({})).encode();
    let (good, _) = seal_request(&config, Aead::Aes128Gcm, &content, &mut random()).expect("sealed");
    let parts = ask(&json!({"user": "x".repeat(40_000)})).encode_indeterminate();
    let (chunks, _) = seal_chunked_request(&config, Aead::Aes128Gcm, &parts, &mut random()).expect("sealed");
    let changed = |message: &[u8], index: usize| {
        let mut message = message.to_vec();
        message[index] ^= 1;
        message
    };
    // header 7, encapsulated key 32, then chunks of 4 bytes of length and 16400 bytes
    let (first, second) = (39..39 + 16_404, 39 + 16_404..39 + 2 * 16_404);
    let swapped = [&chunks[..39], &chunks[second.clone()], &chunks[first.clone()], &chunks[second.end..]].concat();
    let doubled = [&chunks[..first.end], &chunks[first.clone()], &chunks[first.end..]].concat();
    let huge = [&chunks[..39], &[0xbf, 0xff, 0xff, 0xff], &[0; 100]].concat();
    let larger = [&chunks[..39], &[0xc0, 0, 0, 0, 0x80, 0, 0, 0], &[0; 100]].concat();
    let over = [&chunks[..39], &[0x80, 0, 0x40, 0x11], &vec![0; 16_401][..]].concat();
    let two_finals = [&chunks[..], &[0; 17]].concat();
    let form = ((400, "undecryptable".to_owned()), "application/json");
    for (name, kind, message) in [
        ("a flipped byte of the key", REQUEST_TYPE, changed(&good, 10)),
        ("a flipped byte of the ciphertext", REQUEST_TYPE, changed(&good, 60)),
        ("a flipped byte of the tag", REQUEST_TYPE, changed(&good, good.len() - 1)),
        ("cut off", REQUEST_TYPE, good[..good.len() - 1].to_vec()),
        ("nothing but a header", REQUEST_TYPE, good[..7].to_vec()),
        ("nothing", REQUEST_TYPE, Vec::new()),
        ("chunked as whole", REQUEST_TYPE, chunks.clone()),
        ("a flipped byte of a chunk", CHUNKED_REQUEST_TYPE, changed(&chunks, 5000)),
        ("a flipped byte of the final chunk's tag", CHUNKED_REQUEST_TYPE, changed(&chunks, chunks.len() - 1)),
        ("no final chunk", CHUNKED_REQUEST_TYPE, chunks[..second.end].to_vec()),
        ("chunks in another order", CHUNKED_REQUEST_TYPE, swapped),
        ("a chunk twice", CHUNKED_REQUEST_TYPE, doubled),
        ("a chunk before the header", CHUNKED_REQUEST_TYPE, chunks[39..].to_vec()),
        ("a second final chunk", CHUNKED_REQUEST_TYPE, two_finals),
    ] {
        let reply = send(&server, kind, message).await;
        if name == "a chunk before the header" {
            assert_eq!(reply.json()["type"], KEY_PROBLEM, "its first bytes name some other key");
            continue;
        }
        assert_eq!((reply.error(), reply.header("content-type")), form, "{name}");
    }
    // read as chunks, a message in one piece begins with a length that is anything
    assert!([400, 413].contains(&send(&server, CHUNKED_REQUEST_TYPE, good.clone()).await.status.as_u16()));
    for (name, message) in [("a length of 2^30", huge), ("a length of 2^31", larger), ("a chunk over 16 KiB", over)] {
        assert_eq!(
            send(&server, CHUNKED_REQUEST_TYPE, message).await.error(),
            (413, "body_too_large".to_owned()),
            "{name}"
        );
    }
    assert!(server.engine.seen.lock().unwrap().is_empty(), "nothing was processed");
    assert_eq!(send(&server, REQUEST_TYPE, good).await.status, 200, "and nothing was kept: the good one counts still");
    assert_eq!(send(&server, CHUNKED_REQUEST_TYPE, chunks).await.status, 200);
}

#[tokio::test]
async fn a_key_or_suite_that_is_not_offered_gets_the_key_problem() {
    let server = Server::say(&["a"]);
    let config = config(&server).await;
    let (good, _) = seal_request(&config, Aead::Aes128Gcm, &ask(&json!({})).encode(), &mut random()).expect("sealed");
    for (index, value) in [(0, config.key_id.wrapping_add(100)), (2, 0x10), (4, 2), (6, 9)] {
        let mut message = good.clone();
        message[index] = value;
        let reply = send(&server, REQUEST_TYPE, message).await;
        assert_eq!((reply.status.as_u16(), reply.header("content-type")), (400, "application/problem+json"));
        assert_eq!(reply.json()["type"], KEY_PROBLEM);
    }
    let reply = send(&server, "application/json", good.clone()).await;
    assert_eq!(reply.error(), (415, "unsupported_media_type".to_owned()));
    assert_eq!(send(&server, REQUEST_TYPE, good).await.status, 200);
}

#[tokio::test]
async fn a_message_counts_once_with_the_keys_of_both_epochs() {
    let server = Server::say(&["a"]);
    for config in decode_list(&list(&server).await).expect("our list") {
        let content = ask(&json!({})).encode();
        let (message, _) = seal_request(&config, Aead::Aes128Gcm, &content, &mut random()).expect("sealed");
        assert_eq!(send(&server, REQUEST_TYPE, message.clone()).await.status, 200);
        assert_eq!(send(&server, REQUEST_TYPE, message).await.error(), (400, "undecryptable".to_owned()));
        let content = ask(&json!({})).encode_indeterminate();
        let (message, _) = seal_chunked_request(&config, Aead::Aes128Gcm, &content, &mut random()).expect("sealed");
        assert_eq!(send(&server, CHUNKED_REQUEST_TYPE, message.clone()).await.status, 200);
        assert_eq!(send(&server, CHUNKED_REQUEST_TYPE, message).await.error(), (400, "undecryptable".to_owned()));
    }
    assert_eq!(server.engine.seen.lock().unwrap().len(), 8, "a replayed request is not processed");
}

#[tokio::test]
async fn an_old_key_opens_in_its_grace_and_not_after() {
    let keys = Keys { epoch_seconds: 3, epoch_requests: 16, grace_seconds: 2 };
    let server = Server::start(Setup { keys, ..Setup::default() });
    let old = config(&server).await;
    let sealed = || seal_request(&old, Aead::Aes128Gcm, &ask(&json!({})).encode(), &mut random()).expect("sealed").0;
    let until = async |epoch| {
        while server.identity.live().all().map(|live| live.number()).min().expect("an epoch") < epoch {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    while server.identity.published().epoch == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(send(&server, REQUEST_TYPE, sealed()).await.status, 200, "in its grace");
    until(1).await;
    let late = send(&server, REQUEST_TYPE, sealed()).await;
    assert_eq!((late.status.as_u16(), &late.json()["type"]), (400, &json!(KEY_PROBLEM)), "after it");
    assert_eq!(whole(&server, &ask(&json!({}))).await.head.status, 200, "with fresh keys it goes on");
}

#[tokio::test]
async fn a_full_epoch_says_so_and_ends_early_and_the_next_key_still_opens() {
    let keys = Keys { epoch_requests: 16, ..Keys::default() };
    let server = Server::start(Setup { keys, ..Setup::default() });
    let configs = decode_list(&list(&server).await).expect("our list");
    let soon = || server.identity.due().0 <= Instant::now() + Duration::from_secs(61);
    assert!(!soon(), "an epoch with room goes on");
    for _ in 0..16 {
        assert_eq!(whole_to(&server, &configs[0], &ask(&json!({}))).await.head.status, 200);
    }
    let full = whole_to(&server, &configs[0], &ask(&json!({}))).await;
    assert_eq!(code(&full), (429, "epoch_full".to_owned()));
    let wait: u32 = header(&full, "retry-after").parse().expect("seconds");
    assert!((1..=61).contains(&wait), "an epoch lasts a minute at least");
    assert!(soon(), "and a full one no longer");
    assert_eq!(whole_to(&server, &configs[2], &ask(&json!({}))).await.head.status, 200, "the next epoch's key");
}

#[tokio::test]
async fn that_an_epoch_is_full_is_sealed_with_the_size_of_all_errors_as_often_as_one_asks() {
    let keys = Keys { epoch_requests: 16, ..Keys::default() };
    let server = Server::start(Setup { keys, ..Setup::default() });
    let config = config(&server).await;
    for _ in 0..16 {
        assert_eq!(whole_to(&server, &config, &ask(&json!({}))).await.head.status, 200);
    }
    let content = ask(&json!({})).encode_indeterminate();
    let (message, pending) = seal_request(&config, Aead::Aes128Gcm, &content, &mut random()).expect("sealed");
    let (first, again) =
        (send(&server, REQUEST_TYPE, message.clone()).await, send(&server, REQUEST_TYPE, message).await);
    for reply in [&first, &again] {
        assert_eq!((reply.status.as_u16(), reply.header("retry-after"), reply.body.len()), (200, "", 1024 + 16 + 16));
    }
    assert_ne!(first.body[..16], again.body[..16], "each with a nonce of its own");
    let opened = pending.open(&first.body).expect("opened");
    assert_eq!(code(&Response::decode(&opened, Bounds::default()).expect("a response")).0, 429);
    let (message, _) = seal_chunked_request(&config, Aead::Aes128Gcm, &content, &mut random()).expect("sealed");
    let reply = send(&server, CHUNKED_REQUEST_TYPE, message).await;
    assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 1024 + 16 + 1 + 16));
    assert_eq!(server.engine.seen.lock().unwrap().len(), 16, "nothing more was processed");
}

#[tokio::test]
async fn a_full_epochs_refusal_has_a_receipt_and_a_message_that_comes_again_has_none() {
    let keys = Keys { epoch_requests: 16, ..Keys::default() };
    let good = token::text(&[1; 32]);
    let server = Server::start(Setup { keys, tokens: vec![good.to_string()], ..Setup::default() });
    let (config, bearer) = (config(&server).await, format!("Bearer {}", *good));
    let fields = [("content-type", "application/json"), ("authorization", &*bearer), (RECEIPT_FIELD, IN_TRAILER)];
    let request = request("POST", "/v1/chat/completions", &fields, chat(&json!({})));
    let receipt = |response: &Response| {
        let field = value_of(&response.trailers, RECEIPT_FIELD).expect("a receipt");
        let receipt = Verified::check(field, &server.identity.published().keyset).expect("it verifies");
        let digests = (Sha256Digest::of(&request.content), Sha256Digest::of(&response.content));
        assert_eq!(receipt.check_exchange(digests.0, digests.1), Ok(()));
        assert_eq!(header(response, "x-receipt-id"), receipt.head().receipt_id);
        receipt
    };
    let (message, pending) = seal_request(&config, Aead::Aes128Gcm, &request.encode(), &mut random()).expect("sealed");
    let answer = pending.open(&send(&server, REQUEST_TYPE, message.clone()).await.body).expect("opened");
    let mut last = receipt(&Response::decode(&answer, Bounds::default()).expect("a response"));
    let form = ((400, "undecryptable".to_owned()), "");
    for _ in 0..3 {
        let again = send(&server, REQUEST_TYPE, message.clone()).await;
        assert_eq!((again.error(), again.header("x-receipt-id")), form, "as what does not open");
    }
    for _ in 0..15 {
        let next = receipt(&whole_to(&server, &config, &request).await);
        assert_eq!(follows(&last, &next), Ok(()), "whoever plays a message again makes no gap");
        last = next;
    }
    let full = whole_to(&server, &config, &request).await;
    assert_eq!(code(&full), (429, "epoch_full".to_owned()));
    let refusal = receipt(&full);
    assert_eq!((follows(&last, &refusal), refusal.forwarded()), (Ok(()), None));
    assert_eq!(refusal.event::<Place>().expect("well formed").expect("a place").counter, 16);
    let transport: Transport = refusal.event().expect("well formed").expect("a transport");
    assert_eq!(transport.wire, "ohttp");
    let again = send(&server, REQUEST_TYPE, message).await;
    assert_eq!((again.error(), again.header("x-receipt-id")), form, "in a full epoch too");
}

#[tokio::test]
async fn a_token_that_is_replaced_ends_a_sealed_request_that_waits() {
    let (old, new) = (token::text(&[2; 32]), token::text(&[3; 32]));
    let listed = Secrets { operator_keys: vec![Listed(secrets::operator(1).public())], required: false };
    let tokens = vec![token::text(&[1; 32]).to_string()];
    let server = Server::start(Setup { tokens, secrets: listed, ..Setup::default() });
    let bring = async |value: &str, counter| {
        let reply = secrets::send(&server, &secrets::change(&[("TOKEN", value)], &[]), counter).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
    };
    bring(&old, 1).await;
    let bearer = format!("Bearer {}", *old);
    let fields = [("content-type", "application/json"), ("authorization", &*bearer)];
    let request = request("POST", "/v1/chat/completions", &fields, chat(&json!({"stream": true})));
    *server.engine.script.lock().unwrap() = Script::Late(800);
    assert_eq!(chunked(&server, &request).await.head.status, 200, "the token counts");
    let replaced = async {
        while server.engine.seen.lock().unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bring(&new, 2).await;
    };
    let (waited, ()) = tokio::join!(chunked(&server, &request), replaced);
    assert_eq!(code(&waited), (401, "invalid_api_key".to_owned()), "admitted and queued, but not begun");
}

#[tokio::test]
async fn strangers_do_not_fill_an_epoch_and_their_messages_count_when_they_are_let_in() {
    let keys = Keys { epoch_requests: 16, ..Keys::default() };
    let good = token::text(&[1; 32]);
    let server = Server::start(Setup { keys, tokens: vec![good.to_string()], ..Setup::default() });
    let config = config(&server).await;
    let post_it = async |request: &Request| {
        let (message, pending) =
            seal_request(&config, Aead::Aes128Gcm, &request.encode(), &mut random()).expect("sealed");
        (send(&server, REQUEST_TYPE, message.clone()).await, message, pending)
    };
    let status = |reply: &Reply, pending: protocol::ohttp::PendingAnswer| {
        Response::decode(&pending.open(&reply.body).expect("opened"), Bounds::default())
            .expect("a response")
            .head
            .status
    };
    for _ in 0..40 {
        let (reply, message, pending) = post_it(&ask(&json!({}))).await;
        assert_eq!(status(&reply, pending), 401);
        assert_eq!(
            send(&server, REQUEST_TYPE, message).await.status,
            200,
            "its refusal is all it gets, as often as it asks"
        );
    }
    // what is open to everyone has a small share of its own, in which each message counts once too
    let (first, message, pending) = post_it(&request("GET", "/health", &[], "")).await;
    assert_eq!(status(&first, pending), 200);
    assert_eq!(send(&server, REQUEST_TYPE, message).await.error(), (400, "undecryptable".to_owned()));
    let (second, _, pending) = post_it(&request("GET", "/health", &[], "")).await;
    assert_eq!(status(&second, pending), 429);

    let bearer = format!("Bearer {}", *good);
    let fields = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let asked = request("POST", "/v1/chat/completions", &fields, chat(&json!({})));
    for _ in 0..16 {
        let (reply, _, pending) = post_it(&asked).await;
        assert_eq!(status(&reply, pending), 200, "all of the epoch is for those who are let in");
    }
    let (full, _, pending) = post_it(&asked).await;
    assert_eq!(status(&full, pending), 429);
}

#[tokio::test]
async fn of_equal_messages_at_once_one_is_processed() {
    let server = Server::say(&["a"]);
    let content = ask(&json!({})).encode();
    let (message, _) = seal_request(&config(&server).await, Aead::Aes128Gcm, &content, &mut random()).expect("sealed");
    let replies = futures::future::join_all((0..16).map(|_| send(&server, REQUEST_TYPE, message.clone()))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    assert_eq!(server.engine.seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_date_far_from_the_clock_is_answered_with_the_clock() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let server = Server::say(&["a"]);
    let lenient = Server::start(Setup { wires: Wires { dates: false, ..Wires::default() }, ..Setup::default() });
    let dated = |seconds: u64| {
        let fields = [("content-type", "application/json"), ("date", &*date::write(seconds))];
        request("POST", "/v1/chat/completions", &fields, chat(&json!({})))
    };
    for seconds in [now, now - 40, now + 40] {
        assert_eq!(whole(&server, &dated(seconds)).await.head.status, 200);
    }
    for seconds in [now - 120, now + 120, 0] {
        for response in [whole(&server, &dated(seconds)).await, chunked(&server, &dated(seconds)).await] {
            assert_eq!((response.head.status, header(&response, "content-type")), (400, "application/problem+json"));
            let problem: Value = serde_json::from_slice(&response.content).expect("JSON");
            assert_eq!(problem["type"], DATE_PROBLEM);
            let clock = date::read(header(&response, "date")).expect("a date");
            assert!(clock.abs_diff(now) < 60);
        }
        assert_eq!(whole(&lenient, &dated(seconds)).await.head.status, 200, "where the document says so");
    }
    let fields = [("content-type", "application/json"), ("date", "yesterday")];
    let response = whole(&server, &request("POST", "/v1/chat/completions", &fields, chat(&json!({})))).await;
    assert_eq!(response.head.status, 400);
}

#[tokio::test]
async fn a_wire_that_is_switched_off_is_not_there() {
    let server = Server::start(Setup { wires: Wires { ohttp: false, ..Wires::default() }, ..Setup::default() });
    assert_eq!(server.get(GATEWAY).await.error(), (404, "unknown_url".to_owned()));
    assert_eq!(send(&server, REQUEST_TYPE, vec![0; 100]).await.error(), (404, "unknown_url".to_owned()));
    assert_eq!(server.get("/v1/aci/attestation").await.json()["service_capabilities"].get("wires"), None);
}

#[tokio::test]
async fn sizes_of_sealed_chunks_are_those_of_the_shape() {
    let pieces = vec!["a", "some longer piece of text", "b"];
    let script = || Script::Say(pieces.clone(), lethe_appliance::inference::Finish::Stop);
    let sizes = async |shape| {
        let server =
            Server::start(Setup { script: script(), wires: Wires { shape, ..Wires::default() }, ..Setup::default() });
        let content = ask(&json!({"stream": true})).encode_indeterminate();
        let (message, _) =
            seal_chunked_request(&config(&server).await, Aead::Aes128Gcm, &content, &mut random()).expect("sealed");
        chunk_sizes(&send(&server, CHUNKED_REQUEST_TYPE, message).await.body)
    };
    // the first chunk is the head and the last one ends the message; both are the same for every answer
    for size in &sizes(Shape::Padded).await[1..] {
        assert!([512, 1024, 2048, 4096].map(|bucket| bucket + 2 + 16).contains(size), "{size}");
    }
    assert!(sizes(Shape::Off).await[1..].iter().any(|size| *size < 400));
    for size in &sizes(Shape::Paced).await[1..] {
        assert_eq!(*size, 2050 + 16);
    }
}

/// Sizes of the sealed chunks before the final one.
fn chunk_sizes(answer: &[u8]) -> Vec<usize> {
    let (mut rest, mut sizes) = (&answer[16..], Vec::new());
    loop {
        let (size, used) = match rest[0] >> 6 {
            0 => (usize::from(rest[0]), 1),
            1 => (usize::from(u16::from_be_bytes([rest[0] & 0x3f, rest[1]])), 2),
            _ => (usize::try_from(u32::from_be_bytes([rest[0] & 0x3f, rest[1], rest[2], rest[3]])).unwrap(), 4),
        };
        if size == 0 {
            return sizes;
        }
        sizes.push(size);
        rest = &rest[used + size..];
    }
}

#[tokio::test]
async fn receipts_of_sealed_requests_are_over_what_the_client_decrypts() {
    let server = Server::say(&["Hel", "lo"]);
    for stream in [false, true] {
        let request = ask(&json!({"stream": stream}));
        let content = request.encode_indeterminate();
        let (message, mut opener) =
            seal_chunked_request(&config(&server).await, Aead::Aes256Gcm, &content, &mut random()).expect("sealed");
        let reply = send(&server, CHUNKED_REQUEST_TYPE, message.clone()).await;
        assert_eq!(reply.header("x-receipt-id"), "", "its id is behind the seal");
        let mut opened = Vec::new();
        opener.feed(&reply.body, &mut opened).expect("opened");
        opener.finish(&mut opened).expect("whole");
        let response = Response::decode(&opened, Bounds::default()).expect("a response");
        let path = format!("/v1/aci/receipts/{}", header(&response, "x-receipt-id"));
        let kept = whole(&server, &self::request("GET", &path, &[], "")).await;
        let receipt = Verified::check(&kept.content, &server.identity.published().keyset).expect("a receipt");
        let digests = (Sha256Digest::of(&request.content), Sha256Digest::of(&response.content));
        assert_eq!(receipt.check_exchange(digests.0, digests.1), Ok(()));
        let transport: Transport = receipt.event().expect("well formed").expect("a transport");
        assert_eq!(transport.wire, "ohttp-chunked");
        assert_eq!(transport.request_ciphertext_hash, Some(Sha256Digest::of(&message)));
    }
}

/// A chat request that asks for its receipt, or for something that is none.
fn ask_with_receipt(extra: &Value, word: &str) -> Request {
    let fields = [("content-type", "application/json"), (RECEIPT_FIELD, word)];
    request("POST", "/v1/chat/completions", &fields, chat(extra))
}

#[tokio::test]
async fn a_receipt_that_is_asked_for_travels_in_the_trailer() {
    let server = Server::say(&["Hel", "lo"]);
    for stream in [false, true] {
        let request = ask_with_receipt(&json!({"stream": stream}), IN_TRAILER);
        for response in [whole(&server, &request).await, chunked(&server, &request).await] {
            let field = value_of(&response.trailers, RECEIPT_FIELD).expect("a receipt");
            let receipt = Verified::check(field, &server.identity.published().keyset).expect("it verifies");
            let digests = (Sha256Digest::of(&request.content), Sha256Digest::of(&response.content));
            assert_eq!(receipt.check_exchange(digests.0, digests.1), Ok(()));
            assert_eq!(header(&response, "x-receipt-id"), receipt.head().receipt_id);
            let path = format!("/v1/aci/receipts/{}", receipt.head().receipt_id);
            let kept = server.get(&path).await.json();
            assert_eq!(kept, serde_json::from_slice::<Value>(field).expect("JSON"), "the same that can be fetched");
        }
    }
    for request in [ask(&json!({"stream": true})), ask_with_receipt(&json!({"stream": true}), "yes")] {
        for response in [whole(&server, &request).await, chunked(&server, &request).await] {
            assert!(response.trailers.is_empty(), "nobody else gets one");
        }
    }
    let refused = whole(&server, &ask_with_receipt(&json!({"foo": 1}), IN_TRAILER)).await;
    assert_eq!((refused.head.status, refused.trailers.len()), (400, 0), "a refusal to nobody in particular has none");
}

#[tokio::test]
async fn a_model_name_of_any_characters_is_in_the_trailer_as_it_was_asked_for() {
    let server = Server::say(&["a"]);
    let good = token::text(&[1; 32]);
    let server_with_token = Server::start(Setup { tokens: vec![good.to_string()], ..Setup::default() });
    let bearer = format!("Bearer {}", *good);
    let model = "\u{7f}mod\u{e8}le \u{1f600}\n";
    let fields = [("content-type", "application/json"), (RECEIPT_FIELD, IN_TRAILER), ("authorization", &*bearer)];
    let request = request("POST", "/v1/chat/completions", &fields, chat(&json!({"model": model})));
    let response = whole(&server_with_token, &request).await;
    assert_eq!(response.head.status, 404);
    let field = value_of(&response.trailers, RECEIPT_FIELD).expect("a receipt of the refusal");
    assert!(field.iter().all(|byte| matches!(byte, b' '..=b'~')));
    let keyset = &server_with_token.identity.published().keyset;
    assert_eq!(Verified::check(field, keyset).expect("it verifies").head().model.as_deref(), Some(model));
    assert!(Verified::check(field, &server.identity.published().keyset).is_err(), "with another keyset it does not");
}

#[tokio::test]
async fn answers_and_refusals_with_receipts_have_one_size() {
    let good = token::text(&[1; 32]);
    let server = Server::start(Setup { tokens: vec![good.to_string()], ..Setup::default() });
    let (config, bearer) = (config(&server).await, format!("Bearer {}", *good));
    let fields = [("content-type", "application/json"), (RECEIPT_FIELD, IN_TRAILER), ("authorization", &*bearer)];
    let mut sizes = std::collections::BTreeSet::new();
    for body in [chat(&json!({})), chat(&json!({"model": "other"})), "{".to_owned()] {
        let content = request("POST", "/v1/chat/completions", &fields, body).encode();
        let (message, pending) = seal_request(&config, Aead::Aes128Gcm, &content, &mut random()).expect("sealed");
        let reply = send(&server, REQUEST_TYPE, message).await;
        sizes.insert(reply.body.len());
        let opened = pending.open(&reply.body).expect("opened");
        let response = Response::decode(&opened, Bounds::default()).expect("a response");
        assert!(value_of(&response.trailers, RECEIPT_FIELD).is_some());
    }
    assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [4096 + 16 + 16], "nonce, bucket and tag");
}

#[tokio::test]
async fn the_judge_reads_an_answer_with_a_trailer() {
    let server = Server::say(&["Hel", "lo"]);
    let mut config = ohttp::KeyConfig::decode_list(&list(&server).await).expect("the judge reads the list").remove(0);
    let client = ohttp::ClientRequest::from_config(&mut config).expect("a key");
    let mut request = judged_request();
    request.put_header(RECEIPT_FIELD, IN_TRAILER);
    let mut content = Vec::new();
    request.write_bhttp(Mode::KnownLength, &mut content).expect("written");
    let (message, response) = client.encapsulate(&content).expect("sealed");
    let reply = send(&server, REQUEST_TYPE, message).await;
    let opened = response.decapsulate(&reply.body).expect("the judge opens it");
    judge_answer(&opened);
    let message = Message::read_bhttp(&mut std::io::Cursor::new(opened)).expect("binary HTTP");
    let receipt = message.trailer().get(RECEIPT_FIELD.as_bytes()).expect("a receipt");
    assert!(Verified::check(receipt, &server.identity.published().keyset).is_ok());
}

#[tokio::test]
async fn nothing_of_a_sealed_request_is_in_an_event() {
    let server = Server::say(&[MARK]);
    let body = json!({"messages": [{"role": "user", "content": MARK}], "user": MARK});
    assert_eq!(whole(&server, &ask(&body)).await.head.status, 200);
    whole(&server, &request("GET", &format!("/{MARK}"), &[(&MARK.to_lowercase(), MARK)], "")).await;
    server.events.line(&["route=ohttp status=200"]).await;
    assert!(server.events.lines().iter().all(|line| !line.to_uppercase().contains("MARK")));
}
