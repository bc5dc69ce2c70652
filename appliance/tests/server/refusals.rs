//! Receipts of refusals: whoever showed a token that was accepted has something to prove, whatever the wire and the reason.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use deployment::{Keys, Limits, Receipts, Shape, Wires, token};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use lethe_appliance::inference::SubmitError;
use protocol::bhttp::value_of;
use protocol::ehbp::ENCAPSULATED_KEY_HEADER;
use protocol::envelope::PublishedKey;
use protocol::receipt::event::Transport;
use protocol::receipt::{IN_TRAILER, RECEIPT_FIELD, Verified, follows};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::client::{chat, closed, get, post, tls};
use crate::engine::Script;
use crate::envelope::{now, rid};
use crate::receipts::{digest, with_token};
use crate::server::{Server, Setup};
use crate::{ehbp, envelope, ohttp};

#[tokio::test]
async fn refusals_of_authenticated_requests_have_receipts_and_others_have_none() {
    let good = token::text(&[1; 32]);
    let server = Server::start(Setup { tokens: vec![good.to_string()], ..Setup::default() });
    let full = Script::Refuse(SubmitError::QueueFull { retry_after_s: 1 });
    for (body, script, read) in [
        ("{".to_owned(), None, true),
        (chat(&json!({"model": "other"})), None, true),
        (chat(&json!({})), Some(full), true),
        ("x".repeat(2 << 20), None, false),
    ] {
        if let Some(script) = script {
            *server.engine.script.lock().unwrap() = script;
        }
        let reply = server.send(with_token(post("/v1/chat/completions", body.clone()), &good)).await;
        assert!(reply.status.as_u16() >= 400);
        let path = format!("/v1/aci/receipts/{}", reply.header("x-receipt-id"));
        let kept = server.send(with_token(get(&path), &good)).await;
        let receipt = Verified::check(&kept.body, &server.identity.published().keyset).expect("a receipt");
        let request = if read { digest(&body) } else { digest(b"") };
        assert_eq!(receipt.check_exchange(request, digest(&reply.body)), Ok(()));
        assert_eq!(receipt.forwarded(), None, "nothing was asked");
        let path = path.replace("aci/receipts", "signature");
        assert_eq!(server.send(with_token(get(&path), &good)).await.status, 404, "no answer, no signature");
    }
    let stranger = server.send(post("/v1/chat/completions", chat(&json!({})))).await;
    assert_eq!((stranger.status.as_u16(), stranger.header("x-receipt-id")), (401, ""));
    let open = Server::say(&["a"]);
    let refused = open.send(post("/v1/chat/completions", "{")).await;
    assert_eq!((refused.status.as_u16(), refused.header("x-receipt-id")), (400, ""));
}

/// The receipt of a refusal: of exactly this request and this answer, to whoever shows the token and to nobody else. Without the token
/// the same request is refused without one.
async fn of_refusal(server: &Server, token: &str, request: Request<Full<Bytes>>, status: u16) -> (Verified, Value) {
    let body = request.body().clone().collect().await.expect("a body").to_bytes();
    let stranger = server.send(request.clone()).await;
    assert_eq!((stranger.status.as_u16(), stranger.header("x-receipt-id")), (401, ""));
    let reply = server.send(with_token(request, token)).await;
    assert_eq!(reply.status.as_u16(), status, "{:?}", reply.body);
    let path = format!("/v1/aci/receipts/{}", reply.header("x-receipt-id"));
    assert_eq!(server.get(&path).await.status, 401);
    let kept = server.send(with_token(get(&path), token)).await;
    let receipt = Verified::check(&kept.body, &server.identity.published().keyset).expect("a receipt");
    // what is refused by its length is not read
    let request = if status == 413 { digest(b"") } else { digest(&body) };
    assert_eq!(receipt.check_exchange(request, digest(&reply.body)), Ok(()));
    assert_eq!(receipt.forwarded(), None, "nothing was asked");
    (receipt, kept.json())
}

/// A sealed chat request of EHBP.
fn of_ehbp(enc: &str, body: Vec<u8>) -> Request<Full<Bytes>> {
    let mut request = post("/v1/chat/completions", body);
    request.headers_mut().insert(ENCAPSULATED_KEY_HEADER, HeaderValue::from_str(enc).expect("a value"));
    request
}

/// All wires, for one token.
fn with_all_wires(change: impl FnOnce(&mut Setup)) -> (Server, String) {
    let good = token::text(&[1; 32]).to_string();
    let wires = Wires { ehbp: true, envelope: true, ..Wires::default() };
    let mut setup = Setup { tokens: vec![good.clone()], wires, ..Setup::default() };
    change(&mut setup);
    (Server::start(setup), good)
}

