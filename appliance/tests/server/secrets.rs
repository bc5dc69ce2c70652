//! Secrets that an operator brings while the server runs: taken, refused, and what they change at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deployment::{Access, Clients, Enrolment, Keys, OperatorKey as Listed, Secrets, Wires, token};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use protocol::hpke::{Kem, PublicKey, Random};
use protocol::keyset::algorithm;
use protocol::ohttp::KEY_PROBLEM;
use protocol::secrets::{Change, MAX_MESSAGE, OperatorKey, seal};
use serde_json::{Value, json};
use tee::{Binding, Evidence, NoTee, Origin, Platform, ReportData, Secret, Tee, TeeError};
use zeroize::Zeroizing;

use crate::client::{Reply, chat, get, post, tls};
use crate::engine::Script;
use crate::server::{Server, Setup};

const PATH: &str = "/v1/operator/secrets";

pub fn operator(seed: u8) -> OperatorKey {
    OperatorKey::from_seed(&[seed; 32])
}

fn listed(required: bool) -> Secrets {
    Secrets { operator_keys: vec![Listed(operator(1).public())], required }
}

fn by_token() -> Setup {
    Setup { tokens: vec![bearer(1)], secrets: listed(false), ..Setup::default() }
}

fn bearer(byte: u8) -> String {
    token::text(&[byte; 32]).to_string()
}

