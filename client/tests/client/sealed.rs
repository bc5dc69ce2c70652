//! Sealed requests: what is outside of them, which keys they are sealed to, and every answer that is not believed.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use lethe::{
    appliance::{Appliance, Options},
    chat::{Message, Question, Role},
    error::{Error, NetworkError, Refusal, ServerError},
    receipts::{Demand, Receipts},
    sealed::Wire,
    token::Token,
};
use protocol::ohttp::AnswerError;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    fake::{Fake, Lie, State, eventually},
    gateway::{Gateway, Meddle},
    reply::{AnswerBody, Reply, object},
};

pub fn question() -> Question {
    Question {
        model: "test/model".to_owned(),
        messages: vec![Message { role: Role::User, content: "Hello?".to_owned() }],
        max_tokens: Some(8),
        temperature: None,
        seed: None,
    }
}

/// The text of a streamed answer, and what went wrong.
pub async fn streamed(appliance: &Appliance) -> (String, Option<Error>) {
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
    stream.finish().await;
    (text, None)
}

async fn sealing(replies: Vec<Reply>) -> (Fake, Arc<Gateway>, Appliance) {
    let fake = Fake::start(replies).await;
    let gateway = fake.seal(Gateway::ours());
    let appliance = Appliance::open(&fake.options()).await.unwrap();
    (fake, gateway, appliance)
}

