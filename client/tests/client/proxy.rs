//! `lethe proxy` between a program of this machine and an appliance.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use lethe::{
    proxy::{Door, Guard, NodeSettings, Nodes, Proxy, Settings},
    token::Token,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    fake::{Fake, eventually},
    reply::Reply,
};

async fn start(fake: &Fake, token: Option<Token>, guard: Guard) -> SocketAddr {
    let mut options = fake.options();
    options.token = token;
    let (nodes, _) = Nodes::open(vec![options], NodeSettings::default()).await.unwrap();
    serve(nodes, guard)
}

/// A proxy on a port of its own.
pub fn serve(nodes: Nodes, guard: Guard) -> SocketAddr {
    let listener = Door::bind("127.0.0.1:0".parse().unwrap(), false).unwrap().open().unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(Arc::new(Proxy::new(nodes, Settings { guard })).serve(listener));
    address
}

/// Sends a request and reads the answer to its end.
pub async fn ask(proxy: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    (answer[9..12].parse().unwrap(), answer)
}

pub fn code(answer: &str) -> Value {
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    serde_json::from_str::<Value>(body).unwrap()["error"]["code"].clone()
}

pub const HOST: &str = "host: localhost\r\n";
pub const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn answers_are_passed_on_as_they_come() {
    let fake = Fake::start(vec![Reply::Endless]).await;
    let proxy = start(&fake, None, Guard::default()).await;
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    let request = format!("POST {CHAT} HTTP/1.1\r\n{HOST}content-length: 2\r\n\r\n{{}}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut seen = String::new();
    // The answer never ends, so seeing any of it shows that it is not collected first.
    while seen.matches("again ").count() < 3 {
        let mut buffer = [0; 1024];
        let length = stream.read(&mut buffer).await.unwrap();
        assert!(length > 0);
        seen.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
    assert!(seen.starts_with("HTTP/1.1 200"));
    assert!(!fake.state.heard_hang_up.load(Ordering::SeqCst));
    drop(stream);
    eventually("the hang-up", || fake.state.heard_hang_up.load(Ordering::SeqCst)).await;
}

#[tokio::test]
async fn the_configured_token_is_added_and_foreign_headers_stay_here() {
    let fake = Fake::start(vec![Reply::Whole("hi")]).await;
    let token = Token::random().unwrap();
    let proxy = start(&fake, Some(token.clone()), Guard::default()).await;
    let headers =
        format!("{HOST}authorization: Bearer sk-of-another-service\r\ncookie: a=b\r\nx-stainless-os: Linux\r\n");
    assert_eq!(ask(proxy, "POST", CHAT, &headers, "{\"a\":1}").await.0, 200);
    let asked = &fake.state.questions()[0];
    assert_eq!(asked.headers["authorization"], format!("Bearer {}", token.secret()));
    assert_eq!(asked.body, b"{\"a\":1}");
    assert!(!asked.headers.contains_key("cookie") && !asked.headers.contains_key("x-stainless-os"));
    assert_eq!(asked.headers["host"], fake.address.to_string());

    let own = Token::random().unwrap();
    let headers = format!("{HOST}authorization: Bearer {}\r\n", own.secret());
    ask(proxy, "POST", CHAT, &headers, "{}").await;
    assert_eq!(fake.state.questions()[1].headers["authorization"], format!("Bearer {}", own.secret()));
}

#[tokio::test]
async fn long_bodies_are_passed_on_whole() {
    let fake = Fake::start(vec![Reply::Whole("hi")]).await;
    let proxy = start(&fake, None, Guard::default()).await;
    for size in [0, 1024 * 1024, 1024 * 1024 + 1, 3_000_000] {
        assert_eq!(ask(proxy, "POST", CHAT, HOST, &"x".repeat(size)).await.0, 200);
        assert_eq!(fake.state.questions().last().unwrap().body.len(), size);
    }
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\n{HOST}transfer-encoding: chunked\r\nconnection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!(fake.state.questions().last().unwrap().body, b"abcde");
}

#[tokio::test]
async fn errors_of_the_appliance_are_passed_on_with_their_wait() {
    let reply = Reply::Status { status: 429, retry_after: Some("7"), code: "queue_full", message: "later" };
    let fake = Fake::start(vec![reply]).await;
    let proxy = start(&fake, None, Guard::default()).await;
    let (status, answer) = ask(proxy, "POST", CHAT, HOST, "{}").await;
    assert_eq!((status, code(&answer)), (429, "queue_full".into()));
    assert!(answer.contains("retry-after: 7"));
    assert_eq!(fake.state.questions().len(), 1, "the local program decides whether to try again");
}

#[tokio::test]
async fn a_changed_key_closes_the_gate_and_nothing_is_sent_to_it() {
    let fake = Fake::start(vec![Reply::Whole("hi")]).await;
    let proxy = start(&fake, None, Guard::default()).await;
    assert_eq!(ask(proxy, "POST", CHAT, HOST, "{}").await.0, 200);
    fake.restart();
    for body in ["{}".to_owned(), "x".repeat(2_000_000)] {
        let (status, answer) = ask(proxy, "POST", CHAT, HOST, &body).await;
        assert_eq!((status, code(&answer)), (502, "appliance_key_changed".into()));
    }
    assert_eq!(fake.state.questions().len(), 1, "no question went to the new key");
    let (_, answer) = ask(proxy, "GET", "/lethe/status", HOST, "").await;
    assert!(answer.contains("\"state\":\"closed\""), "{answer}");
}

#[tokio::test]
async fn a_closed_connection_with_the_same_key_is_no_event() {
    let fake = Fake::start(vec![Reply::Whole("hi")]).await;
    let proxy = start(&fake, None, Guard::default()).await;
    assert_eq!(ask(proxy, "POST", CHAT, HOST, "{}").await.0, 200);
    for connection in fake.state.connections.lock().unwrap().drain(..) {
        connection.abort();
    }
    assert_eq!(ask(proxy, "POST", CHAT, HOST, "{}").await.0, 200);
    let (status, answer) = ask(proxy, "GET", "/lethe/status", HOST, "").await;
    assert_eq!(status, 200);
    let value: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(value["state"], "open");
    assert_eq!(value["tls_key"], fake.pin().to_string());
    assert_eq!(value["labels"].as_array().unwrap().len(), 6);
    assert_eq!(value["forwarded"], 2);
}

#[tokio::test]
async fn other_hosts_pages_and_routes_are_turned_away() {
    let fake = Fake::start(vec![Reply::Whole("hi")]).await;
    let guard = Guard { hosts: vec![], origins: vec!["https://good.example".to_owned()] };
    let proxy = start(&fake, None, guard).await;
    let asked = fake.state.asked.lock().unwrap().len();
    assert_eq!(ask(proxy, "POST", CHAT, "host: evil.example\r\n", "{}").await.0, 421);
    assert_eq!(ask(proxy, "POST", CHAT, "host: localhost\r\norigin: https://evil.example\r\n", "{}").await.0, 403);
    assert_eq!(ask(proxy, "OPTIONS", CHAT, "host: localhost\r\norigin: https://evil.example\r\n", "").await.0, 403);
    assert_eq!(ask(proxy, "GET", "/metrics", HOST, "").await.0, 404);
    assert_eq!(ask(proxy, "DELETE", "/v1/models", HOST, "").await.0, 404);
    assert_eq!(fake.state.asked.lock().unwrap().len(), asked);

    let (status, answer) = ask(proxy, "POST", CHAT, "host: localhost\r\norigin: https://good.example\r\n", "{}").await;
    assert_eq!(status, 200);
    assert!(answer.contains("access-control-allow-origin: https://good.example"));
    assert!(!ask(proxy, "POST", CHAT, HOST, "{}").await.1.contains("access-control"));
    assert_eq!(ask(proxy, "OPTIONS", CHAT, "host: localhost\r\norigin: https://good.example\r\n", "").await.0, 200);
}

#[tokio::test]
async fn only_loopback_is_listened_on_unless_told_otherwise() {
    let everywhere = "0.0.0.0:0".parse().unwrap();
    assert!(Door::bind(everywhere, false).is_err());
    assert!(Door::bind(everywhere, true).is_ok());
    assert!(Door::bind("127.0.0.1:0".parse().unwrap(), false).is_ok());
}

#[tokio::test]
async fn nobody_listens_before_the_appliance_is_verified() {
    let door = Door::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
    let address = door.address().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    let _listener = door.open().unwrap();
    assert!(TcpStream::connect(address).await.is_ok());
}