#[tokio::test]
async fn refusals_of_sealed_messages_beside_a_token_have_receipts_that_do_not_say_why() {
    let (server, good) = with_all_wires(|_| ());
    let (enc, body, _) = ehbp::seal(&ehbp::key(&server).await, &chat(&json!({})));
    let key = envelope::page(&server).await.current;
    let message = |key: &PublishedKey, ts| envelope::sealed(key, &chat(&json!({})), &rid(), ts).0.to_json();
    let (sealed, fresh) = (message(&key, now()), message(&key, now()));
    for request in [of_ehbp(&enc, body.clone()), post("/api/chat", sealed.clone())] {
        assert_eq!(server.send(with_token(request, &good)).await.status, 200, "each counts once");
    }
    let changed = |bytes: &[u8], index: usize| {
        let mut bytes = bytes.to_vec();
        bytes[index] ^= 1;
        bytes
    };
    let mut flipped: Value = serde_json::from_slice(&fresh).expect("JSON");
    flipped["ciphertext"] = json!("A".repeat(flipped["ciphertext"].as_str().expect("text").len()));
    let unknown = PublishedKey { kid: "env-0000000000000000".to_owned(), ..key.clone() };
    let (chat, api) = ("/v1/chat/completions", "/api/chat");
    let rows = [
        ("ehbp", chat, 422, of_ehbp(&enc, body.clone())),
        ("ehbp", chat, 422, of_ehbp(&enc, changed(&body, 10))),
        ("ehbp", chat, 400, of_ehbp(&enc, body[..body.len() - 1].to_vec())),
        ("ehbp", chat, 400, of_ehbp("00", body)),
        ("envelope", api, 400, post(api, sealed)),
        ("envelope", api, 400, post(api, flipped.to_string())),
        ("envelope", api, 400, post(api, "{")),
        ("envelope", api, 400, post(api, message(&key, now() - 120))),
        ("envelope", api, 400, post(api, message(&unknown, now()))),
    ];
    let (mut last, mut forms) = (None, std::collections::BTreeSet::new());
    for (wire, endpoint, status, request) in rows {
        let body = request.body().clone().collect().await.expect("a body").to_bytes();
        let (receipt, document) = of_refusal(&server, &good, request, status).await;
        let transport: Transport = receipt.event().expect("well formed").expect("a transport");
        assert_eq!((transport.wire.as_str(), transport.request_ciphertext_hash), (wire, Some(digest(&body))));
        assert_eq!((receipt.head().endpoint.as_str(), receipt.head().method.as_str()), (endpoint, "POST"));
        // what is not a hash, a time or a random name is the same in all
        let members = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
        let events = document["event_log"].as_array().expect("events").iter();
        let events: Vec<_> = events.map(|event| (event["type"].to_string(), members(event))).collect();
        forms.insert((members(&document), events, document["model"].to_string(), document["chat_id"].to_string()));
        if let Some(last) = last.replace(receipt.clone()) {
            assert_eq!(follows(&last, &receipt), Ok(()), "each has its place in the chain");
        }
    }
    assert_eq!(forms.len(), 1, "{forms:#?}");
    assert_eq!(
        server.send(with_token(post(api, fresh), &good)).await.status,
        200,
        "and nothing was kept of what did not open"
    );
}

#[tokio::test]
async fn refusals_of_a_full_epoch_have_receipts_on_the_wires_with_clear_headers() {
    let (server, good) = with_all_wires(|setup| setup.keys = Keys { epoch_requests: 16, ..Keys::default() });
    let key = ehbp::key(&server).await;
    let sealed = || {
        let (enc, body, _) = ehbp::seal(&key, &chat(&json!({})));
        of_ehbp(&enc, body)
    };
    for _ in 0..16 {
        assert_eq!(server.send(with_token(sealed(), &good)).await.status, 200);
    }
    of_refusal(&server, &good, sealed(), 429).await;
    let (message, _) = envelope::sealed(&envelope::page(&server).await.current, &chat(&json!({})), &rid(), now());
    of_refusal(&server, &good, post("/api/chat", message.to_json()), 429).await;
}

