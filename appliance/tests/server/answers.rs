//! What a good request gets.

use lethe_appliance::inference::Finish;
use protocol::{Nonce, Report};
use serde_json::{Value, json};

use crate::client::{chat, get, post};
use crate::engine::Script;
use crate::server::{ALIAS, MARK, MODEL, Server};

fn chunks(events: &[String]) -> Vec<Value> {
    let (last, chunks) = events.split_last().expect("events");
    assert_eq!(last, "[DONE]");
    chunks.iter().map(|chunk| serde_json::from_str(chunk).expect("JSON")).collect()
}

#[tokio::test]
async fn a_chat_is_answered_in_one_piece() {
    let server = Server::say(&["Grü", "ß ", "dich 🌍"]);
    let reply = server.chat(json!({})).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), "application/json");
    let json = reply.json();
    assert_eq!(json["object"], "chat.completion");
    assert_eq!(json["model"], MODEL);
    let id = json["id"].as_str().expect("an id").strip_prefix("chatcmpl-").expect("a chat completion").to_owned();
    assert!(id.len() == 32 && id != reply.header("x-request-id"), "the logged id finds no receipt");
    assert_eq!(json["choices"][0]["message"]["content"], "Grüß dich 🌍");
    assert_eq!(json["choices"][0]["finish_reason"], "stop");
    assert_eq!(json["usage"], json!({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}));
    assert!(json["created"].as_u64().expect("seconds") > 0);
    assert!(json["system_fingerprint"].as_str().expect("text").starts_with("fp_"));
}

#[tokio::test]
async fn a_streamed_chat_begins_with_the_role_and_ends_with_done() {
    let server = Server::say(&["Grü", "", "ß"]);
    let reply = server.chat(json!({"stream": true})).await;
    assert_eq!(reply.header("content-type"), "text/event-stream; charset=utf-8");
    let chunks = chunks(&reply.events());
    let choice = |index: usize| chunks[index]["choices"][0].clone();
    assert_eq!(chunks.len(), 4);
    assert_eq!(choice(0)["delta"], json!({"role": "assistant", "content": ""}));
    assert_eq!(choice(1)["delta"], json!({"content": "Grü"}));
    assert_eq!(choice(2)["delta"], json!({"content": "ß"}));
    assert_eq!(choice(3)["delta"], json!({}));
    assert_eq!(choice(3)["finish_reason"], "stop");
    for chunk in &chunks {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["id"], chunks[0]["id"]);
        assert!(chunk.get("usage").is_none());
    }
}

#[tokio::test]
async fn usage_comes_in_a_chunk_of_its_own_when_asked_for() {
    let server = Server::say(&["a"]);
    for (reply, object) in [
        (
            server.chat(json!({"stream": true, "stream_options": {"include_usage": true}})).await,
            "chat.completion.chunk",
        ),
        (
            server.completion(json!({"stream": true, "stream_options": {"include_usage": true}})).await,
            "text_completion",
        ),
    ] {
        let chunks = chunks(&reply.events());
        let (last, others) = chunks.split_last().expect("chunks");
        assert_eq!(last["choices"], json!([]));
        assert_eq!(last["object"], object);
        assert_eq!(last["usage"]["total_tokens"], 5);
        assert!(others.iter().all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some()));
    }
}

