//! What a request may say: each refusal beside the neighbour that is accepted.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "helpers of tests")]

use openai::{ChatRequest, CompletionRequest, Limits, MAX_LOGIT_BIAS, Refusal, Role, Stream};
use serde_json::{Value, json};

const LIMITS: Limits = Limits { max_tokens: 100, max_temperature: 2.0, max_stop: 4, max_top_logprobs: 20 };

/// A chat body with the members of `extra` added.
fn chat_body(extra: &Value) -> Vec<u8> {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    for (name, value) in extra.as_object().expect("object") {
        body[name] = value.clone();
    }
    body.to_string().into_bytes()
}

fn chat(extra: Value) -> Result<ChatRequest, Refusal> {
    ChatRequest::parse(&chat_body(&extra), &LIMITS)
}

fn completion(extra: Value) -> Result<CompletionRequest, Refusal> {
    let mut body = json!({"model": "m", "prompt": "hi"});
    for (name, value) in extra.as_object().expect("object") {
        body[name] = value.clone();
    }
    CompletionRequest::parse(body.to_string().as_bytes(), &LIMITS)
}

fn messages(messages: Value) -> Result<ChatRequest, Refusal> {
    ChatRequest::parse(json!({"model": "m", "messages": messages}).to_string().as_bytes(), &LIMITS)
}

/// Asserts that a refusal names `param` with `code` and quotes nothing of the value `MARK`.
fn names<T: std::fmt::Debug>(result: Result<T, Refusal>, param: &str, code: &str) {
    let refusal = result.expect_err("refused");
    assert_eq!((refusal.param(), refusal.code()), (Some(param), code), "{refusal}");
    assert!(!refusal.to_string().contains("MARK"), "{refusal}");
    assert!(refusal.to_string().contains(param), "{refusal}");
}

#[test]
fn a_plain_request_has_the_documented_defaults() {
    let parameters = chat(json!({})).expect("accepted").parameters;
    assert_eq!(parameters.max_tokens, 100);
    assert_eq!((parameters.temperature, parameters.top_p, parameters.top_k, parameters.min_p), (1.0, 1.0, 0, 0.0));
    assert_eq!((parameters.presence_penalty, parameters.frequency_penalty), (0.0, 0.0));
    assert_eq!(parameters.repeat_penalty, 1.0);
    assert_eq!((parameters.seed, parameters.logprobs, parameters.stream), (None, None, None));
    assert!(parameters.logit_bias.is_empty() && parameters.stop.is_empty() && !parameters.ignore_eos);
}

