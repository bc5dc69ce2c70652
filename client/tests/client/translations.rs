//! Other people's formats through `lethe proxy`. What becomes of each member is tested beside the translations.

use std::{net::SocketAddr, time::Duration};

use lethe::{
    proxy::{Guard, NodeSettings, Nodes},
    token::Token,
};
use serde_json::{Value, json};

use crate::{
    fake::Fake,
    proxy::{HOST, ask, serve},
    reply::Reply,
};

pub const MESSAGES: &str = "/v1/messages";
pub const RESPONSES: &str = "/v1/responses";

async fn start(reply: Reply) -> (Fake, SocketAddr) {
    let fake = Fake::start(vec![reply]).await;
    let settings = NodeSettings { budget: Duration::from_secs(2), ..NodeSettings::default() };
    let (nodes, _) = Nodes::open(vec![fake.options()], settings).await.unwrap();
    (fake, serve(nodes, Guard::default()))
}

pub fn message(stream: bool) -> String {
    json!({"model": "m", "max_tokens": 9, "system": "s", "messages": [{"role": "user", "content": "hi"}], "stream": stream})
        .to_string()
}

pub fn response(stream: bool) -> String {
    json!({"model": "m", "instructions": "s", "input": "hi", "max_output_tokens": 9, "stream": stream}).to_string()
}

/// The JSON body of an answer.
fn body(answer: &str) -> Value {
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

/// Names and data of the events of a chunked answer.
pub fn events(answer: &str) -> Vec<(String, Value)> {
    let events = answer.split("event: ").skip(1);
    let read = |event: &str| {
        let (name, rest) = event.split_once('\n').unwrap();
        let data = rest.strip_prefix("data: ").unwrap().split('\n').next().unwrap();
        (name.to_owned(), serde_json::from_str(data).unwrap())
    };
    events.map(read).collect()
}

#[tokio::test]
async fn an_answer_in_one_piece_is_translated_both_ways() {
    let (fake, proxy) = start(Reply::Whole("Hello")).await;
    let (status, answer) = ask(proxy, "POST", MESSAGES, HOST, &message(false)).await;
    assert_eq!((status, &body(&answer)["content"]), (200, &json!([{"type": "text", "text": "Hello"}])));
    assert!(answer.contains("content-type: application/json") && answer.contains("x-aci-keyset-digest"));
    let (status, answer) = ask(proxy, "POST", RESPONSES, HOST, &response(false)).await;
    assert_eq!((status, &body(&answer)["output"][0]["content"][0]["text"]), (200, &json!("Hello")));
    let asked = fake.state.questions();
    let expected = json!({
        "model": "m", "max_tokens": 9,
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}],
    });
    assert_eq!(asked.len(), 2);
    for asked in asked {
        assert_eq!(asked.path, "/v1/chat/completions");
        assert_eq!(asked.headers["content-type"], "application/json");
        assert_eq!(serde_json::from_slice::<Value>(&asked.body).unwrap(), expected);
    }
}

