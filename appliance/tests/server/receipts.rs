//! Receipts and the older verifiers' signatures: what they say, who may have them, and how long.

use std::time::Duration;

use deployment::{Keys, Receipts, token};
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use protocol::Sha256Digest;
use protocol::bhttp::value_of;
use protocol::receipt::event::{Launch, Model, Place, Prompt, Sampling, Transport, Usage};
use protocol::receipt::{ChainError, IN_TRAILER, RECEIPT_FIELD, ReceiptError, Verified, follows};
use serde_json::{Value, json};
use sha3::{Digest as _, Keccak256};

use crate::client::{Reply, begin, chat, completion, get, post, tls};
use crate::engine::Script;
use crate::ohttp;
use crate::server::{MARK, MODEL, Server, Setup};

/// The request with a token.
pub fn with_token(mut request: Request<Full<Bytes>>, token: &str) -> Request<Full<Bytes>> {
    let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("a value");
    request.headers_mut().insert(AUTHORIZATION, value);
    request
}

pub fn digest(bytes: impl AsRef<[u8]>) -> Sha256Digest {
    Sha256Digest::of(bytes.as_ref())
}

async fn fetch(server: &Server, id: &str) -> Reply {
    server.get(&format!("/v1/aci/receipts/{id}")).await
}

/// The receipt of an answer to nobody in particular.
async fn receipt(server: &Server, answer: &Reply) -> Verified {
    let reply = fetch(server, answer.header("x-receipt-id")).await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "application/json"));
    Verified::check(&reply.body, &server.identity.published().keyset).expect("a receipt")
}

#[tokio::test]
async fn a_receipt_is_of_exactly_this_request_and_this_answer() {
    let server = Server::say(&["Hel", "lo"]);
    for stream in [false, true] {
        let body = chat(&json!({"stream": stream, "seed": 7, "temperature": 0.5, "max_tokens": 9, "stop": ["x", "y"]}));
        let reply = server.send(post("/v1/chat/completions", body.clone())).await;
        let receipt = receipt(&server, &reply).await;
        assert_eq!(receipt.check_exchange(digest(&body), digest(&reply.body)), Ok(()));
        assert_eq!(receipt.check_exchange(digest(b"{}"), digest(&reply.body)), Err(ReceiptError::OtherRequest));
        assert_eq!(receipt.check_exchange(digest(&body), digest(b"{}")), Err(ReceiptError::OtherResponse));
        assert_eq!(receipt.forwarded(), Some(digest(&body)));
        let head = receipt.head();
        assert_eq!((head.endpoint.as_str(), head.method.as_str()), ("/v1/chat/completions", "POST"));
        assert_eq!(head.model.as_deref(), Some(MODEL));
        let chat_id = head.chat_id.clone().expect("an id");
        assert!(String::from_utf8_lossy(&reply.body).contains(&chat_id));
        assert_eq!(fetch(&server, &chat_id).await.json()["receipt_id"], *head.receipt_id);

        let model: Model = receipt.event().expect("well formed").expect("a model");
        assert_eq!((model.name.as_str(), model.gguf_sha256.0), (MODEL, [0xab; 32]));
        let prompt: Prompt = receipt.event().expect("well formed").expect("a prompt");
        let seen = server.engine.seen.lock().unwrap().pop().expect("a job");
        assert_eq!(prompt.prompt_sha256, digest(&seen.prompt));
        let sampling: Sampling = receipt.event().expect("well formed").expect("sampling");
        assert_eq!((sampling.seed.as_str(), sampling.max_tokens), ("7", 9));
        assert_eq!((&*sampling.parameters["temperature"], &*sampling.parameters["stop"]), ("0.5", "2"));
        let usage: Usage = receipt.event().expect("well formed").expect("usage");
        assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.finish_reason.as_str()), (3, 2, "stop"));
        let launch: Launch = receipt.event().expect("well formed").expect("a launch");
        assert_eq!((launch.tee_type.as_str(), launch.epoch, launch.measurement), ("none", 0, None));
        assert_eq!(launch.boot_id, hex::encode(server.identity.boot_id()));
        assert_eq!(receipt.event::<Transport>(), Ok(None));
        assert_eq!(receipt.event::<Place>(), Ok(None), "nobody in particular has no chain");
    }
    let body = completion(&json!({}));
    let reply = server.send(post("/v1/completions", body.clone())).await;
    let receipt = receipt(&server, &reply).await;
    assert_eq!(receipt.head().endpoint, "/v1/completions");
    assert_eq!(receipt.check_exchange(digest(&body), digest(&reply.body)), Ok(()));
}

