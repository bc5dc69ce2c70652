//! What somebody on the way sees of answers over chunked OHTTP, at each setting of `wires.shape`.
//!
//! `cargo test --release -p lethe-appliance --test server traffic -- --nocapture --test-threads 1` prints the table of
//! `docs/threat-model.md`, and the series that `tests/bench/traffic.py` draws.

use std::time::{Duration, Instant};

use deployment::{Shape, Wires};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt as _;
use protocol::bhttp::{Field, Request, RequestHead};
use protocol::hpke::{Aead, Random};
use protocol::ohttp::{CHUNKED_REQUEST_TYPE, decode_list, seal_chunked_request};
use protocol::receipt::{IN_TRAILER, RECEIPT_FIELD};
use protocol::shape::pad_message;
use serde_json::json;

use crate::client::{begin, chat, post, tls};
use crate::engine::Script;
use crate::server::{Server, Setup};

const GATEWAY: &str = "/.well-known/ohttp-gateway";

/// Pieces of text, each after a wait in milliseconds.
type Said = Vec<(u64, &'static str)>;

/// Eight short tokens.
fn refusal() -> Said {
    ["No", ",", " I", " do", " not", " know", " it", "."].map(|token| (40, token)).to_vec()
}

/// Eight tokens with other lengths at the same times.
fn diagnosis() -> Said {
    [" Symptoms", " suggest", " myocarditis", ";", " immediate", " hospital", "isation", "!"]
        .map(|token| (40, token))
        .to_vec()
}

/// The first one's text with another rhythm, in the same time.
fn halting() -> Said {
    let waits = [10, 10, 10, 130, 10, 10, 10, 130];
    refusal().into_iter().zip(waits).map(|((_, token), wait)| (wait, token)).collect()
}

/// The first one twice.
fn longer() -> Said {
    [refusal(), refusal()].concat()
}

/// One chunk on its way: its ciphertext's length in bytes, and the time since the one before.
#[derive(Clone, Copy)]
struct Seen {
    size: usize,
    after: Duration,
}

/// The sealed chunks of one answer as an observer of the ciphertext sees them; the head and the end, which are the same for all
/// answers, are left out.
async fn observed(shape: Shape, said: Said) -> Vec<Seen> {
    let wires = Wires { shape, paced_bytes: 1024, paced_ms: 20, ..Wires::default() };
    let server = Server::start(Setup { script: Script::SayWithPauses(said), wires, ..Setup::default() });
    let mut random = Random(|bytes: &mut [u8]| getrandom::fill(bytes).expect("random bytes"));
    let config = decode_list(&server.get(GATEWAY).await.body).expect("our list").remove(0);
    let (message, _) =
        seal_chunked_request(&config, Aead::ChaCha20Poly1305, &asking("hi"), &mut random).expect("sealed");
    let mut request = post(GATEWAY, message);
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(CHUNKED_REQUEST_TYPE));
    let mut response = begin(tls(&server, b"http/1.1").await, request).await;
    let (mut read, mut arrivals) = (Vec::new(), Vec::new());
    while let Some(frame) = response.frame().await {
        read.extend_from_slice(frame.expect("bytes").data_ref().expect("data"));
        arrivals.push((read.len(), Instant::now()));
    }
    chunks(&read, &arrivals)
}

/// The request for a streamed answer with its receipt, in Binary HTTP.
fn asking(text: &str) -> Vec<u8> {
    let fields = vec![Field::new("content-type", "application/json"), Field::new(RECEIPT_FIELD, IN_TRAILER)];
    let head = RequestHead {
        method: "POST".to_owned(),
        scheme: "https".to_owned(),
        authority: String::new(),
        path: "/v1/chat/completions".to_owned(),
        fields,
    };
    let content = chat(&json!({"stream": true, "messages": [{"role": "user", "content": text}]})).into_bytes();
    Request { head, content, trailers: Vec::new() }.encode_indeterminate()
}

/// Cuts what was read at the lengths, which are clear: nonce (32 bytes), head, pieces, and 0 before the final chunk.
fn chunks(read: &[u8], arrivals: &[(usize, Instant)]) -> Vec<Seen> {
    let (mut at, mut ends) = (32, Vec::new());
    loop {
        let width = 1 << (read[at] >> 6);
        let length = read[at..at + width].iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
        let length = length & ((1 << (8 * width - 2)) - 1);
        at += width + length;
        if length == 0 {
            break;
        }
        let arrived = arrivals.iter().find(|(read, _)| *read >= at).expect("it has come").1;
        ends.push((length, arrived));
    }
    ends.windows(2).map(|pair| Seen { size: pair[1].0, after: pair[1].1 - pair[0].1 }).collect()
}

fn sizes(seen: &[Seen]) -> Vec<usize> {
    seen.iter().map(|chunk| chunk.size).collect()
}