#[tokio::test]
async fn a_completion_is_answered_whole_and_streamed() {
    let server = Server::say(&["Hel", "lo"]);
    let json = server.completion(json!({"model": ALIAS})).await.json();
    assert_eq!((&json["object"], &json["model"]), (&json!("text_completion"), &json!(ALIAS)));
    assert_eq!(json["choices"], json!([{"index": 0, "text": "Hello", "logprobs": null, "finish_reason": "stop"}]));
    assert_eq!(json["usage"]["completion_tokens"], 2);

    let chunks = chunks(&server.completion(json!({"stream": true})).await.events());
    let texts: Vec<&str> = chunks.iter().map(|chunk| chunk["choices"][0]["text"].as_str().expect("text")).collect();
    assert_eq!(texts, ["Hel", "lo", ""]);
    assert_eq!(chunks[2]["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn log_probabilities_are_given_when_asked_for() {
    let server = Server::script(Script::SayWithLogprobs);
    let json = server.chat(json!({"logprobs": true, "top_logprobs": 2})).await.json();
    let entry = &json["choices"][0]["logprobs"]["content"][0];
    assert_eq!((&entry["token"], &entry["bytes"]), (&json!("é"), &json!([195, 169])));
    assert_eq!(entry["top_logprobs"][1]["logprob"], -9999.0);
    let chunks = chunks(&server.chat(json!({"logprobs": true, "stream": true})).await.events());
    assert_eq!(chunks[1]["choices"][0]["logprobs"]["content"][0]["token"], "é");
    let json = server.completion(json!({"logprobs": 2})).await.json();
    assert_eq!(json["choices"][0]["logprobs"]["text_offset"], json!([0]));
    assert!(server.chat(json!({})).await.json()["choices"][0]["logprobs"].is_null());
}

#[tokio::test]
async fn length_and_time_end_an_answer_with_length() {
    for finish in [Finish::Length, Finish::Time] {
        let server = Server::script(Script::Say(vec!["a"], finish));
        assert_eq!(server.chat(json!({})).await.json()["choices"][0]["finish_reason"], "length");
    }
}

#[tokio::test]
async fn a_request_reaches_the_engine_as_it_was_asked() {
    let server = Server::say(&["a"]);
    server
        .chat(json!({
            "messages": [{"role": "developer", "content": "d"}, {"role": "user", "content": "ü"}],
            "max_completion_tokens": 9, "temperature": 0, "top_p": 0.5, "top_k": 3, "min_p": 0.1, "seed": 11,
            "presence_penalty": 1, "frequency_penalty": -1, "repeat_penalty": 1.5, "logit_bias": {"7": -3},
            "stop": ["x", "y"], "ignore_eos": true
        }))
        .await;
    server.completion(json!({"prompt": "raw <|im_start|>"})).await;
    server.completion(json!({})).await;
    let seen = server.engine.seen.lock().unwrap();
    assert_eq!(
        seen[0].prompt,
        json!([{"role": "system", "content": "d"}, {"role": "user", "content": "ü"}]).to_string()
    );
    assert!(seen[0].parse_special && seen[0].ignore_eos);
    assert_eq!((seen[0].max_tokens, &seen[0].stop), (9, &vec!["x".to_owned(), "y".to_owned()]));
    let sampling = &seen[0].sampling;
    assert_eq!((sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p), (0.0, 0.5, 3, 0.1));
    assert_eq!((sampling.presence_penalty, sampling.frequency_penalty, sampling.repeat_penalty), (1.0, -1.0, 1.5));
    assert_eq!((sampling.seed, &sampling.logit_bias, sampling.logprobs), (11, &vec![(7, -3.0)], None));
    assert_eq!(seen[1].prompt, "raw <|im_start|>");
    assert!(!seen[1].parse_special && !seen[1].ignore_eos);
    assert_ne!(seen[1].sampling.seed, seen[2].sampling.seed, "a seed is drawn at random");
}

#[tokio::test]
async fn both_versions_of_http_and_the_unix_socket_answer_alike() {
    let server = Server::say(&["Hel", "lo"]);
    let request = || post("/v1/chat/completions", chat(&json!({})));
    for reply in [server.send(request()).await, server.send_http2(request()).await, server.send_unix(request()).await] {
        assert_eq!(reply.json()["choices"][0]["message"]["content"], "Hello");
    }
    let request = || post("/v1/chat/completions", chat(&json!({"stream": true})));
    for reply in [server.send(request()).await, server.send_http2(request()).await, server.send_unix(request()).await] {
        assert_eq!(chunks(&reply.events()).len(), 4);
    }
}

#[tokio::test]
async fn models_are_listed_and_found_by_name_and_alias() {
    let server = Server::say(&[]);
    let list = server.get("/v1/models").await.json();
    let ids: Vec<&Value> = list["data"].as_array().expect("data").iter().map(|model| &model["id"]).collect();
    assert_eq!(ids, [MODEL, ALIAS]);
    for path in ["/v1/models/Org/Model-1.5", "/v1/models/Org%2FModel-1.5"] {
        assert_eq!(server.get(path).await.json()["id"], MODEL);
    }
    assert_eq!(server.get("/v1/models/small").await.json()["object"], "model");
    for path in ["/v1/models/Org", "/v1/models/", "/v1/models/Org/Model-1.5/", "/v1/models/SMALL"] {
        assert_eq!(server.get(path).await.error(), (404, "model_not_found".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn health_says_what_is_true() {
    let server = Server::say(&[]);
    let reply = server.get("/health").await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.json(),
        json!({"live": true, "ready": true, "platform": "none", "host_mode": true, "insecure_host": false})
    );
    server.engine.ready.store(false, std::sync::atomic::Ordering::SeqCst);
    let reply = server.get("/health").await;
    assert_eq!(reply.status, 503);
    assert_eq!((&reply.json()["live"], &reply.json()["ready"]), (&json!(true), &json!(false)));
}

#[tokio::test]
async fn attestation_binds_the_nonce_and_the_tls_key() {
    let server = Server::say(&[]);
    let nonce = Nonce::from_bytes([7; 32]);
    let reply = server.get(&format!("/v1/aci/attestation?nonce={nonce}")).await;
    let report: Report = serde_json::from_slice(&reply.body).expect("report");
    assert_eq!(report.check(Some(&nonce)), Ok(()));
    assert_eq!(report.attestation.workload_keyset.tls_public_keys[0].spki_sha256, *server.identity.tls().spki_sha256());
    assert_eq!(reply.json()["attestation"]["tee_type"], "none");
    assert_eq!(reply.header("x-aci-keyset-digest"), report.workload_keyset_digest.to_string());
    let unasked: Report = serde_json::from_slice(&server.get("/v1/aci/attestation").await.body).expect("report");
    assert_eq!(unasked.check(None), Ok(()));
    for query in ["nonce=", "nonce=00", &format!("nonce={}", "AB".repeat(32)), &format!("nonce={nonce}&nonce={nonce}")]
    {
        let reply = server.get(&format!("/v1/aci/attestation?{query}")).await;
        assert_eq!(reply.error(), (400, "invalid_value".to_owned()), "{query}");
        assert_eq!(reply.json()["error"]["type"], "invalid_request_error");
    }
    assert_eq!(server.get("/v1/aci/attestation?x=1").await.error(), (400, "unknown_parameter".to_owned()));
}

#[tokio::test]
async fn every_answer_has_the_common_headers_and_an_id_of_its_own() {
    let server = Server::say(&["a"]);
    let replies = [
        server.chat(json!({})).await,
        server.chat(json!({"stream": true})).await,
        server.chat(json!({"foo": 1})).await,
        server.get("/health").await,
        server.get("/nothing").await,
        server.send(get("/v1/chat/completions")).await,
    ];
    let mut ids = std::collections::HashSet::new();
    for reply in &replies {
        assert_eq!(reply.header("x-aci-version"), "aci/1");
        assert_eq!(reply.header("x-aci-keyset-digest"), server.identity.keyset_digest().to_string());
        assert_eq!(reply.header("cache-control"), "no-store");
        let id = reply.header("x-request-id");
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        assert!(ids.insert(id.to_owned()));
    }
}

#[tokio::test]
async fn an_event_shows_id_route_and_status_and_nothing_of_the_request() {
    let server = Server::say(&[MARK]);
    let body = json!({"messages": [{"role": "user", "content": MARK}], "user": MARK, "stop": [MARK, MARK]});
    let good = server.chat(body.clone()).await;
    assert_eq!(good.status, 200);
    let line = server.events.line(&[good.header("x-request-id")]).await;
    assert!(line.contains("request ") && line.contains("route=chat status=200 outcome=complete ms="), "{line}");

    let mut bad = body;
    bad[MARK] = json!(1);
    let bad = server.chat(bad).await;
    assert_eq!(bad.status, 400);
    server.events.line(&[bad.header("x-request-id"), "route=chat status=400"]).await;
    let lost = server.get(&format!("/{MARK}?{MARK}")).await;
    server.events.line(&[lost.header("x-request-id"), "route=none status=404"]).await;
    let model = server.get(&format!("/v1/models/{MARK}")).await;
    server.events.line(&[model.header("x-request-id"), "route=model status=404"]).await;
    assert!(server.events.lines().iter().all(|line| !line.contains("MARK")));
}

#[tokio::test]
async fn a_client_of_aci_may_demand_what_this_server_is_and_no_session_behind_it() {
    let server = Server::say(&["a"]);
    assert_eq!(server.chat(json!({"provider": {"aci_verified": true}})).await.status, 200);
    let refused = server.chat(json!({"provider": {"aci_session_ids": ["session"]}})).await;
    assert_eq!(refused.error(), (412, "session_not_accepted".to_owned()));
    assert_eq!(refused.json()["error"]["type"], "session_not_accepted");
    assert_eq!(
        server.chat(json!({"provider": {"aci_tee": true}})).await.error(),
        (400, "unknown_parameter".to_owned())
    );
}