#[tokio::test]
async fn a_chat_has_the_digest_of_the_models_template_and_what_uses_none_has_none() {
    const SOURCE: &str = "{{ messages }}";
    let server = Server::start(Setup { source: Some(SOURCE), ..Setup::default() });
    let without = Server::say(&["a"]);
    for (server, path, body, expected) in [
        (&server, "/v1/chat/completions", chat(&json!({})), Some(digest(SOURCE))),
        (&server, "/v1/chat/completions", chat(&json!({"stream": true})), Some(digest(SOURCE))),
        (&server, "/v1/completions", completion(&json!({})), None),
        (&without, "/v1/chat/completions", chat(&json!({})), None),
    ] {
        let reply = server.send(post(path, body)).await;
        let model: Model = receipt(server, &reply).await.event().expect("well formed").expect("a model");
        assert_eq!(model.chat_template_sha256, expected, "{path}");
    }
}

#[tokio::test]
async fn a_header_of_the_client_changes_no_hash() {
    let server = Server::say(&["a"]);
    let body = chat(&json!({}));
    let others = digest(b"another");
    for name in ["x-request-hash", "x-response-hash", "x-body-hash"] {
        for value in ["00".to_owned(), others.to_string(), hex::encode(others.0)] {
            let mut request = post("/v1/chat/completions", body.clone());
            request
                .headers_mut()
                .insert(HeaderName::from_static(name), HeaderValue::from_str(&value).expect("a value"));
            let reply = server.send(request).await;
            let kept = receipt(&server, &reply).await;
            assert_eq!(kept.check_exchange(digest(&body), digest(&reply.body)), Ok(()), "{name}: {value}");
            assert_eq!(kept.forwarded(), Some(digest(&body)), "{name}: {value}");
            let signed = server.get(&format!("/v1/signature/{}", reply.header("x-receipt-id"))).await.json();
            let text = format!("{}:{}", hex::encode(digest(&body).0), hex::encode(digest(&reply.body).0));
            assert_eq!(signed["text"], json!(text), "{name}: {value}");

            let fields = [("content-type", "application/json"), (RECEIPT_FIELD, IN_TRAILER), (name, &*value)];
            let sealed = ohttp::request("POST", "/v1/chat/completions", &fields, body.clone());
            let response = ohttp::whole(&server, &sealed).await;
            let field = value_of(&response.trailers, RECEIPT_FIELD).expect("a receipt");
            let kept = Verified::check(field, &server.identity.published().keyset).expect("it verifies");
            assert_eq!(
                kept.check_exchange(digest(&body), digest(&response.content)),
                Ok(()),
                "{name}: {value}, sealed"
            );
        }
    }
}

#[tokio::test]
async fn a_receipt_holds_nothing_of_the_prompt_or_the_answer() {
    let server = Server::say(&[MARK]);
    let body = json!({"messages": [{"role": "user", "content": MARK}], "stop": [MARK], "user": MARK});
    let reply = server.chat(body).await;
    let receipt = fetch(&server, reply.header("x-receipt-id")).await;
    assert!(!String::from_utf8_lossy(&receipt.body).contains(MARK));
}

