//! Limits of size and time, and that a generation ends with its client.

use std::time::{Duration, Instant};

use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::client::{begin, chat, closed, post, tls};
use crate::engine::Script;
use crate::server::{Server, Setup};

const SOON: Duration = Duration::from_secs(4);

fn padded(bytes: usize) -> String {
    let body = chat(&json!({}));
    let padding = " ".repeat(bytes - body.len());
    body + &padding
}

#[tokio::test]
async fn a_body_at_the_limit_is_read_and_one_byte_more_is_refused() {
    let server = Server::limits(Setup::default().script, |limits| limits.body_bytes = 1000);
    let path = "/v1/chat/completions";
    assert_eq!(server.send(post(path, padded(1000))).await.status, 200);
    assert_eq!(server.send(post(path, padded(1001))).await.error(), (413, "body_too_large".to_owned()));
    assert_eq!(server.send_http2(post(path, padded(1000))).await.status, 200);
    assert_eq!(server.send_http2(post(path, padded(1001))).await.error(), (413, "body_too_large".to_owned()));
    for reply in
        [server.send(post(path, padded(5_000_000))).await, server.send_http2(post(path, padded(5_000_000))).await]
    {
        assert_eq!(reply.error(), (413, "body_too_large".to_owned()));
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_refused_when_it_grows_too_large() {
    let server = Server::limits(Setup::default().script, |limits| limits.body_bytes = 1000);
    let mut stream = tls(&server, b"http/1.1").await;
    stream
        .write_all(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .expect("sent");
    for _ in 0..11 {
        // the server may answer and close before the last of it
        let _ = stream.write_all(format!("64\r\n{}\r\n", " ".repeat(100)).as_bytes()).await;
    }
    let answer = String::from_utf8(closed(&mut stream, SOON).await.expect("closed")).expect("UTF-8");
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_promised_length_over_the_limit_is_refused_before_a_byte_of_it_is_read() {
    let server = Server::limits(Setup::default().script, |limits| limits.body_bytes = 1000);
    let mut stream = tls(&server, b"http/1.1").await;
    stream.write_all(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1001\r\n\r\n").await.expect("sent");
    let answer = String::from_utf8(closed(&mut stream, SOON).await.expect("closed")).expect("UTF-8");
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_not_json_by_its_own_word_is_refused() {
    let server = Server::say(&["a"]);
    let mut request: Request<Full<Bytes>> = post("/v1/chat/completions", chat(&json!({})));
    request.headers_mut().insert("content-type", "text/plain".parse().expect("value"));
    assert_eq!(server.send(request).await.error(), (415, "unsupported_media_type".to_owned()));
}

#[tokio::test]
async fn a_slow_body_is_answered_408_and_its_connection_closed() {
    let server = Server::limits(Setup::default().script, |limits| limits.body_timeout_ms = 100);
    let mut stream = tls(&server, b"http/1.1").await;
    let head = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"model\"";
    stream.write_all(head).await.expect("sent");
    let answer = String::from_utf8(closed(&mut stream, SOON).await.expect("closed")).expect("UTF-8");
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn slow_headers_and_slow_handshakes_are_closed() {
    let server = Server::limits(Setup::default().script, |limits| limits.header_timeout_ms = 100);
    let mut bare = TcpStream::connect(server.address).await.expect("connected");
    let mut silent = tls(&server, b"http/1.1").await;
    let mut partial = tls(&server, b"http/1.1").await;
    partial.write_all(b"POST /v1/completions HTTP/1.1\r\nhost").await.expect("sent");
    let mut silent_http2 = tls(&server, b"h2").await;
    assert_eq!(closed(&mut bare, SOON).await, Some(Vec::new()));
    assert!(closed(&mut silent, SOON).await.is_some());
    assert!(closed(&mut partial, SOON).await.is_some());
    assert!(closed(&mut silent_http2, SOON).await.is_some());
    server.still_serves().await;
}

#[tokio::test]
async fn an_idle_connection_outlives_the_limit_for_headers_and_not_the_one_for_idling() {
    let server = Server::limits(Setup::default().script, |limits| {
        limits.header_timeout_ms = 300;
        limits.idle_timeout_ms = 1500;
    });
    for alpn in [&b"http/1.1"[..], b"h2"] {
        let mut stream = tls(&server, alpn).await;
        let start = Instant::now();
        if alpn == b"h2" {
            let (reply, sender) = server.begin_http2(crate::client::get("/health")).await;
            assert_eq!(reply.status(), 200);
            tokio::time::sleep(Duration::from_millis(700)).await;
            assert!(!sender.is_closed());
            tokio::time::sleep(Duration::from_millis(3000)).await;
            assert!(sender.is_closed());
        } else {
            stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
            let answer = closed(&mut stream, SOON).await.expect("closed");
            assert!(answer.starts_with(b"HTTP/1.1 200"));
            assert!(start.elapsed() >= Duration::from_millis(1300), "{:?}", start.elapsed());
        }
    }
}

#[tokio::test]
async fn a_request_that_drips_its_headers_on_a_kept_connection_is_closed() {
    let server = Server::limits(Setup::default().script, |limits| limits.header_timeout_ms = 200);
    let mut stream = tls(&server, b"http/1.1").await;
    let start = Instant::now();
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\nGET /hea").await.expect("sent");
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if stream.write_all(b"x").await.is_err() {
            break;
        }
    }
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[tokio::test]
async fn one_connection_more_than_allowed_is_closed_and_a_place_is_given_back() {
    let server = Server::limits(Setup::default().script, |limits| limits.connections = 2);
    let first = tls(&server, b"http/1.1").await;
    let _second = tls(&server, b"http/1.1").await;
    let mut third = TcpStream::connect(server.address).await.expect("connected");
    assert_eq!(closed(&mut third, SOON).await, Some(Vec::new()));
    server.events.line(&["connections-full"]).await;
    drop(first);
    tokio::time::sleep(Duration::from_millis(1000)).await;
    server.still_serves().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_its_generation() {
    for (script, stream) in [(Script::Endless, true), (Script::Endless, false), (Script::Silent, false)] {
        let server = Server::script(script);
        let body = chat(&json!({"stream": stream}));
        let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
        let mut connection = tls(&server, b"http/1.1").await;
        connection.write_all((head + &body).as_bytes()).await.expect("sent");
        while server.engine.seen.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(connection);
        assert!(server.engine.abandoned(1).await, "stream={stream}");
        server.events.line(&["route=chat", "outcome=aborted"]).await;
    }
}

#[tokio::test]
async fn a_reset_stream_of_http2_ends_its_generation_and_leaves_the_connection() {
    let server = Server::script(Script::Endless);
    let (mut response, mut sender) =
        server.begin_http2(post("/v1/chat/completions", chat(&json!({"stream": true})))).await;
    assert!(response.frame().await.expect("a frame").is_ok());
    drop(response);
    assert!(server.engine.abandoned(1).await);
    let again = Request::builder().uri("https://localhost/health").body(Full::default()).expect("request");
    assert_eq!(sender.send_request(again).await.expect("a response").status(), 200);
}

#[tokio::test]
async fn a_request_over_its_time_budget_is_ended_though_the_engine_stands_still() {
    let server = Server::limits(Script::Silent, |limits| limits.request_budget_ms = 100);
    let (whole, streamed) = tokio::join!(server.chat(json!({})), server.chat(json!({"stream": true})));
    assert_eq!(whole.error(), (503, "time_budget_exceeded".to_owned()));
    let events = streamed.events();
    assert!(events.last().expect("events").contains("time_budget_exceeded"));
    assert!(events.iter().all(|event| event != "[DONE]"));
    assert!(server.engine.abandoned(2).await);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_when_its_time_is_over() {
    let server = Server::limits(Script::Flood, |limits| limits.request_budget_ms = 100);
    let body = chat(&json!({"stream": true}));
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut connection = tls(&server, b"http/1.1").await;
    connection.write_all((head + &body).as_bytes()).await.expect("sent");
    tokio::time::sleep(SOON).await;
    assert!(server.engine.abandoned(1).await);
    server.events.line(&["route=chat status=200 outcome=aborted"]).await;
    drop(connection);
}

#[tokio::test]
async fn stopping_ends_listening_and_lets_a_running_answer_finish() {
    let mut server = Server::script(Script::Endless);
    let idle = tls(&server, b"http/1.1").await;
    let request = post("/v1/chat/completions", chat(&json!({"stream": true})));
    let mut response = begin(tls(&server, b"http/1.1").await, request).await;
    assert!(response.frame().await.expect("a frame").is_ok());
    server.stop();
    server.events.line(&["stopping"]).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(TcpStream::connect(server.address).await.is_err());
    assert!(response.frame().await.expect("a frame").is_ok(), "the answer goes on");
    drop((response, idle));
    let served = tokio::time::timeout(SOON, &mut server.served).await.expect("ends").expect("no panic");
    assert!(served.is_ok());
}