pub fn change(set: &[(&str, &str)], unset: &[&str]) -> Change {
    Change {
        set: set.iter().map(|(name, value)| ((*name).to_owned(), Zeroizing::new((*value).to_owned()))).collect(),
        unset: unset.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// Kid and key `index` of the keyset: 0 of this epoch, 1 of the next.
fn key(server: &Server, index: usize) -> (String, PublicKey) {
    let published = server.identity.published();
    let entry = published.keyset.e2ee(algorithm::SECRETS).nth(index).expect("a key for secrets").clone();
    let bytes = hex::decode(&entry.public_key).expect("hex");
    (entry.key_id, PublicKey::from_bytes(Kem::X25519, &bytes).expect("a key"))
}

pub fn sealed_by(server: &Server, by: &OperatorKey, change: &Change, counter: u64, index: usize) -> Vec<u8> {
    let mut random = Random(|bytes: &mut [u8]| getrandom::fill(bytes).expect("random bytes"));
    let (kid, key) = key(server, index);
    seal(&kid, &key, change, counter, by, &mut random).expect("sealed")
}

pub async fn send(server: &Server, change: &Change, counter: u64) -> Reply {
    // not over TLS, so that it works whatever certificate is shown
    server.send_unix(post(PATH, sealed_by(server, &operator(1), change, counter, 0))).await
}

/// Sets `TOKEN` and expects it to be taken.
async fn set(server: &Server, name: &str, value: &str, counter: u64) {
    let reply = send(server, &change(&[(name, value)], &[]), counter).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
}

fn with(token: &str, path: &str) -> http::Request<http_body_util::Full<hyper::body::Bytes>> {
    let mut request = if path == "/v1/models" { get(path) } else { post(path, chat(&json!({"stream": true}))) };
    let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("a value");
    request.headers_mut().insert(AUTHORIZATION, value);
    request
}

async fn status(server: &Server, token: &str) -> u16 {
    server.send(with(token, "/v1/models")).await.status.as_u16()
}

#[tokio::test]
async fn an_operator_sets_lists_and_unsets_tokens() {
    let server = Server::start(by_token());
    let (old, new) = (bearer(2), bearer(3));
    assert_eq!(status(&server, &old).await, 401);
    let standing = server.get(PATH).await.json();
    assert_eq!(standing, json!({"counter": 0, "waiting": false}), "names are for operators");
    let reply = send(&server, &change(&[("TOKEN", &old), ("TOKEN_CI", &new)], &[]), 3).await;
    assert_eq!(reply.json(), json!({"counter": 3, "waiting": false, "names": ["TOKEN", "TOKEN_CI"]}));
    assert_eq!((status(&server, &old).await, status(&server, &new).await), (200, 200));
    assert_eq!(status(&server, &bearer(1)).await, 200, "the document's own is not touched");

    let list = send(&server, &Change::default(), 4).await;
    assert_eq!(list.json()["names"], json!(["TOKEN", "TOKEN_CI"]));
    let reply = send(&server, &change(&[], &["TOKEN_CI"]), 5).await;
    assert_eq!(reply.json()["names"], json!(["TOKEN"]));
    assert_eq!((status(&server, &old).await, status(&server, &new).await), (200, 401));
    set(&server, "TOKEN", &new, 6).await;
    assert_eq!((status(&server, &old).await, status(&server, &new).await), (401, 200), "replaced");
    let lines = server.events.lines().join("\n");
    assert!(lines.contains("secrets counter=6 held=1"), "{lines}");
    assert!(!lines.contains("lth_"), "{lines}");
}

#[tokio::test]
async fn the_keys_of_two_epochs_are_taken_and_none_is_where_no_operator_is_named() {
    let server = Server::start(by_token());
    for index in [0, 1] {
        let message = sealed_by(&server, &operator(1), &Change::default(), 1 + index as u64, index);
        assert_eq!(server.send(post(PATH, message)).await.status, 200);
    }
    let closed = Server::start(Setup { tokens: vec![bearer(1)], ..Setup::default() });
    assert!(closed.identity.published().keyset.e2ee(algorithm::SECRETS).next().is_none());
    assert_eq!(closed.get(PATH).await.error(), (404, "unknown_url".to_owned()));
    for path in [PATH, "/v1/operator/seal"] {
        assert_eq!(closed.send(post(path, "{}")).await.error(), (404, "unknown_url".to_owned()));
    }
}

#[tokio::test]
async fn what_is_not_an_operators_new_message_changes_nothing() {
    let server = Server::start(by_token());
    let (good, stolen) = (bearer(2), bearer(3));
    let wanted = change(&[("TOKEN", &good)], &[]);
    let message = sealed_by(&server, &operator(1), &wanted, 7, 0);
    let post_it = async |body: Vec<u8>| server.send(post(PATH, body)).await;
    let error = async |body: Vec<u8>| post_it(body).await.error();

    let theirs = change(&[("TOKEN", &stolen)], &[]);
    let (refused, unopened) = ((401, "invalid_operator".to_owned()), (400, "undecryptable".to_owned()));
    assert_eq!(error(sealed_by(&server, &operator(9), &theirs, 8, 0)).await, refused, "another's signature");
    let mut flipped: Value = serde_json::from_slice(&message).expect("JSON");
    flipped["counter"] = 8.into();
    assert_eq!(error(flipped.to_string().into_bytes()).await, refused, "a counter that is not signed");
    let other = Server::start(by_token());
    let elsewhere = post_it(sealed_by(&other, &operator(1), &theirs, 9, 0)).await;
    assert_eq!(elsewhere.json()["type"], KEY_PROBLEM, "sealed to another server");
    let mut random = Random(|bytes: &mut [u8]| getrandom::fill(bytes).expect("random bytes"));
    let (kid, strange) = (key(&server, 0).0, key(&other, 0).1);
    let misnamed = seal(&kid, &strange, &theirs, 9, &operator(1), &mut random).expect("sealed");
    assert_eq!(error(misnamed).await, unopened, "sealed to another key of that name");
    for body in [&b""[..], b"{}", b"[]", &message[..message.len() - 1]] {
        assert_eq!(error(body.to_vec()).await, unopened);
    }
    assert_eq!(error(vec![b' '; MAX_MESSAGE]).await, unopened);
    assert_eq!(error(vec![b' '; MAX_MESSAGE + 1]).await, (413, "body_too_large".to_owned()));
    assert_eq!(server.get(PATH).await.json()["counter"], 0, "no state is left behind");

    assert_eq!(post_it(message.clone()).await.status, 200, "the good one counts still");
    let rollback = (409, "rollback".to_owned());
    assert_eq!(error(message).await, rollback, "played again");
    assert_eq!(error(sealed_by(&server, &operator(1), &theirs, 6, 0)).await, rollback, "an older one");
    assert_eq!((status(&server, &good).await, status(&server, &stolen).await), (200, 401));
}

#[tokio::test]
async fn of_equal_messages_at_once_one_is_taken() {
    let server = Server::start(by_token());
    let message = sealed_by(&server, &operator(1), &change(&[("TOKEN", &bearer(2))], &[]), 1, 0);
    let replies = futures::future::join_all((0..8).map(|_| server.send(post(PATH, message.clone())))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    assert!(replies.iter().all(|reply| reply.status == 200 || reply.error() == (409, "rollback".to_owned())));
}

#[tokio::test]
async fn a_change_is_done_wholly_or_not_at_all() {
    let server = Server::start(by_token());
    let good = bearer(2);
    let cases: [(&str, &str, &[&str], u16, &str); 6] = [
        ("PASSWORD", &good, &[], 400, "secret_name"),
        ("TOKENS", &good, &[], 400, "secret_name"),
        ("TOKEN_", &good, &[], 400, "secret_name"),
        ("ENROLMENT", &good, &[], 400, "secret_name"),
        ("TOKEN_B", "hunter2", &[], 400, "secret_value"),
        ("TOKEN_B", &good, &["TOKEN_C"], 404, "no_such_secret"),
    ];
    for (counter, (name, value, unset, code, word)) in (1..).zip(cases) {
        let reply = send(&server, &change(&[("TOKEN", &good), (name, value)], unset), counter).await;
        assert_eq!(reply.error(), (code, word.to_owned()), "{name}");
        assert!(!String::from_utf8_lossy(&reply.body).contains("hunter2"));
    }
    assert_eq!(status(&server, &good).await, 401);
    assert_eq!(
        send(&server, &Change::default(), 6).await.error(),
        (409, "rollback".to_owned()),
        "their counters count"
    );
    assert_eq!(send(&server, &Change::default(), 7).await.json()["names"], json!([]));
}

#[tokio::test]
async fn there_are_at_most_256_secrets() {
    let server = Server::start(by_token());
    let many = |from: usize, to: usize| {
        let names: Vec<String> = (from..to).map(|number| format!("TOKEN_{number}")).collect();
        let value = bearer(2);
        change(&names.iter().map(|name| (name.as_str(), value.as_str())).collect::<Vec<_>>(), &[])
    };
    for step in 0..4 {
        let reply = send(&server, &many(step * 64, step * 64 + 64), step as u64 + 1).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
    }
    assert_eq!(send(&server, &many(256, 257), 5).await.error(), (400, "secrets_full".to_owned()));
    assert_eq!(send(&server, &many(0, 1), 6).await.status, 200, "one of them anew");
}

#[tokio::test]
async fn an_old_token_ends_on_open_connections_and_for_answers_that_have_not_begun() {
    let script = Script::SayWithPauses(vec![(0, "a"), (4000, "b")]);
    let server = Server::start(Setup { script, ..by_token() });
    let (old, new) = (bearer(2), bearer(3));
    set(&server, "TOKEN", &old, 1).await;
    // one connection, kept open: two answers in a row
    let io = TokioIo::new(tls(&server, b"http/1.1").await);
    let (mut kept, connection) = hyper::client::conn::http1::handshake(io).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    let first = kept.send_request(with(&old, "/v1/models")).await.expect("an answer");
    assert_eq!(first.status(), 200);
    first.into_body().collect().await.expect("the body");
    let running = server.begin_http2(with(&old, "/v1/chat/completions")).await;
    let began = Instant::now();
    assert_eq!(running.0.status(), 200, "an answer that has begun");

    *server.engine.script.lock().unwrap() = Script::Late(2000);
    let waiting = server.send(with(&old, "/v1/chat/completions"));
    let replaced = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        set(&server, "TOKEN", &new, 2).await;
        assert!(began.elapsed() < Duration::from_millis(4000), "it has not ended yet");
    };
    let (waited, ()) = tokio::join!(waiting, replaced);
    assert_eq!(waited.error(), (401, "invalid_api_key".to_owned()), "admitted and queued, but not begun");
    let second = kept.send_request(with(&old, "/v1/models")).await.expect("an answer");
    assert_eq!(second.status(), 401, "the same connection");
    second.into_body().collect().await.expect("the body");
    let third = kept.send_request(with(&new, "/v1/models")).await.expect("an answer");
    assert_eq!(third.status(), 200);
    let rest = running.0.into_body().collect().await.expect("the body").to_bytes();
    assert!(String::from_utf8_lossy(&rest).ends_with("data: [DONE]\n\n"), "what had begun ends well");
}

#[tokio::test]
async fn nobody_is_served_before_the_secrets_that_are_required() {
    let clients = Some(Clients::of(Access::Token));
    let server = Server::start(Setup { clients, secrets: listed(true), ..Setup::default() });
    let good = bearer(2);
    let health = server.get("/health").await;
    assert_eq!((health.status.as_u16(), health.json()["ready"].clone()), (503, json!(false)));
    assert_eq!(health.json()["waiting_for"], "secrets");
    assert_eq!(server.get(PATH).await.json()["waiting"], true);
    let early = server.send(with(&good, "/v1/chat/completions")).await;
    assert_eq!(early.error(), (503, "waiting_for_secrets".to_owned()));
    assert_eq!(server.get("/v1/aci/attestation").await.status, 200, "evidence is there before");
    let empty = send(&server, &Change::default(), 1).await;
    assert_eq!(empty.json()["waiting"], true, "a list is no secret");
    set(&server, "TOKEN", &good, 2).await;
    let health = server.get("/health").await;
    assert_eq!((health.status.as_u16(), health.json().get("waiting_for")), (200, None));
    assert_eq!(server.send(with(&good, "/v1/chat/completions")).await.status, 200);
    assert_eq!(send(&server, &change(&[], &["TOKEN"]), 3).await.json()["waiting"], true);
    assert_eq!(server.get("/health").await.status, 503);
}

#[tokio::test]
async fn an_enrolment_token_can_be_brought_where_devices_enrol() {
    let clients = Clients { enrolment: Enrolment::Token, ..Clients::of(Access::Device) };
    let wires = Wires { envelope: true, ..Wires::default() };
    let server = Server::start(Setup { clients: Some(clients), wires, secrets: listed(true), ..Setup::default() });
    assert_eq!(send(&server, &change(&[("TOKEN", &bearer(2))], &[]), 1).await.error().1, "secret_name");
    set(&server, "ENROLMENT", &bearer(2), 2).await;
    assert_eq!(server.state.clients().enrolments.len(), 1);
}

/// A machine with a secret of its own.
struct Sealing(Secret);

impl Tee for Sealing {
    fn platform(&self) -> Platform {
        Platform::None
    }

    fn bind(&self, document: &[u8], origin: Origin) -> Result<Binding, TeeError> {
        NoTee.bind(document, origin)
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Evidence, TeeError> {
        NoTee.evidence(report_data)
    }

    fn derived_secret(&self) -> Option<&Secret> {
        Some(&self.0)
    }
}

#[tokio::test]
async fn a_machine_that_seals_reads_its_file_after_a_restart_and_no_other_does() {
    let machine = |byte: u8| Some(Arc::new(Sealing(Zeroizing::new([byte; 32]))) as Arc<dyn Tee>);
    let setup = |machine, sealed| {
        let clients = Some(Clients::of(Access::Token));
        Setup { clients, secrets: listed(true), machine, sealed, ..Setup::default() }
    };
    let first = Server::start(setup(machine(1), None));
    set(&first, "TOKEN", &bearer(2), 41).await;
    let message = sealed_by(&first, &operator(1), &Change::default(), 42, 0);
    let file = first.send(post("/v1/operator/seal", message)).await;
    assert_eq!((file.status.as_u16(), file.header("content-type")), (200, "application/octet-stream"));
    let file = file.body.to_vec();
    let by_stranger = sealed_by(&first, &operator(9), &Change::default(), 43, 0);
    assert_eq!(first.send(post("/v1/operator/seal", by_stranger)).await.error().1, "invalid_operator");

    let second = Server::start(setup(machine(1), Some(file.clone())));
    assert_eq!((status(&second, &bearer(2)).await, second.get("/health").await.status.as_u16()), (200, 200));
    second.events.line(&["unsealed"]).await;
    assert_eq!(send(&second, &Change::default(), 42).await.error(), (409, "rollback".to_owned()));
    assert_eq!(send(&second, &Change::default(), 43).await.json()["names"], json!(["TOKEN"]));
    for (machine, file) in [(machine(7), file.clone()), (None, file.clone()), (machine(1), vec![1; 9])] {
        let other = Server::start(setup(machine, Some(file)));
        assert_eq!(other.get("/health").await.json()["waiting_for"], "secrets");
        other.events.line(&["not-unsealed"]).await;
    }
    let plain = Server::start(by_token());
    let message = sealed_by(&plain, &operator(1), &Change::default(), 1, 0);
    assert_eq!(plain.send(post("/v1/operator/seal", message)).await.error(), (501, "cannot_seal".to_owned()));
}

#[tokio::test]
async fn strangers_messages_leave_nothing_behind() {
    let keys = Keys { epoch_requests: 16, ..Keys::default() };
    let server = Server::start(Setup { keys, ..by_token() });
    for seed in 0..64 {
        let message = sealed_by(&server, &operator(9), &Change::default(), seed + 1, 0);
        assert_eq!(server.send(post(PATH, message)).await.status, 401);
    }
    assert_eq!(send(&server, &Change::default(), 1).await.status, 200);
}
