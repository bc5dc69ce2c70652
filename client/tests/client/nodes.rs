//! `lethe proxy` in front of several appliances.

use std::{
    net::SocketAddr,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use lethe::{
    error::{Error, Refusal},
    proxy::{Balance, BreakerSettings, Guard, NodeSettings, Nodes},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    fake::{Fake, Lie},
    proxy::{CHAT, HOST, ask, code, serve},
    reply::Reply,
};

const BUSY: Reply = Reply::Status { status: 429, retry_after: Some("7"), code: "queue_full", message: "later" };
const BROKEN: Reply = Reply::Status { status: 500, retry_after: None, code: "engine_failed", message: "oh" };

/// Settings with short waits. Health checks are rare, where a test is not about them.
fn quick() -> NodeSettings {
    NodeSettings {
        first_wait: Duration::from_millis(5),
        longest_wait: Duration::from_millis(20),
        health_interval: Duration::from_secs(3600),
        ..NodeSettings::default()
    }
}

async fn start(fakes: &[&Fake], settings: NodeSettings) -> SocketAddr {
    let options = fakes.iter().map(|fake| fake.options()).collect();
    let (nodes, missing) = Nodes::open(options, settings).await.unwrap();
    assert!(missing.is_empty());
    serve(nodes, Guard::default())
}

async fn two(settings: NodeSettings) -> (Fake, Fake, SocketAddr) {
    let (one, other) = (Fake::start(vec![Reply::Whole("one")]).await, Fake::start(vec![Reply::Whole("other")]).await);
    let proxy = start(&[&one, &other], settings).await;
    (one, other, proxy)
}

/// Asks a question and gives the status.
async fn question(proxy: SocketAddr) -> u16 {
    ask(proxy, "POST", CHAT, HOST, "{}").await.0
}

/// So many questions, one after the other, all answered.
async fn questions(proxy: SocketAddr, number: usize) {
    for _ in 0..number {
        assert_eq!(question(proxy).await, 200);
    }
}

async fn status(proxy: SocketAddr) -> Value {
    let (_, answer) = ask(proxy, "GET", "/lethe/status", HOST, "").await;
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

/// Waits until a node has a state.
async fn until(proxy: SocketAddr, node: usize, state: &str) {
    for _ in 0..500 {
        if status(proxy).await["nodes"][node]["state"] == state {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("node {node} is not {state}: {}", status(proxy).await);
}

/// Waits until the nodes got so many questions together.
async fn asked(nodes: &[&Fake], count: usize) {
    for _ in 0..500 {
        if nodes.iter().map(|node| node.count()).sum::<usize>() == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{count} questions never came: {:?}", nodes.iter().map(|node| node.count()).collect::<Vec<_>>());
}

#[tokio::test]
async fn requests_go_where_the_fewest_are_under_way() {
    let (one, other, proxy) = two(quick()).await;
    for fake in [&one, &other] {
        *fake.state.delay.lock().unwrap() = Duration::from_secs(1);
    }
    let mut asking = JoinSet::new();
    for _ in 0..16 {
        asking.spawn(question(proxy));
    }
    assert!(asking.join_all().await.iter().all(|status| *status == 200));
    assert_eq!((one.count(), other.count()), (8, 8));
    // One that is slow gets less.
    *one.state.delay.lock().unwrap() = Duration::from_secs(60);
    let waiting = tokio::spawn(question(proxy));
    let waiting_too = tokio::spawn(question(proxy));
    asked(&[&one, &other], 18).await;
    tokio::time::sleep(Duration::from_millis(1500)).await; // the quicker one's answer is there
    *other.state.delay.lock().unwrap() = Duration::ZERO;
    questions(proxy, 6).await;
    assert_eq!((one.count(), other.count()), (9, 15));
    waiting.abort();
    waiting_too.abort();
}

#[tokio::test]
async fn a_node_whose_verification_is_overdue_is_not_used() {
    let interval = Duration::from_secs(1);
    let settings = NodeSettings { verify_interval: interval, health_interval: Duration::from_millis(20), ..quick() };
    let (one, other, proxy) = two(settings).await;
    *one.state.lie.lock().unwrap() = Lie::Unavailable;
    // What keeps it from being verified may be the network: its proof still counts for a while.
    tokio::time::sleep(interval).await;
    assert_eq!(status(proxy).await["nodes"][0]["state"], "in_rotation");
    until(proxy, 0, "outdated").await;
    let before = one.count();
    questions(proxy, 4).await;
    assert_eq!((one.count(), other.count() >= 4), (before, true));
    *one.state.lie.lock().unwrap() = Lie::None;
    until(proxy, 0, "in_rotation").await;
    // The other one was verified all the while.
    assert_eq!(status(proxy).await["nodes"][1]["state"], "in_rotation");
}

#[tokio::test]
async fn a_single_node_whose_verification_is_overdue_gets_nothing() {
    let interval = Duration::from_millis(200);
    let settings = NodeSettings { verify_interval: interval, health_interval: Duration::from_millis(20), ..quick() };
    let fake = Fake::start(vec![Reply::Whole("one")]).await;
    let proxy = start(&[&fake], settings).await;
    *fake.state.lie.lock().unwrap() = Lie::Unavailable;
    until(proxy, 0, "outdated").await;
    let before = fake.count();
    assert_eq!(question(proxy).await, 502);
    assert_eq!(fake.count(), before);
    *fake.state.lie.lock().unwrap() = Lie::None;
    until(proxy, 0, "in_rotation").await;
    assert_eq!(question(proxy).await, 200);
}

#[tokio::test]
async fn round_robin_does_not_care_who_is_busy() {
    let (one, other, proxy) = two(NodeSettings { balance: Balance::RoundRobin, ..quick() }).await;
    *one.state.delay.lock().unwrap() = Duration::from_millis(300);
    let mut asking = JoinSet::new();
    for _ in 0..4 {
        asking.spawn(question(proxy));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    asking.join_all().await;
    assert_eq!((one.count(), other.count()), (2, 2));
}

#[tokio::test]
async fn a_node_that_fails_is_left_alone_and_tried_with_one_request_after_the_pause() {
    let breaker = BreakerSettings { failures: 2, pause: Duration::from_millis(1500) };
    let (one, other, proxy) = two(NodeSettings { breaker, ..quick() }).await;
    one.reply(BROKEN);
    questions(proxy, 12).await;
    assert_eq!((one.count(), other.count()), (2, 12), "every question was answered by the other");
    let seen = status(proxy).await;
    assert_eq!(
        (&seen["nodes"][0]["state"], &seen["nodes"][0]["breaker"]["state"]),
        (&"resting".into(), &"open".into())
    );
    assert_eq!(seen["nodes"][1]["state"], "in_rotation");

    // Still broken: one more question, and it rests again.
    tokio::time::sleep(Duration::from_millis(1550)).await;
    questions(proxy, 6).await;
    assert_eq!(one.count(), 3);
    // Well again: the one on trial succeeds, and it has its share.
    one.reply(Reply::Whole("one"));
    tokio::time::sleep(Duration::from_millis(1550)).await;
    questions(proxy, 6).await;
    assert_eq!(one.count(), 6);
    assert_eq!(status(proxy).await["nodes"][0]["breaker"]["state"], "closed");
}

#[tokio::test]
async fn where_all_rest_the_answer_says_when_to_come_again() {
    let breaker = BreakerSettings { failures: 1, pause: Duration::from_secs(20) };
    let (one, other, proxy) = two(NodeSettings { breaker, ..quick() }).await;
    one.reply(BROKEN);
    other.reply(BROKEN);
    assert_eq!(question(proxy).await, 500);
    let (status, answer) = ask(proxy, "POST", CHAT, HOST, "{}").await;
    assert_eq!((status, code(&answer)), (503, "no_node_available".into()));
    assert!(answer.contains("retry-after: 20"), "{answer}");
    assert_eq!((one.count(), other.count()), (1, 1));
}

#[tokio::test]
async fn a_single_node_is_never_left_alone() {
    let fake = Fake::start(vec![BROKEN]).await;
    let proxy =
        start(&[&fake], NodeSettings { breaker: BreakerSettings { failures: 1, ..Default::default() }, ..quick() })
            .await;
    for _ in 0..3 {
        assert_eq!(question(proxy).await, 500);
    }
    fake.reply(Reply::Whole("hi"));
    assert_eq!(question(proxy).await, 200);
    assert_eq!(fake.count(), 4, "nor is anything asked twice");
}

#[tokio::test]
async fn when_a_node_is_killed_the_other_answers_everything_that_had_not_begun() {
    let (one, other, proxy) = two(quick()).await;
    for fake in [&one, &other] {
        *fake.state.delay.lock().unwrap() = Duration::from_secs(1);
    }
    let mut asking = JoinSet::new();
    for _ in 0..16 {
        asking.spawn(async move { ask(proxy, "POST", CHAT, HOST, "{}").await });
    }
    asked(&[&one, &other], 16).await;
    assert_eq!(one.count(), 8);
    one.kill();
    for _ in 0..16 {
        asking.spawn(async move { ask(proxy, "POST", CHAT, HOST, "{}").await });
    }
    for (status, answer) in asking.join_all().await {
        assert!(status == 200 && answer.contains("other"), "{answer}");
    }
    assert_eq!(other.count(), 32);
}

#[tokio::test]
async fn after_the_first_byte_nothing_is_repeated() {
    let (one, other, proxy) = two(quick()).await;
    one.reply(Reply::Cut(vec!["begun"]));
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    let request = format!("POST {CHAT} HTTP/1.1\r\n{HOST}connection: close\r\ncontent-length: 2\r\n\r\n{{}}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    let _ = stream.read_to_end(&mut seen).await;
    let seen = String::from_utf8(seen).unwrap();
    assert!(seen.contains("begun") && !seen.contains("other") && !seen.ends_with("0\r\n\r\n"), "{seen}");
    assert_eq!((one.count(), other.count()), (1, 0));
    assert_eq!(status(proxy).await["nodes"][0]["broken"], 1);
}

#[tokio::test]
async fn before_the_first_byte_another_node_is_asked() {
    for reply in [Reply::HangUp, Reply::Cut(vec![]), BROKEN] {
        let (one, other, proxy) = two(quick()).await;
        one.reply(reply);
        let (status, answer) = ask(proxy, "POST", CHAT, HOST, "{}").await;
        assert!(status == 200 && answer.contains("other"), "{answer}");
        // A kept connection that ends without an answer is tried anew at the same node first.
        assert!((1..=2).contains(&one.count()) && other.count() == 1);
    }
}

#[tokio::test]
async fn what_might_do_harm_twice_is_sent_once() {
    let (one, other, proxy) = two(quick()).await;
    one.reply(Reply::HangUp);
    let files = |fake: &Fake| {
        fake.state.asked.lock().unwrap().iter().filter(|asked| asked.path.starts_with("/v1/files")).count()
    };
    assert_eq!(ask(proxy, "POST", "/v1/files", HOST, "{}").await.0, 502);
    assert_eq!((files(&one), files(&other)), (1, 0));
    // Unless nothing of it was sent.
    one.kill();
    assert_eq!(ask(proxy, "POST", "/v1/files", HOST, "{}").await.0, 200);
    assert_eq!(ask(proxy, "POST", "/v1/files", HOST, "{}").await.0, 200);
    assert_eq!(files(&other), 2);
}

#[tokio::test]
async fn a_busy_node_is_spared_and_its_answer_passed_on_only_if_all_are_busy() {
    let (one, other, proxy) = two(quick()).await;
    one.reply(BUSY);
    questions(proxy, 4).await;
    assert_eq!((one.count(), other.count()), (1, 4), "it was left alone for the time it asked for");
    other.reply(BUSY);
    let (status, answer) = ask(proxy, "POST", CHAT, HOST, "{}").await;
    assert_eq!((status, code(&answer)), (429, "queue_full".into()));
    assert!(answer.contains("retry-after: 7"));
    assert_eq!((one.count(), other.count()), (2, 5));
}

#[tokio::test]
async fn an_answer_that_does_not_begin_in_time_is_a_504() {
    let (one, other, proxy) = two(NodeSettings { budget: Duration::from_millis(300), ..quick() }).await;
    for fake in [&one, &other] {
        *fake.state.delay.lock().unwrap() = Duration::from_secs(3600);
    }
    let began = Instant::now();
    let (status, answer) = ask(proxy, "POST", CHAT, HOST, "{}").await;
    assert_eq!((status, code(&answer)), (504, "budget_exceeded".into()));
    assert!(began.elapsed() >= Duration::from_millis(300) && began.elapsed() < Duration::from_secs(3));
    // The budget is for the beginning.
    let proxy = start(&[&one, &other], NodeSettings { budget: Duration::from_millis(900), ..quick() }).await;
    for fake in [&one, &other] {
        *fake.state.delay.lock().unwrap() = Duration::from_millis(100);
        fake.reply(Reply::Stream(vec!["slow"; 1000]));
    }
    let began = Instant::now();
    assert_eq!(question(proxy).await, 200);
    assert!(began.elapsed() >= Duration::from_millis(900), "or this shows nothing");
}

#[tokio::test]
async fn a_node_that_begins_to_lie_gets_no_more_prompts_until_it_is_honest() {
    let (one, other, proxy) = two(NodeSettings { balance: Balance::RoundRobin, ..quick() }).await;
    questions(proxy, 4).await;
    one.lie(Lie::OtherReportData);
    one.state.next_epoch();
    // The answer that names the new keyset still comes over the verified key.
    questions(proxy, 2).await;
    until(proxy, 0, "refused").await;
    let before = one.count();
    questions(proxy, 10).await;
    assert_eq!(one.count(), before, "no prompt reached it");
    let seen = status(proxy).await;
    assert_eq!(seen["state"], "open");
    assert!(seen["nodes"][0]["reason"].as_str().unwrap().contains("report_data"), "{seen}");
    assert_eq!(seen["nodes"][0]["labels"][5]["outcome"], "refused");
    assert_eq!(other.count(), 13);

    one.lie(Lie::None);
    until(proxy, 0, "in_rotation").await;
    questions(proxy, 2).await;
    assert_eq!(one.count(), before + 1);
}

#[tokio::test]
async fn a_node_with_a_new_key_that_nothing_proves_gets_no_prompt() {
    let (one, other, proxy) = two(NodeSettings { balance: Balance::RoundRobin, ..quick() }).await;
    one.restart();
    questions(proxy, 6).await;
    assert_eq!((one.count(), other.count()), (0, 6));
    assert_eq!(status(proxy).await["nodes"][0]["state"], "refused");
}

#[tokio::test]
async fn where_no_node_is_verified_any_more_the_answer_says_why() {
    let (one, other, proxy) = two(quick()).await;
    one.restart();
    other.restart();
    for _ in 0..3 {
        let (status, answer) = ask(proxy, "POST", CHAT, HOST, "{}").await;
        assert_eq!((status, code(&answer)), (502, "appliance_key_changed".into()));
    }
    assert_eq!((one.count(), other.count()), (0, 0));
    assert_eq!(status(proxy).await["state"], "closed");
}

#[tokio::test]
async fn keys_that_change_in_time_cost_no_request() {
    let (one, other, proxy) = two(NodeSettings { balance: Balance::RoundRobin, ..quick() }).await;
    for _ in 0..3 {
        one.state.next_epoch();
        other.state.next_epoch();
        questions(proxy, 8).await;
    }
    assert_eq!(one.count() + other.count(), 24);
    assert!(one.count() >= 6 && other.count() >= 6);
}

#[tokio::test]
async fn a_node_that_is_not_ready_is_spared_until_it_is() {
    let settings = NodeSettings { health_interval: Duration::from_millis(50), ..quick() };
    let (one, other, proxy) = two(settings).await;
    one.state.ready.store(false, Ordering::SeqCst);
    until(proxy, 0, "not_ready").await;
    questions(proxy, 4).await;
    assert_eq!((one.count(), other.count()), (0, 4));
    one.state.ready.store(true, Ordering::SeqCst);
    until(proxy, 0, "in_rotation").await;
    questions(proxy, 4).await;
    assert_eq!(one.count(), 2);
}

#[tokio::test]
async fn whoever_waits_for_a_node_that_stands_still_is_answered_by_another() {
    let patience = Duration::from_millis(500);
    let settings = NodeSettings { health_interval: Duration::from_millis(50), health_patience: patience, ..quick() };
    let (one, other, proxy) = two(settings).await;
    *one.state.delay.lock().unwrap() = Duration::from_secs(3600);
    let waiting = tokio::spawn(async move { ask(proxy, "POST", CHAT, HOST, "{}").await });
    tokio::time::sleep(3 * patience).await;
    assert!(!waiting.is_finished(), "it may take its time while it answers its health checks");
    assert_eq!((one.count(), other.count()), (1, 0));
    one.state.deaf.store(true, Ordering::SeqCst);
    let (status, answer) = waiting.await.unwrap();
    assert!(status == 200 && answer.contains("other"), "{answer}");
    until(proxy, 0, "unreachable").await;
}

#[tokio::test]
async fn one_verified_node_is_enough_unless_all_are_demanded() {
    let (good, bad) = (Fake::start(vec![Reply::Whole("hi")]).await, Fake::start(vec![Reply::Whole("hi")]).await);
    bad.lie(Lie::OtherSpki);
    let options = || vec![bad.options(), good.options()];
    let (nodes, missing) = Nodes::open(options(), quick()).await.unwrap();
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].address.to_string(), bad.url());
    assert!(matches!(missing[0].error, Error::Refused(Refusal::TlsKeyNotInKeyset)));
    let proxy = serve(nodes, Guard::default());
    questions(proxy, 4).await;
    assert_eq!((good.count(), bad.count()), (4, 0));
    assert_eq!(status(proxy).await["nodes"][0]["state"], "unverified");
    // It is asked again in the background.
    bad.lie(Lie::None);
    until(proxy, 0, "in_rotation").await;
    questions(proxy, 2).await;
    assert_eq!(bad.count(), 1);

    bad.lie(Lie::OtherSpki);
    assert_eq!(Nodes::open(options(), NodeSettings { all: true, ..quick() }).await.err().unwrap().len(), 1);
    good.lie(Lie::OtherSpki);
    assert_eq!(Nodes::open(options(), quick()).await.err().unwrap().len(), 2);
}

#[tokio::test]
async fn the_status_shows_every_node() {
    let (one, _other, proxy) = two(quick()).await;
    questions(proxy, 3).await;
    let seen = status(proxy).await;
    assert_eq!((&seen["forwarded"], &seen["balance"]), (&3.into(), &"least-busy".into()));
    assert_eq!(seen["tls_key"], Value::Null, "there are two");
    let nodes = seen["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 2);
    assert_eq!((&nodes[0]["forwarded"], &nodes[1]["forwarded"]), (&2.into(), &1.into()));
    for (node, fake) in nodes.iter().zip([&one, &_other]) {
        assert_eq!(node["appliance"], fake.url());
        assert_eq!(node["tls_key"], fake.pin().to_string());
        assert_eq!(node["labels"].as_array().unwrap().len(), 6);
        assert_eq!(node["breaker"], serde_json::json!({"state": "closed", "failures": 0}));
    }
}