#[test]
fn every_parameter_is_read() {
    let request = chat(json!({
        "max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "seed": 42,
        "stop": ["a", "b"], "presence_penalty": 1, "frequency_penalty": -0.5, "repeat_penalty": 1.1,
        "logit_bias": {"5": -100, "17": 2.5}, "n": 1, "logprobs": true, "top_logprobs": 3, "stream": true,
        "stream_options": {"include_usage": true}, "ignore_eos": true
    }));
    let parameters = request.expect("accepted").parameters;
    assert_eq!((parameters.max_tokens, parameters.temperature, parameters.top_p), (7, 0.5, 0.9));
    assert_eq!((parameters.top_k, parameters.min_p, parameters.seed), (40, 0.05, Some(42)));
    assert_eq!(parameters.stop.iter().map(|stop| stop.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((parameters.presence_penalty, parameters.frequency_penalty), (1.0, -0.5));
    assert_eq!(parameters.repeat_penalty, 1.1);
    let mut bias = parameters.logit_bias.clone();
    bias.sort_by_key(|(token, _)| *token);
    assert_eq!(bias, [(5, -100.0), (17, 2.5)]);
    assert_eq!(parameters.logprobs, Some(3));
    assert_eq!(parameters.stream, Some(Stream { include_usage: true }));
    assert!(parameters.ignore_eos);
}

#[test]
fn fields_without_effect_are_accepted_and_checked() {
    let request = chat(json!({
        "user": "u", "metadata": {"a": "b"}, "store": false, "service_tier": "auto", "safety_identifier": "s",
        "prompt_cache_key": "k", "parallel_tool_calls": true, "tool_choice": "none",
        "response_format": {"type": "text"}
    }));
    assert!(request.is_ok());
    names(chat(json!({"user": 1})), "user", "invalid_type");
    names(chat(json!({"user": "MARK".repeat(200)})), "user", "invalid_value");
    names(chat(json!({"metadata": {"a": 1}})), "metadata.a", "invalid_type");
    names(chat(json!({"metadata": {"a": {"b": "MARK"}}})), "metadata.a", "invalid_type");
    names(chat(json!({"store": true})), "store", "unsupported_value");
    names(chat(json!({"service_tier": "MARK"})), "service_tier", "unsupported_value");
    names(chat(json!({"parallel_tool_calls": "yes"})), "parallel_tool_calls", "invalid_type");
    let crowded: Value =
        (0..17).map(|index| (format!("k{index}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    names(chat(json!({"metadata": crowded})), "metadata", "invalid_value");
}

#[test]
fn acis_constraints_are_kept_or_refused() {
    for provider in
        [json!({}), json!({"aci_verified": true}), json!({"aci_verified": false}), json!({"aci_session_ids": null})]
    {
        assert!(chat(json!({"provider": provider})).is_ok(), "{provider}");
    }
    for sessions in [json!([]), json!(["MARK"])] {
        let asked = json!({"provider": {"aci_verified": true, "aci_session_ids": sessions}});
        names(chat(asked), "provider.aci_session_ids", "session_not_accepted");
    }
    names(chat(json!({"provider": {"aci_session_ids": "MARK"}})), "provider.aci_session_ids", "invalid_type");
    names(chat(json!({"provider": {"aci_verified": "MARK"}})), "provider.aci_verified", "invalid_type");
    names(chat(json!({"provider": {"aci_tee": "MARK"}})), "provider.aci_tee", "unknown_parameter");
    names(chat(json!({"provider": {"order": ["MARK"]}})), "provider.order", "unknown_parameter");
    names(chat(json!({"provider": true})), "provider", "invalid_type");
}

#[test]
fn unsupported_fields_are_named_and_their_harmless_forms_accepted() {
    for name in ["tools", "functions", "function_call", "modalities", "audio", "prediction", "reasoning_effort"] {
        names(chat(json!({name: ["MARK"]})), name, "unsupported_parameter");
        assert!(chat(json!({name: null})).is_ok(), "{name}");
    }
    names(chat(json!({"tool_choice": "auto"})), "tool_choice", "unsupported_value");
    names(chat(json!({"response_format": {"type": "json_object"}})), "response_format", "unsupported_value");
    names(chat(json!({"response_format": {"type": "text", "x": 1}})), "response_format.x", "unknown_parameter");
    names(completion(json!({"suffix": "MARK"})), "suffix", "unsupported_parameter");
    names(completion(json!({"echo": true})), "echo", "unsupported_value");
    names(completion(json!({"best_of": 2})), "best_of", "unsupported_value");
    assert!(completion(json!({"echo": false, "best_of": 1, "suffix": null})).is_ok());
    names(chat(json!({"n": 2})), "n", "unsupported_value");
    names(chat(json!({"n": 0})), "n", "invalid_value");
    assert!(chat(json!({"n": 1})).is_ok());
}

#[test]
fn unknown_fields_are_named_with_their_path_at_every_level() {
    names(chat(json!({"foo": "MARK"})), "foo", "unknown_parameter");
    names(chat(json!({"foo": null})), "foo", "unknown_parameter");
    names(chat(json!({"prompt": "MARK"})), "prompt", "unknown_parameter");
    names(completion(json!({"messages": []})), "messages", "unknown_parameter");
    names(completion(json!({"top_logprobs": 1})), "top_logprobs", "unknown_parameter");
    names(messages(json!([{"role": "user", "content": "x", "foo": 1}])), "messages[0].foo", "unknown_parameter");
    names(
        messages(
            json!([{"role": "user", "content": "x"}, {"role": "user", "content": [{"type": "text", "text": "x", "y": 1}]}]),
        ),
        "messages[1].content[0].y",
        "unknown_parameter",
    );
    names(
        chat(json!({"stream": true, "stream_options": {"include_usage": true, "z": 1}})),
        "stream_options.z",
        "unknown_parameter",
    );
    names(chat(json!({"MARK <b>": 1})), "?", "unknown_parameter");
}

#[test]
fn wrong_types_and_ranges_are_named() {
    let bad = [
        ("max_tokens", json!(0), json!(1)),
        ("max_tokens", json!(101), json!(100)),
        ("max_tokens", json!(-1), json!(1)),
        ("max_completion_tokens", json!(101), json!(100)),
        ("temperature", json!(-0.1), json!(0)),
        ("temperature", json!(2.01), json!(2)),
        ("top_p", json!(1.1), json!(1.0)),
        ("top_k", json!(-1), json!(0)),
        ("min_p", json!(1.5), json!(1)),
        ("presence_penalty", json!(2.5), json!(2)),
        ("frequency_penalty", json!(-2.5), json!(-2)),
        ("repeat_penalty", json!(0), json!(0.1)),
        ("stop", json!(["a", "b", "c", "d", "e"]), json!(["a", "b", "c", "d"])),
        ("stop", json!("MARK".repeat(200)), json!("x")),
    ];
    for (name, refused, accepted) in bad {
        names(chat(json!({name: refused})), name, "invalid_value");
        assert!(chat(json!({name: accepted})).is_ok(), "{name}");
    }
    let wrong = [
        ("max_tokens", json!("MARK")),
        ("max_tokens", json!(1.5)),
        ("temperature", json!("MARK")),
        ("top_p", json!([])),
        ("top_k", json!(1.5)),
        ("seed", json!(1.5)),
        ("seed", json!("MARK")),
        ("stop", json!(1)),
        ("logit_bias", json!([])),
        ("stream", json!("true")),
        ("ignore_eos", json!(1)),
        ("logprobs", json!(1)),
        ("n", json!("1")),
        ("model", json!(["MARK"])),
        ("messages", json!("MARK")),
        ("stream_options", json!(true)),
    ];
    for (name, value) in wrong {
        let extra = if name == "stream_options" { json!({"stream": true, name: value}) } else { json!({name: value}) };
        names(chat(extra), name, "invalid_type");
    }
    names(chat(json!({"stop": [""]})), "stop[0]", "invalid_value");
    names(chat(json!({"stop": ["a", 1]})), "stop[1]", "invalid_type");
    names(chat(json!({"model": "m".repeat(257)})), "model", "invalid_value");
    names(chat(json!({"seed": 1e30})), "seed", "invalid_type");
    assert_eq!(chat(json!({"seed": -1})).expect("accepted").parameters.seed, Some(u64::MAX));
    assert_eq!(chat(json!({"seed": u64::MAX})).expect("accepted").parameters.seed, Some(u64::MAX));
}

#[test]
fn logit_bias_takes_token_ids_in_one_spelling() {
    assert!(chat(json!({"logit_bias": {"0": 100, "4294967295": -100}})).is_ok());
    names(chat(json!({"logit_bias": {"abc": 1}})), "logit_bias.abc", "invalid_value");
    names(chat(json!({"logit_bias": {"007": 1}})), "logit_bias.007", "invalid_value");
    names(chat(json!({"logit_bias": {"-1": 1}})), "logit_bias.-1", "invalid_value");
    names(chat(json!({"logit_bias": {"4294967296": 1}})), "logit_bias.4294967296", "invalid_value");
    names(chat(json!({"logit_bias": {"5": 101}})), "logit_bias.5", "invalid_value");
    names(chat(json!({"logit_bias": {"5": "MARK"}})), "logit_bias.5", "invalid_type");
    let of = |count: usize| -> Value {
        (0..count).map(|token| (token.to_string(), json!(1))).collect::<serde_json::Map<_, _>>().into()
    };
    assert!(chat(json!({"logit_bias": of(MAX_LOGIT_BIAS)})).is_ok());
    names(chat(json!({"logit_bias": of(MAX_LOGIT_BIAS + 1)})), "logit_bias", "invalid_value");
}

#[test]
fn fields_that_contradict_each_other_are_refused() {
    names(chat(json!({"max_tokens": 5, "max_completion_tokens": 5})), "max_tokens", "invalid_value");
    names(chat(json!({"top_logprobs": 2})), "top_logprobs", "invalid_value");
    names(chat(json!({"top_logprobs": 2, "logprobs": false})), "top_logprobs", "invalid_value");
    names(chat(json!({"top_logprobs": 21, "logprobs": true})), "top_logprobs", "invalid_value");
    assert_eq!(chat(json!({"logprobs": true})).expect("accepted").parameters.logprobs, Some(0));
    assert_eq!(chat(json!({"logprobs": false})).expect("accepted").parameters.logprobs, None);
    names(chat(json!({"stream_options": {"include_usage": true}})), "stream_options", "invalid_value");
    assert!(chat(json!({"stream": true, "stream_options": {}})).is_ok());
}

#[test]
fn required_fields_are_named_when_missing() {
    names(ChatRequest::parse(b"{}", &LIMITS), "model", "missing_required_parameter");
    names(ChatRequest::parse(br#"{"model":"m"}"#, &LIMITS), "messages", "missing_required_parameter");
    names(ChatRequest::parse(br#"{"model":"m","messages":null}"#, &LIMITS), "messages", "missing_required_parameter");
    names(CompletionRequest::parse(br#"{"model":"m"}"#, &LIMITS), "prompt", "missing_required_parameter");
    names(messages(json!([])), "messages", "invalid_value");
    names(messages(json!([{"content": "x"}])), "messages[0].role", "missing_required_parameter");
    names(messages(json!([{"role": "user"}])), "messages[0].content", "missing_required_parameter");
    names(messages(json!([{"role": "user", "content": []}])), "messages[0].content", "invalid_value");
    names(
        messages(json!([{"role": "user", "content": [{"type": "text"}]}])),
        "messages[0].content[0].text",
        "missing_required_parameter",
    );
    for body in [&b"[]"[..], b"\"x\"", b"1", b"null"] {
        names(ChatRequest::parse(body, &LIMITS), "body", "invalid_type");
    }
}

#[test]
fn messages_keep_their_order_roles_and_text() {
    let request = messages(json!([
        {"role": "developer", "content": "d"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "Ann"},
        {"role": "assistant", "content": "ü", "refusal": null, "tool_calls": null},
        {"role": "tool", "content": "42", "tool_call_id": "c1"}
    ]))
    .expect("accepted");
    let roles: Vec<Role> = request.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool]);
    assert_eq!(
        request.template_messages(),
        json!([
            {"role": "system", "content": "d"},
            {"role": "user", "content": "a\nb", "name": "Ann"},
            {"role": "assistant", "content": "ü"},
            {"role": "tool", "content": "42", "tool_call_id": "c1"}
        ])
    );
}

#[test]
fn messages_of_other_kinds_are_refused() {
    names(messages(json!([{"role": "MARK", "content": "x"}])), "messages[0].role", "invalid_value");
    names(messages(json!([{"role": 1, "content": "x"}])), "messages[0].role", "invalid_type");
    names(messages(json!(["MARK"])), "messages[0]", "invalid_type");
    names(messages(json!([{"role": "user", "content": {"MARK": 1}}])), "messages[0].content", "invalid_type");
    names(
        messages(json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "MARK"}}]}])),
        "messages[0].content[0].type",
        "unsupported_value",
    );
    names(
        messages(json!([{"role": "assistant", "content": "x", "tool_calls": [{"id": "MARK"}]}])),
        "messages[0].tool_calls",
        "unsupported_parameter",
    );
    names(
        messages(json!([{"role": "user", "content": "x", "tool_call_id": "c1"}])),
        "messages[0].tool_call_id",
        "unknown_parameter",
    );
}

#[test]
fn a_completion_takes_one_string() {
    assert_eq!(completion(json!({})).expect("accepted").prompt.as_str(), "hi");
    assert_eq!(completion(json!({"prompt": ["one"]})).expect("accepted").prompt.as_str(), "one");
    assert_eq!(completion(json!({"logprobs": 5})).expect("accepted").parameters.logprobs, Some(5));
    names(completion(json!({"prompt": ["MARK", "b"]})), "prompt", "unsupported_value");
    names(completion(json!({"prompt": [1, 2]})), "prompt", "unsupported_value");
    names(completion(json!({"prompt": []})), "prompt", "unsupported_value");
    names(completion(json!({"prompt": 7})), "prompt", "invalid_type");
    names(completion(json!({"logprobs": true})), "logprobs", "invalid_type");
    names(completion(json!({"logprobs": 21})), "logprobs", "invalid_value");
}

#[test]
fn a_duplicate_field_is_refused_with_its_path() {
    let body = br#"{"model":"m","messages":[{"role":"user","content":"x","content":"MARK"}]}"#;
    names(ChatRequest::parse(body, &LIMITS), "messages[0].content", "duplicate_parameter");
    names(ChatRequest::parse(br#"{"model":"m","model":"MARK"}"#, &LIMITS), "model", "duplicate_parameter");
}

#[test]
fn truncations_and_flipped_bytes_never_panic_and_never_quote() {
    let body = chat_body(&json!({"stop": ["é"], "logit_bias": {"1": 1}, "metadata": {"a": "b"}, "seed": -5}));
    assert!(ChatRequest::parse(&body, &LIMITS).is_ok());
    for length in 0..body.len() {
        assert!(ChatRequest::parse(&body[..length], &LIMITS).is_err());
    }
    for index in 0..body.len() {
        for bit in 0..8 {
            let mut flipped = body.clone();
            flipped[index] ^= 1 << bit;
            if let Err(refusal) = ChatRequest::parse(&flipped, &LIMITS) {
                let text = refusal.to_string();
                assert!(text.len() < 600 && text.is_ascii(), "{text}");
            }
        }
    }
}

#[test]
fn debug_output_shows_no_text() {
    let request = chat(json!({"stop": "MARK"})).expect("accepted");
    assert!(!format!("{request:?}").contains("MARK"));
    let request = messages(json!([{"role": "user", "content": "MARK"}])).expect("accepted");
    assert!(!format!("{request:?}").contains("MARK"));
    let request = completion(json!({"prompt": "MARK"})).expect("accepted");
    assert!(!format!("{request:?}").contains("MARK"));
}
