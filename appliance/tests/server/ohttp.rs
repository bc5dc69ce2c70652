//! OHTTP and chunked OHTTP, with the `ohttp` and `bhttp` crates as clients, and what the gateway refuses.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bhttp::{Message, Mode};
use deployment::{Keys, Limits, Shape, Wires, token};
use futures::executor::block_on;
use futures::io::{AllowStdIo, AsyncReadExt as _, AsyncWriteExt as _};
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt as _;
use protocol::Sha256Digest;
use protocol::bhttp::{Field, Limits as Bounds, Request, RequestHead, Response};
use protocol::date;
use protocol::hpke::{Aead, Random};
use protocol::ohttp::{
    CHUNKED_REQUEST_TYPE, DATE_PROBLEM, KEY_PROBLEM, KeyConfig, REQUEST_TYPE, decode_list, seal_chunked_request,
    seal_request,
};
use protocol::receipt::Verified;
use protocol::receipt::event::Transport;
use serde_json::{Value, json};

use crate::client::{Reply, begin, chat, post, tls};
use crate::engine::Script;
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

fn request(method: &str, path: &str, fields: &[(&str, &str)], content: impl Into<Vec<u8>>) -> Request {
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
async fn whole(server: &Server, request: &Request) -> Response {
    let (message, pending) =
        seal_request(&config(server).await, Aead::ChaCha20Poly1305, &request.encode(), &mut random()).expect("sealed");
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
async fn errors_behind_the_seal_are_sealed_and_have_the_first_bucket() {
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

    let config = config(&server).await;
    let mut sizes = std::collections::BTreeSet::new();
    for request in [ask(&json!({})), request("GET", "/v1/nothing", &[], "")] {
        let (message, _) = seal_request(&config, Aead::Aes128Gcm, &request.encode(), &mut random()).expect("sealed");
        sizes.insert(send(&server, REQUEST_TYPE, message).await.body.len());
    }
    assert_eq!(sizes.len(), 1, "one size for all errors");
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
    for (name, message) in [("a length of 2^30", huge), ("a chunk over 16 KiB", over)] {
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
async fn a_full_epoch_says_so_and_the_next_key_still_opens() {
    let keys = Keys { epoch_requests: 16, ..Keys::default() };
    let server = Server::start(Setup { keys, ..Setup::default() });
    let configs = decode_list(&list(&server).await).expect("our list");
    let ask = async |config: &KeyConfig| {
        let content = ask(&json!({})).encode();
        let (message, _) = seal_request(config, Aead::Aes128Gcm, &content, &mut random()).expect("sealed");
        send(&server, REQUEST_TYPE, message).await
    };
    for _ in 0..16 {
        assert_eq!(ask(&configs[0]).await.status, 200);
    }
    let full = ask(&configs[0]).await;
    assert_eq!(full.error(), (429, "epoch_full".to_owned()));
    let wait: u32 = full.header("retry-after").parse().expect("seconds");
    assert!((1..=61).contains(&wait), "an epoch lasts a minute at least");
    assert_eq!(ask(&configs[2]).await.status, 200, "the next epoch's key");
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

#[tokio::test]
async fn nothing_of_a_sealed_request_is_in_an_event() {
    let server = Server::say(&[MARK]);
    let body = json!({"messages": [{"role": "user", "content": MARK}], "user": MARK});
    assert_eq!(whole(&server, &ask(&body)).await.head.status, 200);
    whole(&server, &request("GET", &format!("/{MARK}"), &[(&MARK.to_lowercase(), MARK)], "")).await;
    server.events.line(&["route=ohttp status=200"]).await;
    assert!(server.events.lines().iter().all(|line| !line.to_uppercase().contains("MARK")));
}
