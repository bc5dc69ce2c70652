//! Vectors of the translation.

use super::*;
use crate::translate::{Ended, StreamTranslator};

fn body(request: &Value) -> Result<Value, Refused> {
    super::request(request.to_string().as_bytes()).map(|(chat, _)| chat.body())
}

/// A minimal request with more members.
fn with(more: Value) -> Value {
    let mut request = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
    for (name, value) in more.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}

#[test]
fn a_request_becomes_a_chat_request() {
    let request = with(json!({
        "system": [{"type": "text", "text": "Be short.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "user", "content": "c"},
            {"role": "assistant", "content": [{"type": "text", "text": "d", "citations": null}]},
            {"role": "user", "content": "e"},
        ],
        "temperature": 0.5, "top_p": 0.9, "top_k": 40, "stop_sequences": ["x"], "stream": true,
        "metadata": {"user_id": "secret"}, "tools": [], "thinking": {"type": "disabled"},
    }));
    let text = |text: &str| json!({"type": "text", "text": text});
    let expected = json!({
        "model": "m", "max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "stop": ["x"],
        "messages": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": [text("a"), text("b"), text("c")]},
            {"role": "assistant", "content": "d"},
            {"role": "user", "content": "e"},
        ],
        "stream": true, "stream_options": {"include_usage": true},
    });
    assert_eq!(body(&request).unwrap(), expected);
    let plain = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(body(&plain).unwrap(), plain);
}

#[test]
fn what_would_change_the_answer_is_refused_by_name() {
    let image = json!({"type": "image", "source": {"type": "url", "url": "https://a"}});
    let result = json!({"type": "tool_result", "tool_use_id": "t", "content": "42"});
    for (more, param, code) in [
        (json!({"tools": [{"name": "f", "input_schema": {}}]}), "tools", "unsupported_parameter"),
        (json!({"tool_choice": {"type": "any"}}), "tool_choice", "unsupported_parameter"),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 9}}), "thinking", "unsupported_parameter"),
        (json!({"output_config": {"effort": "low"}}), "output_config", "unsupported_parameter"),
        (
            json!({"messages": [{"role": "user", "content": [image]}]}),
            "messages.0.content.0.type",
            "unsupported_parameter",
        ),
        (
            json!({"messages": [{"role": "user", "content": [result]}]}),
            "messages.0.content.0.type",
            "unsupported_parameter",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "new"}]}]}),
            "messages.0.content.0.type",
            "unsupported_parameter",
        ),
        (json!({"messages": [{"role": "assistant", "content": "The answer is"}]}), "messages", "unsupported_parameter"),
        (json!({"messages": [{"role": "system", "content": "a"}]}), "messages.0.role", "unsupported_parameter"),
        (json!({"messages": [{"role": "user", "content": "a", "name": "b"}]}), "messages.0.name", "unknown_parameter"),
        (json!({"messages": "hi"}), "messages", "invalid_type"),
        (json!({"max_tokens": null}), "max_tokens", "missing_required_parameter"),
        (json!({"max_tokens": -1}), "max_tokens", "invalid_type"),
        (json!({"stop_sequences": [1]}), "stop_sequences.0", "invalid_type"),
        (json!({"of_the_future": 1}), "of_the_future", "unknown_parameter"),
    ] {
        let refused = body(&with(more)).unwrap_err();
        assert_eq!((refused.param(), refused.code()), (Some(param), code));
    }
    assert_eq!(super::request(b"{").err(), Some(Refused::NotJson));
    assert!(super::request(b"[]").is_err());
}

fn answer() -> Messages {
    super::request(with(json!({})).to_string().as_bytes()).unwrap().1
}

#[test]
fn an_answer_becomes_a_message() {
    let completion = json!({
        "id": "chatcmpl-1", "created": 5, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    });
    let expected = json!({
        "id": "chatcmpl-1", "type": "message", "role": "assistant", "model": "m",
        "content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {"input_tokens": 3, "output_tokens": 2},
    });
    assert_eq!(answer().whole(&serde_json::from_value(completion.clone()).unwrap()), expected);
    let mut cut = completion;
    cut["choices"][0]["finish_reason"] = "length".into();
    assert_eq!(answer().whole(&serde_json::from_value(cut).unwrap())["stop_reason"], "max_tokens");
}

const STREAM: &str = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"},\"finish_reason\":null}]}\n\n\
    data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"},\"finish_reason\":null}]}\n\n\
    data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo\"},\"finish_reason\":null}]}\n\n\
    data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n\
    data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n\
    data: [DONE]\n\n";

#[test]
fn a_stream_becomes_events_however_it_is_cut() {
    let expected = [
        (
            "message_start",
            json!({"type": "message_start", "message": {
                "id": "c", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": null,
                "stop_sequence": null, "usage": {"input_tokens": 0, "output_tokens": 0},
            }}),
        ),
        (
            "content_block_start",
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        ),
        ("ping", json!({"type": "ping"})),
        (
            "content_block_delta",
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}}),
        ),
        (
            "content_block_delta",
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}}),
        ),
        ("content_block_stop", json!({"type": "content_block_stop", "index": 0})),
        (
            "message_delta",
            json!({"type": "message_delta", "delta": {"stop_reason": "max_tokens", "stop_sequence": null},
            "usage": {"input_tokens": 3, "output_tokens": 2}}),
        ),
        ("message_stop", json!({"type": "message_stop"})),
    ];
    let expected: String = expected.into_iter().map(|(name, data)| Event { name, data }.frame()).collect();
    for size in [1, 7, STREAM.len()] {
        let mut translator = StreamTranslator::new(Box::new(answer()));
        let seen: String = STREAM.as_bytes().chunks(size).map(|chunk| translator.push(chunk)).collect();
        assert_eq!(seen + &translator.close(None), expected);
        assert_eq!(translator.ended(), Ended::Well);
    }
}

#[test]
fn a_stream_that_fails_ends_with_an_error_event_and_not_with_message_stop() {
    let without_reason = STREAM.replace("\"length\"", "null");
    let error = "data: {\"error\":{\"message\":\"no more\",\"type\":\"t\"}}\n\ndata: [DONE]\n\n";
    let cut = STREAM.split("data: [DONE]").next().unwrap();
    for (stream, says) in [
        (cut, "cut off"),
        (without_reason.as_str(), "cut off"),
        (
            &format!(
                "{}{error}",
                &STREAM[..STREAM.find("data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{}").unwrap()]
            ),
            "no more",
        ),
        ("data: nonsense\n\n", "not a chat completion"),
        ("", "cut off"),
    ] {
        let mut translator = StreamTranslator::new(Box::new(answer()));
        let seen = translator.push(stream.as_bytes()) + &translator.close(None);
        let last = seen.trim_end().rsplit("\n\n").next().unwrap();
        assert!(last.starts_with("event: error\n") && last.contains(says), "{seen}");
        assert!(!seen.contains("message_stop"));
        assert_eq!(translator.ended(), Ended::Failed);
    }
}

#[test]
fn errors_have_anthropics_shape() {
    for (status, kind) in
        [(400, "invalid_request_error"), (401, "authentication_error"), (429, "rate_limit_error"), (500, "api_error")]
    {
        let body = json!({"error": {"message": "why", "type": "t", "param": null, "code": "c"}}).to_string();
        let error = answer().error(&Problem::of_answer(status, body.as_bytes()));
        assert_eq!(error, json!({"type": "error", "error": {"type": kind, "message": "why"}}));
    }
    assert_eq!(answer().error(&Problem::of_answer(500, b"<html>"))["error"]["message"], "the appliance gave no reason");
}
