//! Vectors of the translation.

use super::*;
use crate::translate::{Ended, StreamTranslator};

fn read(request: &Value) -> Result<(Chat, Responses), Refused> {
    super::request(request.to_string().as_bytes())
}

fn with(more: Value) -> Value {
    let mut request = json!({"model": "m", "input": "hi"});
    for (name, value) in more.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}

#[test]
fn a_request_becomes_a_chat_request() {
    let before = json!({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "d", "annotations": [], "logprobs": []}]});
    let request = with(json!({
        "instructions": "Be short.", "temperature": 0, "top_p": 0.5, "max_output_tokens": 20, "stream": true, "store": false,
        "input": [
            {"role": "developer", "content": "In English."},
            {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
            before,
            {"type": "message", "role": "user", "content": "e"},
        ],
        "metadata": {"k": "v"}, "user": "u", "tools": [], "text": {"format": {"type": "text"}}, "truncation": "disabled",
        "previous_response_id": null, "reasoning": {"effort": null},
    }));
    let parts = json!([{"type": "text", "text": "Be short."}, {"type": "text", "text": "In English."}]);
    let expected = json!({
        "model": "m", "max_tokens": 20, "temperature": 0, "top_p": 0.5,
        "messages": [
            {"role": "system", "content": parts}, {"role": "user", "content": "a"},
            {"role": "assistant", "content": "d"}, {"role": "user", "content": "e"},
        ],
        "stream": true, "stream_options": {"include_usage": true},
    });
    assert_eq!(read(&request).unwrap().0.body(), expected);
    let plain = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(read(&with(json!({}))).unwrap().0.body(), plain);
}

#[test]
fn what_would_change_the_answer_is_refused_by_name() {
    let item = |item: Value| json!({"input": [item]});
    for (more, param) in [
        (json!({"previous_response_id": "resp_1"}), "previous_response_id"),
        (json!({"conversation": "conv_1"}), "conversation"),
        (json!({"store": true}), "store"),
        (json!({"background": true}), "background"),
        (json!({"prompt": {"id": "p"}}), "prompt"),
        (json!({"tools": [{"type": "web_search"}]}), "tools"),
        (json!({"tool_choice": "required"}), "tool_choice"),
        (json!({"include": ["reasoning.encrypted_content"]}), "include"),
        (json!({"truncation": "auto"}), "truncation"),
        (json!({"text": {"format": {"type": "json_object"}}}), "text.format"),
        (json!({"reasoning": {"effort": "high"}}), "reasoning.effort"),
        (json!({"reasoning": {"of_the_future": 1}}), "reasoning.of_the_future"),
        (json!({"top_logprobs": 3}), "top_logprobs"),
        (json!({"of_the_future": 1}), "of_the_future"),
        (json!({"input": 1}), "input"),
        (json!({"model": null}), "model"),
        (item(json!({"type": "item_reference", "id": "msg_1"})), "input.0.type"),
        (item(json!({"type": "function_call_output", "call_id": "c", "output": "o"})), "input.0.type"),
        (item(json!({"role": "tool", "content": "a"})), "input.0.role"),
        (
            item(json!({"role": "user", "content": [{"type": "input_image", "image_url": "u"}]})),
            "input.0.content.0.type",
        ),
    ] {
        assert_eq!(read(&with(more)).unwrap_err().param(), Some(param));
    }
}

fn completion(finish: &str) -> Completion {
    let value = json!({
        "id": "chatcmpl-1", "created": 5, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    });
    serde_json::from_value(value).unwrap()
}

#[test]
fn an_answer_becomes_a_response() {
    let request = with(json!({"temperature": 0.5, "metadata": {"k": "v"}, "instructions": "Be short."}));
    let response = read(&request).unwrap().1.whole(&completion("stop"));
    assert_eq!(response["status"], "completed");
    assert_eq!(
        response["output"],
        json!([{
            "id": "msg_chatcmpl-1", "type": "message", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}],
        }])
    );
    assert_eq!((&response["store"], &response["temperature"]), (&json!(false), &json!(0.5)));
    assert_eq!((&response["metadata"], &response["instructions"]), (&json!({"k": "v"}), &json!("Be short.")));
    assert_eq!((&response["usage"]["input_tokens"], &response["usage"]["total_tokens"]), (&json!(3), &json!(5)));
    let cut = read(&with(json!({}))).unwrap().1.whole(&completion("length"));
    assert_eq!(
        (&cut["status"], &cut["incomplete_details"]["reason"]),
        (&json!("incomplete"), &json!("max_output_tokens"))
    );
}

const STREAM: &str = "data: {\"id\":\"c\",\"created\":5,\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"},\"finish_reason\":null}]}\n\n\
    data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"},\"finish_reason\":null}]}\n\n\
    data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo\"},\"finish_reason\":null}]}\n\n\
    data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
    data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n\
    data: [DONE]\n\n";

/// Names and data of the events.
fn translated(stream: &str, size: usize) -> (Vec<(String, Value)>, Ended) {
    let (_, dialect) = read(&with(json!({"stream": true}))).unwrap();
    let mut translator = StreamTranslator::new(Box::new(dialect));
    let mut out: String = stream.as_bytes().chunks(size).map(|chunk| translator.push(chunk)).collect();
    out += &translator.close(None);
    let events = crate::sse::Parser::default().push(out.as_bytes()).unwrap();
    let events = events.into_iter().map(|event| (event.name, serde_json::from_str(&event.data).unwrap()));
    (events.collect(), translator.ended())
}

#[test]
fn a_stream_becomes_events_however_it_is_cut() {
    let (events, ended) = translated(STREAM, STREAM.len());
    assert_eq!(ended, Ended::Well);
    let names: Vec<_> = events.iter().map(|(name, _)| name.strip_prefix("response.").unwrap()).collect();
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(names, expected);
    for (index, (name, data)) in events.iter().enumerate() {
        assert_eq!((&data["type"], &data["sequence_number"]), (&json!(name), &json!(index)));
    }
    assert_eq!(
        events[4].1,
        json!({
            "type": "response.output_text.delta", "sequence_number": 4, "item_id": "msg_c", "output_index": 0,
            "content_index": 0, "delta": "Hel", "logprobs": [],
        })
    );
    assert_eq!(events[0].1["response"]["status"], "in_progress");
    let last = &events[9].1["response"];
    assert_eq!(last["output"][0]["content"][0]["text"], "Hello");
    assert_eq!(last["usage"]["output_tokens"], 2);
    assert_eq!((translated(STREAM, 1).0, translated(STREAM, 11).0), (events.clone(), events));
}

#[test]
fn a_stream_that_fails_says_so_and_is_never_completed() {
    let cut = STREAM.split("data: [DONE]").next().unwrap();
    let (events, ended) = translated(cut, cut.len());
    assert_eq!(ended, Ended::Failed);
    let last: Vec<_> = events.iter().rev().take(2).map(|(name, _)| name.as_str()).collect();
    assert_eq!(last, ["response.failed", "error"]);
    assert_eq!(events.last().unwrap().1["response"]["output"][0]["status"], "incomplete");
    assert!(events.iter().all(|(name, _)| name != "response.completed"));
    let (events, _) = translated("", 1);
    assert_eq!((events.len(), events[0].0.as_str()), (1, "error"));
}

#[test]
fn an_answer_that_was_cut_by_its_limit_is_incomplete() {
    let (events, ended) = translated(&STREAM.replace("\"stop\"", "\"length\""), 64);
    assert_eq!((events.last().unwrap().0.as_str(), ended), ("response.incomplete", Ended::Well));
}
