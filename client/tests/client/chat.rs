//! Questions and answers, and when they are asked again.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use lethe::{
    appliance::Appliance,
    chat::{Message, Question, Role},
    error::{Error, NetworkError, ServerError},
};

use crate::{
    fake::{Fake, eventually, options},
    reply::Reply,
};

fn question() -> Question {
    Question {
        model: "test/model".to_owned(),
        messages: vec![Message { role: Role::User, content: "Hello?".to_owned() }],
        max_tokens: Some(8),
        temperature: None,
        seed: None,
    }
}

async fn streamed(appliance: &Appliance) -> (String, Option<Error>) {
    let mut text = String::new();
    let mut stream = match appliance.answer_stream(&question()).await {
        Ok(stream) => stream,
        Err(error) => return (text, Some(error)),
    };
    loop {
        match stream.next().await {
            Ok(Some(piece)) => text.push_str(&piece),
            Ok(None) => break,
            Err(error) => return (text, Some(error)),
        }
    }
    let ending = stream.finish().await;
    assert_eq!(ending.finish_reason.as_deref(), Some("stop"));
    assert_eq!(ending.usage.unwrap()["total_tokens"], 7);
    (text, None)
}

fn busy(status: u16, retry_after: Option<&'static str>) -> Reply {
    Reply::Status { status, retry_after, code: "busy", message: "later" }
}

#[tokio::test]
async fn an_answer_comes_in_pieces_or_whole() {
    let fake = Fake::start(vec![Reply::Stream(vec!["Hel", "lo", " ü"]), Reply::Whole("Hello ü")]).await;
    let appliance = Appliance::open(&fake.options()).await.unwrap();
    let (text, error) = streamed(&appliance).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(text, "Hello ü");
    let (whole, ending) = appliance.answer(&question()).await.unwrap();
    assert_eq!((whole.as_str(), ending.finish_reason.as_deref()), ("Hello ü", Some("stop")));
    let questions = fake.state.questions();
    let body: serde_json::Value = serde_json::from_slice(&questions[0].body).unwrap();
    assert_eq!(body["stream"], true);
    assert_eq!(body["max_tokens"], 8);
    assert!(body.get("temperature").is_none());
}

#[tokio::test]
async fn requests_one_after_the_other_share_a_connection() {
    let fake = Fake::start(vec![Reply::Stream(vec!["a"]), Reply::Whole("b"), Reply::Stream(vec!["c"])]).await;
    let appliance = Appliance::open(&fake.options()).await.unwrap();
    assert!(streamed(&appliance).await.1.is_none());
    appliance.answer(&question()).await.unwrap();
    assert!(streamed(&appliance).await.1.is_none());
    assert_eq!(fake.state.connections.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_busy_appliance_is_asked_again_after_the_wait_it_asks_for() {
    let fake = Fake::start(vec![busy(429, Some("1")), busy(503, None), Reply::Whole("now")]).await;
    let appliance = Appliance::open(&fake.options()).await.unwrap();
    let began = Instant::now();
    assert_eq!(appliance.answer(&question()).await.unwrap().0, "now");
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(fake.state.questions().len(), 3);
}

#[tokio::test]
async fn an_error_that_will_stay_is_not_asked_again() {
    let reply = Reply::Status { status: 400, retry_after: None, code: "context_length_exceeded", message: "too long" };
    let fake = Fake::start(vec![reply]).await;
    let appliance = Appliance::open(&fake.options()).await.unwrap();
    match appliance.answer(&question()).await {
        Err(Error::Server(ServerError::Status { status: 400, code, message, .. })) => {
            assert_eq!((code.as_deref(), message.as_str()), (Some("context_length_exceeded"), "too long"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fake.state.questions().len(), 1);
}

#[tokio::test]
async fn a_connection_that_ends_before_the_answer_is_tried_again() {
    let fake = Fake::start(vec![Reply::HangUp, Reply::HangUp, Reply::Stream(vec!["yes"])]).await;
    let appliance = Appliance::open(&fake.options()).await.unwrap();
    assert_eq!(streamed(&appliance).await.0, "yes");
}

#[tokio::test]
async fn nothing_is_asked_again_after_the_first_byte_of_an_answer() {
    let fake = Fake::start(vec![Reply::Cut(vec!["one "]), Reply::Stream(vec!["two"])]).await;
    let appliance = Appliance::open(&fake.options()).await.unwrap();
    let (text, error) = streamed(&appliance).await;
    assert_eq!(text, "one ");
    assert!(matches!(error, Some(Error::Network(NetworkError::Broken(_)))), "{error:?}");
    assert_eq!(fake.state.questions().len(), 1);
}

#[tokio::test]
async fn a_stream_without_its_end_is_an_error() {
    let fake = Fake::start(vec![Reply::Unfinished(vec!["one"]), Reply::ErrorInside(vec!["two"])]).await;
    let appliance = Appliance::open(&fake.options()).await.unwrap();
    let (text, error) = streamed(&appliance).await;
    assert_eq!(text, "one");
    assert!(matches!(error, Some(Error::Server(ServerError::Truncated))), "{error:?}");
    let (text, error) = streamed(&appliance).await;
    assert_eq!(text, "two");
    assert!(matches!(error, Some(Error::Server(ServerError::InStream(_)))), "{error:?}");
}

#[tokio::test]
async fn hostile_streams_are_errors() {
    let endless = [b"data: ".as_slice(), &vec![b'x'; 2 * 1024 * 1024]].concat();
    for bytes in [b"data: {\n\n".to_vec(), b"data: \xff\n\n".to_vec(), endless, b"data: 1\n\n".to_vec()] {
        let fake = Fake::start(vec![Reply::Raw(bytes)]).await;
        let appliance = Appliance::open(&fake.options()).await.unwrap();
        let (_, error) = streamed(&appliance).await;
        assert!(matches!(error, Some(Error::Server(ServerError::Malformed(_)))), "{error:?}");
    }
}

#[tokio::test]
async fn dropping_an_answer_tells_the_appliance() {
    let fake = Fake::start(vec![Reply::Endless]).await;
    let appliance = Appliance::open(&fake.options()).await.unwrap();
    let mut stream = appliance.answer_stream(&question()).await.unwrap();
    assert_eq!(stream.next().await.unwrap().as_deref(), Some("again "));
    assert!(!fake.state.heard_hang_up.load(Ordering::SeqCst));
    drop(stream);
    eventually("the hang-up", || fake.state.heard_hang_up.load(Ordering::SeqCst)).await;
}

#[tokio::test]
async fn a_silent_appliance_is_not_waited_for_forever() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = options(&format!("https://{}", listener.local_addr().unwrap()));
    options.patience.connect = Duration::from_millis(200);
    options.retry.attempts = 1;
    let error = Appliance::open(&options).await.err();
    assert!(matches!(error, Some(Error::Network(NetworkError::TimedOut { .. }))), "{error:?}");
}