fn wire(appliance: &Appliance) -> String {
    appliance.transport()["wire"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn nothing_of_a_request_is_outside_of_it() {
    let fake = Fake::start(vec![Reply::Stream(vec!["Hel", "lo"]), Reply::Whole("Hello")]).await;
    let gateway = fake.seal(Gateway::ours());
    let token = Token::random().unwrap();
    let appliance = Appliance::open(&Options { token: Some(token.clone()), ..fake.options() }).await.unwrap();
    assert_eq!(wire(&appliance), "ohttp-chunked (X25519)");
    let (text, error) = streamed(&appliance).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(text, "Hello");
    assert_eq!(appliance.answer(&question()).await.unwrap().0, "Hello");
    assert!(appliance.health().await.unwrap().ready);

    let inside = &fake.state.questions()[0];
    assert_eq!(inside.headers["authorization"], format!("Bearer {}", token.secret()));
    assert!(String::from_utf8_lossy(&inside.body).contains("Hello?"));
    let outside = gateway.outside.lock().unwrap();
    assert_eq!(outside.len(), 3, "questions and everything else");
    for (headers, body) in outside.iter() {
        let names: Vec<&str> = headers.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(names.len(), 4, "{names:?}");
        assert_eq!(headers["incremental"], "?1");
        assert!(["host", "content-type", "content-length"].iter().all(|name| headers.contains_key(*name)));
        assert!(!String::from_utf8_lossy(body).contains("Hello"));
        // the header, the encapsulated key, the tag, and the length of the final chunk, around a bucket
        assert_eq!(body.len() - 7 - 32 - 16 - 1, 512, "lengths are those of buckets");
    }
}

#[tokio::test]
async fn an_answer_streams_and_dropping_it_tells_the_appliance() {
    let (fake, _, appliance) = sealing(vec![Reply::Endless]).await;
    let mut stream = appliance.answer_stream(&question()).await.unwrap();
    // The answer never ends, so seeing any of it shows that it is not collected first.
    assert_eq!(stream.next().await.unwrap().as_deref(), Some("again "));
    assert!(!fake.state.heard_hang_up.load(Ordering::SeqCst));
    drop(stream);
    eventually("the hang-up", || fake.state.heard_hang_up.load(Ordering::SeqCst)).await;
}

#[tokio::test]
async fn requests_one_after_the_other_share_a_connection_and_a_closed_one_is_no_event() {
    let (fake, _, appliance) =
        sealing(vec![Reply::Stream(vec!["a"]), Reply::Whole("b"), Reply::Stream(vec!["c"])]).await;
    assert!(streamed(&appliance).await.1.is_none());
    appliance.answer(&question()).await.unwrap();
    assert_eq!(fake.state.connections.lock().unwrap().len(), 1);
    for connection in fake.state.connections.lock().unwrap().drain(..) {
        connection.abort();
    }
    assert_eq!(streamed(&appliance).await.0, "c");
}

#[tokio::test]
async fn the_wire_is_what_the_user_says_and_what_the_keyset_has() {
    let fake = Fake::start(vec![Reply::Whole("b")]).await;
    let with = |wire| Options { wire, ..fake.options() };
    assert_eq!(wire(&Appliance::open(&with(Wire::Auto)).await.unwrap()), "tls");
    assert!(matches!(Appliance::open(&with(Wire::Ohttp)).await.err(), Some(Error::Refused(Refusal::NoOhttp))));
    let gateway = fake.seal(Gateway::ours());
    assert_eq!(wire(&Appliance::open(&with(Wire::Ohttp)).await.unwrap()), "ohttp-chunked (X25519)");
    let plain = Appliance::open(&with(Wire::Tls)).await.unwrap();
    assert_eq!(plain.answer(&question()).await.unwrap().0, "b");
    assert!(gateway.outside.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_key_that_is_not_in_the_verified_keyset_is_never_used() {
    let fake = Fake::start(vec![Reply::Whole("b")]).await;
    let gateway = fake.seal(Gateway::ours());
    *gateway.foreign_keys.lock().unwrap() = true;
    for wire in [Wire::Auto, Wire::Ohttp] {
        let error = Appliance::open(&Options { wire, ..fake.options() }).await.err();
        assert!(matches!(error, Some(Error::Refused(Refusal::GatewayKeys))), "{error:?}");
    }
    assert!(gateway.outside.lock().unwrap().is_empty(), "and there is no falling back");
    assert!(fake.state.questions().is_empty());
}

#[tokio::test]
async fn an_answer_that_is_cut_off_or_changed_is_an_error_and_never_a_short_answer() {
    for (meddle, expected, text) in [
        (Meddle::NoFinal, AnswerError::Truncated, "Hello"),
        (Meddle::Tamper, AnswerError::Undecryptable, ""),
        (Meddle::Repeat, AnswerError::Undecryptable, "Hel"),
        (Meddle::Swap, AnswerError::Undecryptable, ""),
        (Meddle::Oversize, AnswerError::TooLong, ""),
    ] {
        let (_fake, gateway, appliance) =
            sealing(vec![Reply::Unfinished(vec!["Hel", "lo"]), Reply::Whole("Hello")]).await;
        *gateway.meddle.lock().unwrap() = meddle;
        let (seen, error) = streamed(&appliance).await;
        let sealed = |error: &Option<Error>| match error {
            Some(Error::Network(NetworkError::Sealed(error))) => Some(*error),
            _ => None,
        };
        assert_eq!((sealed(&error), seen.as_str()), (Some(expected), text), "{meddle:?}: {error:?}");
        if !matches!(meddle, Meddle::Swap) {
            let error = appliance.answer(&question()).await.err();
            assert_eq!(sealed(&error), Some(expected), "{meddle:?}, in one piece: {error:?}");
        }
        *gateway.meddle.lock().unwrap() = Meddle::Nothing;
        assert_eq!(appliance.answer(&question()).await.unwrap().0, "Hello", "the same answer, unchanged");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_sealed_is_not_an_answer() {
    let (_fake, gateway, appliance) = sealing(vec![Reply::Whole("b")]).await;
    *gateway.meddle.lock().unwrap() = Meddle::Clear;
    let error = appliance.answer(&question()).await.err();
    assert!(matches!(error, Some(Error::Server(ServerError::Malformed(_)))), "{error:?}");
}

#[tokio::test]
async fn a_key_that_is_over_is_replaced_by_verifying_once() {
    let (fake, gateway, appliance) = sealing(vec![Reply::Whole("b")]).await;
    assert_eq!(fake.state.attested(), 1);
    fake.state.next_epoch();
    assert_eq!(appliance.answer(&question()).await.unwrap().0, "b");
    assert_eq!((fake.state.attested(), gateway.outside.lock().unwrap().len()), (2, 2));
    assert!(appliance.is_outdated());
    let renewed = appliance.renewed(&fake.options()).await.unwrap();
    assert_eq!(fake.state.attested(), 2, "what was verified for the request counts");
    assert_eq!(renewed.answer(&question()).await.unwrap().0, "b");

    *gateway.meddle.lock().unwrap() = Meddle::NoKey;
    let before = gateway.outside.lock().unwrap().len();
    let error = renewed.answer(&question()).await.err();
    assert!(matches!(error, Some(Error::Refused(Refusal::KeysetChanged))), "{error:?}");
    assert_eq!((fake.state.attested(), gateway.outside.lock().unwrap().len() - before), (3, 2), "once, and no more");
}

#[tokio::test]
async fn a_new_tls_key_without_hardware_is_not_accepted_for_a_key_that_is_over() {
    let (fake, gateway, appliance) = sealing(vec![Reply::Whole("b")]).await;
    fake.state.next_epoch();
    // Somebody else behind the same address: that the key is over is said on a connection that was verified before.
    fake.state.make_key();
    let error = appliance.answer(&question()).await.err();
    assert!(matches!(error, Some(Error::Refused(Refusal::Pin(_)))), "{error:?}");
    assert_eq!(gateway.outside.lock().unwrap().len(), 1, "nothing was sealed to the other's keys");
    assert_eq!(fake.state.attested(), 2, "its report was looked at");
}

#[tokio::test]
async fn the_gateways_keys_come_from_the_holder_of_the_reports_tls_key() {
    let fake = Fake::start(vec![Reply::Whole("b")]).await;
    let _gateway = fake.seal(Gateway::ours());
    fake.lie(Lie::SwapBehindReport);
    let error = Appliance::open(&fake.options()).await.err();
    assert!(matches!(error, Some(Error::Refused(Refusal::Pin(_)))), "{error:?}");
}

#[tokio::test]
async fn a_stream_without_its_final_chunk_is_cut_off_whatever_is_asked_of_receipts() {
    for (demand, receipts) in [(Demand::Off, false), (Demand::Off, true), (Demand::Check, false)] {
        let fake = Fake::start(vec![Reply::Stream(vec!["Hel", "lo"])]).await;
        let gateway = fake.seal(Gateway::ours());
        let _notary = receipts.then(|| fake.give_receipts());
        let options = Options { receipts: Receipts::demanding(demand), ..fake.options() };
        let appliance = Appliance::open(&options).await.unwrap();
        *gateway.meddle.lock().unwrap() = Meddle::NoFinal;
        let (seen, error) = streamed(&appliance).await;
        let truncated = matches!(error, Some(Error::Network(NetworkError::Sealed(AnswerError::Truncated))));
        assert!(truncated, "{demand} {receipts}: {seen:?} {error:?}");
        *gateway.meddle.lock().unwrap() = Meddle::Nothing;
        let (seen, error) = streamed(&appliance).await;
        assert_eq!((seen.as_str(), error.is_none()), ("Hello", true), "{demand} {receipts}: {error:?}");
    }
}

#[tokio::test]
async fn a_wrong_clock_is_set_by_the_appliances_once() {
    let (fake, gateway, appliance) = sealing(vec![Reply::Whole("b")]).await;
    *gateway.clock.lock().unwrap() = Some(86_400);
    assert_eq!(appliance.answer(&question()).await.unwrap().0, "b");
    assert_eq!(gateway.outside.lock().unwrap().len(), 2);
    assert_eq!(appliance.answer(&question()).await.unwrap().0, "b");
    assert_eq!(gateway.outside.lock().unwrap().len(), 3, "the difference is remembered");

    *gateway.meddle.lock().unwrap() = Meddle::NoDate;
    let error = appliance.answer(&question()).await.err();
    assert!(matches!(error, Some(Error::Server(ServerError::Status { status: 400, .. }))), "{error:?}");
    assert_eq!(gateway.outside.lock().unwrap().len(), 5, "twice, and no more");
    assert_eq!(fake.state.questions().len(), 2);
}

#[tokio::test]
async fn errors_inside_are_the_appliances_own() {
    let reply = Reply::Status { status: 400, retry_after: None, code: "context_length_exceeded", message: "too long" };
    let (fake, _, appliance) = sealing(vec![reply]).await;
    match appliance.answer(&question()).await {
        Err(Error::Server(ServerError::Status { status: 400, code, .. })) => {
            assert_eq!(code.as_deref(), Some("context_length_exceeded"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fake.state.questions().len(), 1);
}

#[tokio::test]
async fn the_gateway_of_other_people_opens_our_requests_and_we_open_its_answers() {
    for post_quantum in [false, true] {
        let fake = Fake::start(vec![Reply::Stream(vec!["Hel", "lo"]), Reply::Whole("Hello")]).await;
        fake.seal(Gateway::of_others(post_quantum));
        let appliance = Appliance::open(&fake.options()).await.unwrap();
        assert_eq!(wire(&appliance), if post_quantum { "ohttp-chunked (X-Wing)" } else { "ohttp-chunked (X25519)" });
        let (text, error) = streamed(&appliance).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(text, "Hello");
        assert_eq!(appliance.answer(&question()).await.unwrap().0, "Hello");
        assert!(String::from_utf8_lossy(&fake.state.questions()[0].body).contains("Hello?"));
    }
}

/// What a relay does with what it is given.
#[derive(Clone, Copy, PartialEq)]
enum Habit {
    Honest,
    /// It answers itself.
    Forges,
    /// It plays the first answer again.
    Replays,
    /// It passes nothing on.
    Fails,
}

struct Relay {
    address: SocketAddr,
    habit: Mutex<Habit>,
    asked: Mutex<Vec<(String, HeaderMap)>>,
    first: Mutex<Option<Vec<u8>>>,
}

impl Relay {
    /// A relay to a fake appliance, which it reaches without its socket.
    async fn start(state: Arc<State>) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            habit: Mutex::new(Habit::Honest),
            asked: Mutex::default(),
            first: Mutex::default(),
        });
        let serving = relay.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (relay, state) = (serving.clone(), state.clone());
                tokio::spawn(async move {
                    let service = service_fn(|request| {
                        let (relay, state) = (relay.clone(), state.clone());
                        async move { relay.answer(&state, request).await.ok_or_else(|| std::io::Error::other("hang up")) }
                    });
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        relay
    }

    async fn answer(&self, state: &Arc<State>, request: Request<Incoming>) -> Option<Response<AnswerBody>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        self.asked.lock().unwrap().push((head.uri.to_string(), head.headers.clone()));
        let habit = *self.habit.lock().unwrap();
        match habit {
            Habit::Forges => {
                return Some(object(StatusCode::OK, &json!({"choices": [{"message": {"content": "lie"}}]})));
            }
            Habit::Fails => return Some(object(StatusCode::BAD_GATEWAY, &json!({}))),
            Habit::Honest | Habit::Replays => {}
        }
        let gateway = state.gateway.lock().unwrap().clone().unwrap();
        let (head, body) = gateway.answer(state, head.headers, body).await?.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        let first = self.first.lock().unwrap().get_or_insert_with(|| body.clone()).clone();
        let body = if habit == Habit::Replays { first } else { body };
        let body = http_body_util::Full::from(body).map_err(|never| match never {}).boxed_unsync();
        Some(Response::from_parts(head, body))
    }
}

#[tokio::test]
async fn a_relay_carries_everything_but_the_attestation() {
    let fake = Fake::start(vec![Reply::Stream(vec!["Hel", "lo"])]).await;
    fake.seal(Gateway::ours());
    let notary = fake.give_receipts();
    *notary.carries.lock().unwrap() = false;
    let relay = Relay::start(fake.state.clone()).await;
    let url = format!("http://{}/to/lethe?x", relay.address).parse().unwrap();
    let options = Options { relay: Some(url), token: Some(Token::random().unwrap()), ..fake.options() };
    let appliance = Appliance::open(&options).await.unwrap();
    assert_eq!(streamed(&appliance).await.0, "Hello");
    assert_eq!(appliance.models().await.unwrap(), ["test/model"]);
    assert_eq!(appliance.receipts().verified(), 1);
    assert_eq!(fake.state.connections.lock().unwrap().len(), 1, "the one of the attestation");
    let asked = relay.asked.lock().unwrap();
    assert_eq!(asked.len(), 3, "question, receipt, models");
    assert!(asked.iter().all(|(path, headers)| path == "/to/lethe?x" && !headers.contains_key("authorization")));
}

/// A proxy that opens connections, but only to one name, which nobody else can look up.
struct Opener {
    address: SocketAddr,
    opened: Arc<AtomicUsize>,
}

impl Opener {
    async fn start(name: &'static str, to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, opened) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let counter = opened.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (to, counter) = (to.clone(), counter.clone());
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await.unwrap());
                    }
                    if !head.starts_with(format!("CONNECT {name} HTTP/1.1\r\n").as_bytes()) {
                        return stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await.unwrap();
                    }
                    counter.fetch_add(1, Ordering::SeqCst);
                    let mut there = TcpStream::connect(to).await.unwrap();
                    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut there).await;
                });
            }
        });
        Self { address, opened }
    }
}