/// Times between chunks in milliseconds, the first left out: shortest, median, longest.
fn gaps(seen: &[Seen]) -> [u128; 3] {
    let mut gaps: Vec<_> = seen.iter().skip(1).map(|chunk| chunk.after.as_millis()).collect();
    gaps.sort_unstable();
    [gaps[0], gaps[gaps.len() / 2], gaps[gaps.len() - 1]]
}

/// All four answers at one setting, for the page.
async fn table(shape: Shape) -> [Vec<Seen>; 4] {
    let seen = [
        observed(shape, refusal()).await,
        observed(shape, diagnosis()).await,
        observed(shape, halting()).await,
        observed(shape, longer()).await,
    ];
    for (name, seen) in ["short words", "long words", "another rhythm", "twice as long"].iter().zip(&seen) {
        let mut distinct = sizes(seen);
        distinct.sort_unstable();
        distinct.dedup();
        let [shortest, median, longest] = gaps(seen);
        let (count, total) = (seen.len(), sizes(seen).iter().sum::<usize>());
        let series: Vec<_> = seen.iter().map(|chunk| format!("{},{}", chunk.after.as_millis(), chunk.size)).collect();
        println!("series {shape:?} {name}: {}", series.join(" "));
        println!("| `{shape:?}` | {name} | {distinct:?} | {count} | {total} | {shortest}, {median}, {longest} |");
    }
    seen
}

#[tokio::test]
async fn traffic_without_a_shape_shows_the_length_and_the_time_of_each_token() {
    let [short, long, halting, _] = table(Shape::Off).await;
    // an event's frame is the same for every token of an answer: what differs is the token
    let tokens = |seen: &[Seen], said: &Said| {
        let pieces = &sizes(seen)[1..=said.len()];
        pieces.iter().zip(said).map(|(size, (_, token))| size - token.len()).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(tokens(&short, &refusal()).len(), 1, "the observer reads off the length of every token");
    assert_eq!(tokens(&long, &diagnosis()), tokens(&short, &refusal()), "of every answer");
    assert_ne!(sizes(&short), sizes(&long));
    assert_eq!(sizes(&short), sizes(&halting));
    assert!(gaps(&halting)[2] > 100, "and its rhythm");
}

#[tokio::test]
async fn traffic_that_is_padded_shows_how_many_tokens_there_are_and_when_but_not_their_lengths() {
    let [short, long, halting, longer] = table(Shape::Padded).await;
    assert!(
        [&short, &long, &halting, &longer]
            .iter()
            .all(|seen| seen.iter().all(|chunk| [512, 1024].contains(&(chunk.size - 18))))
    );
    // events that were ready together share a chunk, so that counts may differ by the few at the ends
    assert!(short.len().abs_diff(long.len()) <= 3, "{} and {}", short.len(), long.len());
    assert!(longer.len() >= short.len() + 5, "the number of tokens shows");
    assert!(gaps(&halting)[2] > 100, "and the rhythm");
}

#[tokio::test]
async fn traffic_that_is_paced_shows_how_long_an_answer_took_and_nothing_else() {
    let [short, long, halting, longer] = table(Shape::Paced).await;
    for seen in [&short, &long, &halting, &longer] {
        assert!(seen.iter().all(|chunk| chunk.size == 1024 + 2 + 16), "{:?}", sizes(seen));
        // what an observer measures lies around the tick; a busy machine only makes it longer
        assert!(gaps(seen)[1] >= 15, "{:?}", gaps(seen));
    }
    // also where a token comes every second tick alone; not every one of three answers meets a busy moment
    assert!([&short, &long, &longer].iter().any(|seen| gaps(seen)[1] <= 32), "frames between tokens");
    // three answers of the same duration: frames differ by what the clock of a busy machine makes of it
    for other in [&long, &halting] {
        assert!(short.len().abs_diff(other.len()) <= 6, "{} and {}", short.len(), other.len());
    }
    assert!(longer.len() >= short.len() + 6, "the duration shows");
    // Its silences of 130 ms are filled with frames; on a busy machine perhaps not at the first try.
    let mut calm = gaps(&halting)[2] < 100;
    for _ in 0..4 {
        calm = calm || gaps(&observed(Shape::Paced, crate::traffic::halting()).await)[2] < 100;
    }
    assert!(calm, "the rhythm does not show");
}

#[test]
fn a_prompt_shows_its_length_unless_the_client_pads_it() {
    let mut random = Random(|bytes: &mut [u8]| bytes.fill(7));
    let key = protocol::ohttp::GatewayKey {
        key_id: 1,
        secret: protocol::hpke::SecretKey::derive(protocol::hpke::Kem::X25519, &[1; 32]),
        aeads: vec![Aead::Aes128Gcm],
    };
    let mut size = |text: &str, padded: bool| {
        let mut message = asking(text);
        if padded {
            pad_message(&mut message, 0);
        }
        seal_chunked_request(&key.config(), Aead::Aes128Gcm, &message, &mut random).expect("sealed").0.len()
    };
    assert_eq!(
        size("a much longer question", false) - size("short", false),
        "a much longer question".len() - "short".len()
    );
    assert_eq!(size("a much longer question", true), size("short", true));
}