#[tokio::test]
async fn refusals_of_an_envelope_that_is_not_looked_at_have_receipts() {
    let limits = Limits { body_timeout_ms: 200, ..Limits::default() };
    let (server, good) = with_all_wires(|setup| setup.limits = limits);
    let endpoint = |receipt: &Verified| (receipt.head().endpoint.clone(), receipt.event::<Transport>());
    let expected = ("/api/chat".to_owned(), Ok(None));
    let (large, _) = of_refusal(&server, &good, post("/api/chat", "x".repeat(2 << 20)), 413).await;
    assert_eq!(endpoint(&large), expected);
    let unread = async |request: Request<Full<Bytes>>, status: u16| {
        let reply = server.send(with_token(request, &good)).await;
        assert_eq!(reply.status.as_u16(), status, "{:?}", reply.body);
        (reply.header("x-receipt-id").to_owned(), digest(&reply.body))
    };
    let mut refusals = Vec::new();
    let mut text = post("/api/chat", "{}");
    text.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    refusals.push(unread(text, 415).await);
    server.engine.ready.store(false, Ordering::SeqCst);
    refusals.push(unread(post("/api/chat", "{}"), 503).await);
    server.engine.ready.store(true, Ordering::SeqCst);
    let places = u32::try_from(server.state.sealed_bodies().available_permits()).expect("few");
    let taken = Arc::clone(server.state.sealed_bodies()).try_acquire_many_owned(places).expect("all places");
    refusals.push(unread(post("/api/chat", "{}"), 429).await);
    drop(taken);
    let mut stream = tls(&server, b"http/1.1").await;
    let head = "POST /api/chat HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\nauthorization: Bearer";
    stream.write_all(format!("{head} {good}\r\n\r\n{{").as_bytes()).await.expect("sent");
    let late = String::from_utf8(closed(&mut stream, Duration::from_secs(5)).await.expect("closed")).expect("UTF-8");
    assert!(late.starts_with("HTTP/1.1 408"), "{late}");
    let id = late.lines().find_map(|line| line.strip_prefix("x-receipt-id: ")).expect("a receipt").to_owned();
    refusals.push((id, digest(late.split_once("\r\n\r\n").expect("a body").1)));
    for (id, response) in refusals {
        let kept = server.send(with_token(get(&format!("/v1/aci/receipts/{id}")), &good)).await;
        let receipt = Verified::check(&kept.body, &server.identity.published().keyset).expect("a receipt");
        assert_eq!(receipt.check_exchange(digest(b""), response), Ok(()));
        assert_eq!(endpoint(&receipt), expected);
    }
}

#[tokio::test]
async fn refusals_of_requests_for_models_have_receipts_and_answers_have_none() {
    let (server, good) = with_all_wires(|setup| setup.wires.shape = Shape::Off);
    for (path, status, endpoint, model) in [
        ("/v1/models/other", 404, "/v1/models/{id}", Some("other")),
        ("/v1/models/small?x=1", 400, "/v1/models/{id}", Some("small")),
        ("/v1/models?x=1", 400, "/v1/models", None),
    ] {
        let (receipt, _) = of_refusal(&server, &good, get(path), status).await;
        let head = receipt.head();
        assert_eq!((head.endpoint.as_str(), head.method.as_str(), head.model.as_deref()), (endpoint, "GET", model));
        assert_eq!(receipt.event::<Transport>(), Ok(None));

        let bearer = format!("Bearer {good}");
        let fields = [("authorization", &*bearer), (RECEIPT_FIELD, IN_TRAILER)];
        let response = ohttp::whole(&server, &ohttp::request("GET", path, &fields, "")).await;
        assert_eq!(response.head.status, status);
        let field = value_of(&response.trailers, RECEIPT_FIELD).expect("a receipt");
        let receipt = Verified::check(field, &server.identity.published().keyset).expect("it verifies");
        assert_eq!(receipt.check_exchange(digest(b""), digest(&response.content)), Ok(()));
        assert_eq!(receipt.event::<Transport>().expect("well formed").expect("a transport").wire, "ohttp");
    }
    for path in ["/v1/models", "/v1/models/small"] {
        let reply = server.send(with_token(get(path), &good)).await;
        assert_eq!((reply.status.as_u16(), reply.header("x-receipt-id")), (200, ""));
    }
}

#[tokio::test]
async fn a_client_that_is_refused_in_a_loop_pushes_out_nobodys_answer_and_one_with_answers_does() {
    let (one, two) = (token::text(&[1; 32]), token::text(&[2; 32]));
    let tokens = vec![one.to_string(), two.to_string()];
    let receipts = Receipts { seconds: 60, count: 32 };
    let server = Server::start(Setup { tokens, receipts, ..Setup::default() });
    let ask = async |token: &str, body: String| {
        let reply = server.send(with_token(post("/v1/chat/completions", body), token)).await;
        reply.header("x-receipt-id").to_owned()
    };
    let there = async |token: &str, id: &str| {
        server.send(with_token(get(&format!("/v1/aci/receipts/{id}")), token)).await.status == 200
    };
    let answer = ask(&one, chat(&json!({}))).await;
    let mut refusals = Vec::new();
    for _ in 0..20 {
        refusals.push(ask(&two, "{".to_owned()).await);
        let other = server.send(with_token(get("/v1/models/other"), &two)).await;
        refusals.push(other.header("x-receipt-id").to_owned());
    }
    assert!(there(&one, &answer).await);
    assert!(there(&two, &refusals[39]).await && there(&two, &refusals[38]).await, "a sixteenth of the answers' room");
    assert!(!there(&two, &refusals[37]).await);
    for _ in 0..32 {
        ask(&two, chat(&json!({}))).await;
    }
    assert!(!there(&one, &answer).await, "an answer costs the engine something, and the oldest make room");
    assert!(there(&two, &refusals[39]).await);
}