#[tokio::test]
async fn only_the_credential_that_asked_gets_the_receipt() {
    let (one, two) = (token::text(&[1; 32]), token::text(&[2; 32]));
    let server = Server::start(Setup { tokens: vec![one.to_string(), two.to_string()], ..Setup::default() });
    let reply = server.send(with_token(post("/v1/chat/completions", chat(&json!({}))), &one)).await;
    let id = reply.header("x-receipt-id").to_owned();
    let chat_id = reply.json()["id"].as_str().expect("an id").to_owned();
    for path in [
        format!("/v1/aci/receipts/{id}"),
        format!("/v1/aci/receipts/{chat_id}"),
        format!("/v1/signature/{chat_id}"),
        format!("/v1/signature/{id}?signing_algo=ed25519"),
    ] {
        assert_eq!(server.send(with_token(get(&path), &one)).await.status, 200, "{path}");
        let none = server.get(&path).await;
        assert_eq!((none.status.as_u16(), &none.json()["error"]["type"]), (401, &json!("unauthorized")));
        let other = server.send(with_token(get(&path), &two)).await;
        let unknown = server.send(with_token(get("/v1/aci/receipts/rcpt-00"), &two)).await;
        assert_eq!((other.status.as_u16(), &other.body), (404, &unknown.body), "as if there were nothing");
        assert_eq!(other.json()["error"]["type"], "not_found");
    }
    assert_eq!(fetch(&server, "rcpt-00").await.error(), (404, "not_found".to_owned()));
    assert_eq!(server.send(with_token(get(&format!("/v1/aci/receipts/{id}?x=1")), &one)).await.status, 400);
}

#[tokio::test]
async fn a_tenant_sees_its_own_chain_and_nothing_of_others() {
    let (one, two) = (token::text(&[1; 32]), token::text(&[2; 32]));
    let server = Server::start(Setup { tokens: vec![one.to_string(), two.to_string()], ..Setup::default() });
    let ask = async |token: &str| {
        let reply = server.send(with_token(post("/v1/chat/completions", chat(&json!({}))), token)).await;
        let path = format!("/v1/aci/receipts/{}", reply.header("x-receipt-id"));
        let kept = server.send(with_token(get(&path), token)).await;
        Verified::check(&kept.body, &server.identity.published().keyset).expect("a receipt")
    };
    let place = |receipt: &Verified| receipt.event::<Place>().expect("well formed").expect("a place");
    let (first, other, second, third) = (ask(&one).await, ask(&two).await, ask(&one).await, ask(&one).await);
    assert_eq!((place(&first).counter, place(&first).previous), (0, None));
    assert_eq!((place(&other).counter, place(&other).previous), (0, None));
    assert_eq!(follows(&first, &second), Ok(()));
    assert_eq!(follows(&second, &third), Ok(()));
    assert_eq!(follows(&first, &third), Err(ChainError::Gap));
    assert!(follows(&other, &second).is_err());
}

#[tokio::test]
async fn a_chain_begins_anew_with_the_keyset() {
    let good = token::text(&[1; 32]);
    let keys = Keys { epoch_seconds: 2, epoch_requests: 16, grace_seconds: 1 };
    let server = Server::start(Setup { tokens: vec![good.to_string()], keys, ..Setup::default() });
    let ask = async || {
        let reply = server.send(with_token(post("/v1/chat/completions", chat(&json!({}))), &good)).await;
        let path = format!("/v1/aci/receipts/{}", reply.header("x-receipt-id"));
        server.send(with_token(get(&path), &good)).await.json()
    };
    let before = ask().await;
    let epoch = server.identity.published().epoch;
    while server.identity.published().epoch == epoch {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let after = ask().await;
    assert_ne!(before["workload_keyset_digest"], after["workload_keyset_digest"]);
    let place = |receipt: &Value| {
        let events = receipt["event_log"].as_array().expect("events").clone();
        events.into_iter().find(|event| event["type"] == "lethe.chain").expect("a place")["counter"].clone()
    };
    assert_eq!((place(&before), place(&after)), (json!(0), json!(0)));
}

#[tokio::test]
async fn a_receipt_comes_with_the_end_of_a_stream_also_where_the_client_went_away() {
    let server = Server::script(Script::Endless);
    let request = post("/v1/chat/completions", chat(&json!({"stream": true})));
    let mut response = begin(tls(&server, b"http/1.1").await, request).await;
    let id = response.headers()["x-receipt-id"].to_str().expect("text").to_owned();
    let mut seen = Vec::new();
    while seen.len() < 2000 {
        let frame = response.frame().await.expect("a frame").expect("bytes");
        seen.extend_from_slice(frame.data_ref().expect("data"));
    }
    assert_eq!(fetch(&server, &id).await.error(), (404, "not_found".to_owned()), "not before the end");
    drop(response);
    assert!(server.engine.abandoned(1).await);
    let reply = fetch(&server, &id).await;
    let receipt = Verified::check(&reply.body, &server.identity.published().keyset).expect("a receipt");
    assert!(receipt.forwarded().is_some());
    assert_eq!(receipt.event::<Usage>(), Ok(None), "it did not end by itself");
    assert_eq!(server.get(&format!("/v1/signature/{id}")).await.status, 404, "and is not signed for");
}

#[tokio::test]
async fn receipts_are_bounded_in_time_and_number() {
    let server = Server::start(Setup { receipts: Receipts { seconds: 2, count: 2 }, ..Setup::default() });
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(server.chat(json!({})).await.header("x-receipt-id").to_owned());
    }
    assert_eq!(fetch(&server, &ids[0]).await.status, 404, "the oldest made room");
    assert_eq!(fetch(&server, &ids[2]).await.status, 200);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(fetch(&server, &ids[2]).await.status, 404, "its time is over");
}