#[tokio::test]
async fn with_a_proxy_for_connections_and_a_relay_nothing_goes_to_the_appliance_itself() {
    let fake = Fake::start(vec![Reply::Stream(vec!["Hel", "lo"])]).await;
    fake.seal(Gateway::ours());
    let opener = Opener::start("lethe.invalid:443", fake.url().trim_start_matches("https://").to_owned()).await;
    let relay = Relay::start(fake.state.clone()).await;
    let hidden = |name: &str| {
        let mut options = Options { address: name.parse().unwrap(), ..fake.options() };
        options.tunnel = Some(format!("http://{}", opener.address).parse().unwrap());
        options.relay = Some(format!("http://{}/", relay.address).parse().unwrap());
        options.retry.attempts = 1;
        options
    };
    let appliance = Appliance::open(&hidden("https://lethe.invalid")).await.unwrap();
    assert_eq!(streamed(&appliance).await.0, "Hello");
    assert_eq!((opener.opened.load(Ordering::SeqCst), relay.asked.lock().unwrap().len()), (1, 1));

    // Without a relay the requests go through it too, over connections that are held to the verified key.
    let alone = Options { relay: None, ..hidden("https://lethe.invalid") };
    assert_eq!(streamed(&Appliance::open(&alone).await.unwrap()).await.0, "Hello");
    let pinned = Options { pin: Some(format!("sha256:{}", "11".repeat(32)).parse().unwrap()), ..alone };
    let error = Appliance::open(&pinned).await.err();
    assert!(matches!(error, Some(Error::Refused(Refusal::Pin(_)))), "{error:?}");

    // Where it gives no connection there is none.
    let error = Appliance::open(&hidden("https://other.invalid")).await.err();
    assert!(matches!(error, Some(Error::Network(NetworkError::Tunnel { .. }))), "{error:?}");
}