#[tokio::test]
async fn a_stream_is_translated_while_it_comes() {
    let (fake, proxy) = start(Reply::Stream(vec!["Hel", "lo"])).await;
    let (status, answer) = ask(proxy, "POST", MESSAGES, HOST, &message(true)).await;
    assert_eq!(status, 200);
    assert!(answer.contains("content-type: text/event-stream"));
    let names: Vec<_> = events(&answer).into_iter().map(|(name, _)| name).collect();
    let expected = [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(names, expected);
    let (_, answer) = ask(proxy, "POST", RESPONSES, HOST, &response(true)).await;
    let (name, last) = events(&answer).pop().unwrap();
    assert_eq!(
        (name.as_str(), &last["response"]["output"][0]["content"][0]["text"]),
        ("response.completed", &json!("Hello"))
    );
    let sent: Value = serde_json::from_slice(&fake.state.questions()[0].body).unwrap();
    assert_eq!((&sent["stream"], &sent["stream_options"]), (&json!(true), &json!({"include_usage": true})));
    // The connection was given back each time.
    assert_eq!(fake.state.connections.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_answer_that_breaks_ends_with_an_error_event() {
    for reply in [Reply::Cut(vec!["Hel"]), Reply::Unfinished(vec!["Hel"]), Reply::ErrorInside(vec!["Hel"])] {
        let (_fake, proxy) = start(reply).await;
        let (_, answer) = ask(proxy, "POST", MESSAGES, HOST, &message(true)).await;
        let seen = events(&answer);
        assert_eq!(seen.last().unwrap().0, "error");
        assert!(seen.iter().all(|(name, _)| name != "message_stop"));
        let (_, answer) = ask(proxy, "POST", RESPONSES, HOST, &response(true)).await;
        let seen = events(&answer);
        assert_eq!(seen.last().unwrap().0, "response.failed");
        assert!(seen.iter().all(|(name, _)| name != "response.completed"));
    }
}

#[tokio::test]
async fn an_endless_answer_is_stopped_when_nobody_reads_it() {
    let (fake, proxy) = start(Reply::Endless).await;
    let asking = tokio::spawn(async move { ask(proxy, "POST", MESSAGES, HOST, &message(true)).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    asking.abort();
    let heard = fake.state.heard_hang_up.clone();
    crate::fake::eventually("the hang-up", || heard.load(std::sync::atomic::Ordering::SeqCst)).await;
}

#[tokio::test]
async fn errors_have_the_shape_that_their_clients_read() {
    let busy = Reply::Status { status: 429, retry_after: Some("7"), code: "queue_full", message: "later" };
    let (fake, proxy) = start(busy).await;
    for stream in [false, true] {
        let (status, answer) = ask(proxy, "POST", MESSAGES, HOST, &message(stream)).await;
        let expected = json!({"type": "error", "error": {"type": "rate_limit_error", "message": "later"}});
        assert_eq!((status, body(&answer)), (429, expected));
        assert!(answer.contains("retry-after: 7"));
        let (status, answer) = ask(proxy, "POST", RESPONSES, HOST, &response(stream)).await;
        assert_eq!((status, &body(&answer)["error"]["code"]), (429, &json!("queue_full")));
    }
    let before = fake.count();
    let image = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [{"type": "image"}]}]});
    let (status, answer) = ask(proxy, "POST", MESSAGES, HOST, &image.to_string()).await;
    assert_eq!((status, &body(&answer)["error"]["type"]), (400, &json!("invalid_request_error")));
    assert!(answer.contains("messages.0.content.0.type"));
    let (status, answer) = ask(proxy, "POST", RESPONSES, HOST, r#"{"model": "m", "input": "a", "store": true}"#).await;
    assert_eq!((status, &body(&answer)["error"]["param"]), (400, &json!("store")));
    let (status, answer) = ask(proxy, "POST", "/v1/messages/count_tokens", HOST, &message(false)).await;
    assert_eq!((status, &body(&answer)["error"]["type"]), (404, &json!("not_found_error")));
    let (status, answer) = ask(proxy, "GET", "/v1/responses/resp_1", HOST, "").await;
    assert_eq!((status, &body(&answer)["error"]["code"]), (404, &json!("not_stored")));
    let long = format!("\"{}\"", "x".repeat(8 * 1024 * 1024));
    assert_eq!(ask(proxy, "POST", MESSAGES, HOST, &long).await.0, 413);
    assert_eq!(fake.count(), before, "none of these was sent");
}

#[tokio::test]
async fn the_proxys_own_errors_have_that_shape_too() {
    let (fake, proxy) = start(Reply::Raw(b"nonsense".to_vec())).await;
    let (status, answer) = ask(proxy, "POST", MESSAGES, HOST, &message(false)).await;
    assert_eq!((status, &body(&answer)["error"]["type"]), (502, &json!("api_error")));
    *fake.state.delay.lock().unwrap() = Duration::from_secs(3600);
    let (status, answer) = ask(proxy, "POST", MESSAGES, HOST, &message(true)).await;
    assert_eq!((status, &body(&answer)["error"]["type"]), (504, &json!("timeout_error")));
    let (status, answer) = ask(proxy, "POST", RESPONSES, HOST, &response(true)).await;
    assert_eq!((status, &body(&answer)["error"]["code"]), (504, &json!("budget_exceeded")));
    fake.restart();
    let (status, answer) = ask(proxy, "POST", RESPONSES, HOST, &response(false)).await;
    assert_eq!((status, &body(&answer)["error"]["code"]), (502, &json!("appliance_key_changed")));
}

#[tokio::test]
async fn a_token_of_lethe_in_x_api_key_is_sent_and_another_key_is_not() {
    let (fake, proxy) = start(Reply::Whole("hi")).await;
    let token = Token::random().unwrap();
    let headers = format!("{HOST}x-api-key: {}\r\nanthropic-version: 2023-06-01\r\n", token.secret());
    ask(proxy, "POST", MESSAGES, &headers, &message(false)).await;
    ask(proxy, "POST", MESSAGES, &format!("{HOST}x-api-key: sk-ant-1\r\n"), &message(false)).await;
    let asked = fake.state.questions();
    assert_eq!(asked[0].headers["authorization"], format!("Bearer {}", token.secret()));
    assert!(!asked[1].headers.contains_key("authorization"));
    for asked in asked {
        assert!(!asked.headers.contains_key("x-api-key") && !asked.headers.contains_key("anthropic-version"));
    }
}
