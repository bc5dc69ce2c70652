//! The shapes that OpenAI's clients read.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "helpers of tests")]

use openai::{
    Candidate, ChatChoice, ChatChunk, ChatCompletion, ChatLogprobs, ChatRequest, ChunkChoice, Completion,
    CompletionChoice, CompletionLogprobs, Delta, ErrorBody, FinishReason, Head, Limits, Model, ModelList, TokenLogprob,
    Usage,
};
use serde_json::{json, to_value};

const fn head(object: &'static str) -> Head<'static> {
    Head { id: "chatcmpl-1", object, created: 7, model: "m", system_fingerprint: "fp_1" }
}

fn token(bytes: &[u8]) -> TokenLogprob<'_> {
    TokenLogprob {
        chosen: Candidate { bytes, logprob: -0.5 },
        top: vec![Candidate { bytes, logprob: -0.5 }, Candidate { bytes: b"\xff", logprob: f32::NEG_INFINITY }],
    }
}

#[test]
fn a_chat_answer_has_openais_shape() {
    let answer = ChatCompletion {
        head: head("chat.completion"),
        choices: [ChatChoice::new("hi", Some(ChatLogprobs(vec![token("é".as_bytes())])), FinishReason::Stop)],
        usage: Usage::new(3, 4),
    };
    assert_eq!(
        to_value(&answer).expect("json"),
        json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 7, "model": "m", "system_fingerprint": "fp_1",
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": "hi", "refusal": null},
                "logprobs": {"content": [{
                    "token": "é", "logprob": -0.5, "bytes": [195, 169],
                    "top_logprobs": [
                        {"token": "é", "logprob": -0.5, "bytes": [195, 169]},
                        {"token": "\u{fffd}", "logprob": -9999.0, "bytes": [255]}
                    ]
                }], "refusal": null},
                "finish_reason": "stop"
            }],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
        })
    );
}

#[test]
fn usage_of_a_chunk_is_absent_null_or_given() {
    let chunk = |usage| {
        let delta = Delta { role: None, content: Some("x") };
        let choices = vec![ChunkChoice { index: 0, delta, logprobs: None, finish_reason: None }];
        to_value(ChatChunk { head: head("chat.completion.chunk"), choices, usage }).expect("json")
    };
    assert_eq!(
        chunk(None)["choices"][0],
        json!({"index": 0, "delta": {"content": "x"}, "logprobs": null, "finish_reason": null})
    );
    assert!(chunk(None).get("usage").is_none());
    assert_eq!(chunk(Some(None)).get("usage"), Some(&json!(null)));
    assert_eq!(chunk(Some(Some(Usage::new(1, 2))))["usage"]["total_tokens"], 3);
}

#[test]
fn completion_logprobs_are_parallel_arrays_with_character_offsets() {
    let logprobs =
        CompletionLogprobs { tokens: vec![token("é".as_bytes()), token(b"\xe2"), token(b"\x82\xac")], offset: 5 };
    assert_eq!(logprobs.characters(), 2);
    let choices = vec![CompletionChoice { index: 0, text: "é€", logprobs: Some(logprobs), finish_reason: None }];
    let answer = to_value(Completion { head: head("text_completion"), choices, usage: None }).expect("json");
    assert_eq!(
        answer["choices"][0]["logprobs"],
        json!({
            "tokens": ["é", "bytes:\\xe2", "bytes:\\x82\\xac"],
            "token_logprobs": [-0.5, -0.5, -0.5],
            "top_logprobs": [
                {"é": -0.5, "bytes:\\xff": -9999.0}, {"bytes:\\xe2": -0.5, "bytes:\\xff": -9999.0},
                {"bytes:\\x82\\xac": -0.5, "bytes:\\xff": -9999.0}
            ],
            "text_offset": [5, 6, 7]
        })
    );
}

#[test]
fn a_model_list_has_openais_shape() {
    assert_eq!(
        to_value(ModelList::new(vec![Model::new("a/b", 0, "lethe")])).expect("json"),
        json!({"object": "list", "data": [{"id": "a/b", "object": "model", "created": 0, "owned_by": "lethe"}]})
    );
}

#[test]
fn a_refusal_becomes_openais_error_object() {
    let limits = Limits { max_tokens: 1, max_temperature: 2.0, max_stop: 1, max_top_logprobs: 1 };
    let refusal = ChatRequest::parse(br#"{"model":"m","messages":[]}"#, &limits).expect_err("refused");
    assert_eq!(
        to_value(ErrorBody::from(&refusal)).expect("json"),
        json!({"error": {
            "message": "'messages' must be an array of at least one message", "type": "invalid_request_error",
            "param": "messages", "code": "invalid_value"
        }})
    );
}