#[tokio::test]
async fn a_relay_is_not_believed() {
    let fake = Fake::start(vec![Reply::Whole("Hello")]).await;
    fake.seal(Gateway::ours());
    let relay = Relay::start(fake.state.clone()).await;
    let url = format!("http://{}/", relay.address).parse().unwrap();
    let mut options = Options { relay: Some(url), ..fake.options() };
    options.retry.attempts = 2;
    let appliance = Appliance::open(&options).await.unwrap();
    assert_eq!(appliance.answer(&question()).await.unwrap().0, "Hello");
    let set = |habit| *relay.habit.lock().unwrap() = habit;
    set(Habit::Forges);
    let error = appliance.answer(&question()).await.err();
    assert!(matches!(error, Some(Error::Server(ServerError::Malformed(_)))), "{error:?}");
    set(Habit::Replays);
    let error = appliance.answer(&question()).await.err();
    let changed = matches!(error, Some(Error::Network(NetworkError::Sealed(AnswerError::Undecryptable))));
    assert!(changed, "{error:?}");
    set(Habit::Fails);
    let error = appliance.answer(&question()).await.err();
    assert!(matches!(error, Some(Error::Network(NetworkError::Relay { status: 502 }))), "{error:?}");
    set(Habit::Honest);
    assert_eq!(appliance.answer(&question()).await.unwrap().0, "Hello");
}

#[tokio::test]
async fn there_is_no_relay_for_what_is_not_sealed() {
    let fake = Fake::start(vec![Reply::Whole("Hello")]).await;
    let relay: lethe::sealed::Relay = "http://127.0.0.1:1/".parse().unwrap();
    let error = Appliance::open(&Options { relay: Some(relay.clone()), ..fake.options() }).await.err();
    assert!(matches!(error, Some(Error::Refused(Refusal::NoOhttp))), "{error:?}");
    fake.seal(Gateway::ours());
    let error = Appliance::open(&Options { relay: Some(relay), wire: Wire::Tls, ..fake.options() }).await.err();
    assert!(matches!(error, Some(Error::Usage(_))), "{error:?}");
}
