//! What a request gets that cannot be answered.

use std::sync::atomic::Ordering;

use lethe_appliance::inference::{Failure, SubmitError};
use serde_json::json;

use crate::client::post;
use crate::engine::Script;
use crate::server::{MARK, Server, Setup};

#[tokio::test]
async fn a_refused_body_names_the_field_and_quotes_nothing() {
    let server = Server::say(&["a"]);
    let cases = [
        (json!({"temperature": MARK}), "invalid_type", "temperature"),
        (json!({"temperature": 3}), "invalid_value", "temperature"),
        (json!({"messages": [{"role": "user", "content": MARK, "x": 1}]}), "unknown_parameter", "messages[0].x"),
        (json!({"tools": [MARK]}), "unsupported_parameter", "tools"),
        (json!({"messages": null}), "missing_required_parameter", "messages"),
    ];
    for (extra, code, param) in cases {
        let reply = server.chat(extra).await;
        assert_eq!(reply.error(), (400, code.to_owned()));
        assert_eq!(reply.json()["error"]["param"], param);
        assert_eq!(reply.json()["error"]["type"], "invalid_request_error");
        assert!(!reply.json().to_string().contains("MARK"));
    }
    for body in [MARK, "", "[", "{\"model\": \"MARK\"", "\u{0}"] {
        let reply = server.send(post("/v1/completions", body.to_owned())).await;
        assert_eq!(reply.error(), (400, "invalid_json".to_owned()), "{body}");
        assert!(!reply.json().to_string().contains("MARK"));
    }
    assert!(server.engine.seen.lock().unwrap().is_empty(), "nothing of it reached the engine");
}

#[tokio::test]
async fn an_unknown_model_is_not_found() {
    let server = Server::say(&["a"]);
    for reply in [server.chat(json!({"model": MARK})).await, server.completion(json!({"model": MARK})).await] {
        assert_eq!(reply.error(), (404, "model_not_found".to_owned()));
        assert_eq!(reply.json()["error"]["param"], "model");
        assert!(!reply.json().to_string().contains("MARK"));
    }
}

#[tokio::test]
async fn messages_that_the_template_refuses_are_the_clients_fault() {
    let server = Server::say(&["a"]);
    let reply = server.chat(json!({"messages": [{"role": "assistant", "content": MARK}]})).await;
    assert_eq!(reply.error(), (400, "chat_template_refused".to_owned()));
    let message = reply.json()["error"]["message"].to_string();
    assert!(message.contains("begin with a question") && !message.contains("MARK"), "{message}");
}

#[tokio::test]
async fn a_model_without_a_template_completes_and_does_not_chat() {
    let server = Server::start(Setup { template: false, ..Setup::default() });
    assert_eq!(server.chat(json!({})).await.error(), (400, "no_chat_template".to_owned()));
    assert_eq!(server.completion(json!({})).await.status, 200);
}

#[tokio::test]
async fn a_prompt_beyond_the_context_is_told_both_numbers() {
    let failure = Failure::ContextExceeded { prompt_tokens: 5000, context_tokens: 4096 };
    let server = Server::script(Script::Fail(failure));
    for stream in [false, true] {
        let reply = server.chat(json!({"stream": stream})).await;
        assert_eq!(reply.error(), (400, "context_length_exceeded".to_owned()));
        let message = reply.json()["error"]["message"].to_string();
        assert!(message.contains("5000") && message.contains("4096"), "{message}");
    }
}

#[tokio::test]
async fn a_biased_token_outside_the_vocabulary_is_named() {
    let server = Server::script(Script::Fail(Failure::NoSuchToken { token: 9000, vocabulary: 1000 }));
    let reply = server.chat(json!({"logit_bias": {"9000": 1}})).await;
    assert_eq!(reply.error(), (400, "invalid_value".to_owned()));
    assert_eq!(reply.json()["error"]["param"], "logit_bias.9000");
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back() {
    let server = Server::script(Script::Refuse(SubmitError::QueueFull { retry_after_s: 7 }));
    let reply = server.chat(json!({})).await;
    assert_eq!((reply.error(), reply.header("retry-after")), ((429, "queue_full".to_owned()), "7"));
    assert_eq!(reply.json()["error"]["type"], "rate_limit_error");
}

#[tokio::test]
async fn an_engine_that_is_not_ready_is_said_so() {
    let server = Server::script(Script::Refuse(SubmitError::NotReady));
    let reply = server.chat(json!({})).await;
    assert_eq!((reply.error(), reply.header("retry-after")), ((503, "not_ready".to_owned()), "10"));
    let server = Server::say(&["a"]);
    server.engine.ready.store(false, Ordering::SeqCst);
    assert_eq!(server.chat(json!({})).await.error(), (503, "not_ready".to_owned()));
    server.engine.ready.store(true, Ordering::SeqCst);
    assert_eq!(server.chat(json!({})).await.status, 200);
}

#[tokio::test]
async fn an_engine_that_fails_before_the_answer_is_a_server_error() {
    for (script, expected) in [
        (Script::Fail(Failure::Engine), (500, "engine_failed")),
        (Script::Fail(Failure::Timeout), (503, "time_budget_exceeded")),
    ] {
        let server = Server::script(script);
        for stream in [false, true] {
            assert_eq!(server.chat(json!({"stream": stream})).await.error(), (expected.0, expected.1.to_owned()));
        }
    }
    for script in [Script::FailMidway, Script::Vanish] {
        assert_eq!(Server::script(script).chat(json!({})).await.error(), (500, "engine_failed".to_owned()));
    }
}

#[tokio::test]
async fn a_failure_in_the_middle_of_a_stream_is_an_error_event_without_done() {
    for script in [Script::FailMidway, Script::Vanish] {
        let server = Server::script(script);
        for reply in [server.chat(json!({"stream": true})).await, server.completion(json!({"stream": true})).await] {
            assert_eq!(reply.status, 200);
            let events = reply.events();
            let last: serde_json::Value = serde_json::from_str(events.last().expect("events")).expect("JSON");
            assert_eq!(last["error"]["code"], "engine_failed");
            assert!(events.iter().any(|event| event.contains("begun")));
            assert!(events.iter().all(|event| event != "[DONE]"));
        }
    }
}