/// The point, uncompressed, whose key signed `text` as a personal message (EIP-191): r, s and the recovery id in hexadecimal.
fn recovered(text: &str, signature: &str) -> Vec<u8> {
    let bytes = hex::decode(signature.strip_prefix("0x").expect("0x")).expect("hexadecimal");
    let (last, first) = bytes.split_last().expect("65 bytes");
    let signature = Signature::from_slice(first).expect("r and s");
    let recovery = RecoveryId::from_byte(last - 27).expect("27 or 28");
    let message = format!("\x19Ethereum Signed Message:\n{}{text}", text.len());
    let key = VerifyingKey::recover_from_prehash(&Keccak256::digest(message), &signature, recovery).expect("a key");
    key.to_sec1_point(false).as_bytes().to_vec()
}

#[tokio::test]
async fn the_older_signatures_are_over_both_hashes_with_the_keys_of_the_keyset() {
    let server = Server::say(&["a"]);
    for stream in [false, true] {
        let body = chat(&json!({"stream": stream}));
        let reply = server.send(post("/v1/chat/completions", body.clone())).await;
        let text = format!("{}:{}", hex::encode(digest(&body).0), hex::encode(digest(&reply.body).0));
        let path = format!("/v1/signature/{}", reply.header("x-receipt-id"));
        let default = server.get(&path).await.json();
        let published = server.identity.published();
        let keys = &published.keyset.receipt_signing_keys;
        let listed = keys.iter().find(|key| key.algo == "lethe.legacy.secp256k1").expect("a key");
        let recovered = recovered(&text, default["signature"].as_str().expect("a signature"));
        assert_eq!(hex::encode(&recovered), listed.public_key, "the keyset has the key");
        let address = hex::encode(&Keccak256::digest(&recovered[1..])[12..]);
        assert_eq!(default["signing_address"], json!(format!("0x{address}")));
        assert_ne!(self::recovered("another", default["signature"].as_str().expect("a signature")), recovered);
        let ecdsa = server.get(&format!("{path}?signing_algo=ecdsa")).await.json();
        assert_eq!((&default["text"], &default["signing_algo"]), (&json!(text), &json!("ecdsa")));
        assert_eq!(default["signature"], ecdsa["signature"], "the same message, the same signature");
        let signed = server.get(&format!("{path}?signing_algo=ed25519")).await.json();
        let key = keys.iter().find(|key| key.algo == "lethe.legacy.ed25519").expect("a key");
        assert_eq!((&signed["signing_address"], &signed["text"]), (&json!(key.public_key), &json!(text)));
        let bytes = |hex: &str| hex::decode(hex).expect("hexadecimal");
        let public = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, bytes(&key.public_key));
        let signature = bytes(signed["signature"].as_str().expect("a signature"));
        assert!(public.verify(text.as_bytes(), &signature).is_ok());
        assert!(public.verify(b"another", &signature).is_err());
    }
    let reply = server.chat(json!({})).await;
    let path = format!("/v1/signature/{}", reply.header("x-receipt-id"));
    assert_eq!(server.get(&format!("{path}?signing_algo=rsa")).await.error(), (400, "invalid_value".to_owned()));
    assert_eq!(server.get("/v1/signature/chatcmpl-0").await.error(), (404, "not_found".to_owned()));
}
