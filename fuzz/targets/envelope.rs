//! The envelope: bodies and events read or refused; what is read is written the same; only the true events open.
//!
//! The first byte chooses: a request's body, an event, or a script that puts true events into another order.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use protocol::envelope::{AnswerOpener, EnvelopeKey, Message, Request, open, seal};
use protocol::hpke::{Kem, Random, SecretKey};

const EVENTS: [&[u8]; 3] = [b"first", b"second", b"last"];

fn key() -> EnvelopeKey {
    EnvelopeKey { kid: "k".to_owned(), secret: SecretKey::derive(Kem::X25519, &[1; 32]) }
}

fn request() -> (Message, AnswerOpener) {
    let request = Request { content: b"{}", rid: "0123456789abcdef", ts: 1, device: None };
    seal(&key().published(), &request, &mut Random(|bytes: &mut [u8]| bytes.fill(7))).expect("sealed")
}

fn events() -> &'static Vec<String> {
    static SEALED: OnceLock<Vec<String>> = OnceLock::new();
    SEALED.get_or_init(|| {
        let mut reply = open(&[&key()], &request().0).expect("opened").reply;
        let seal = |(index, content): (usize, &&[u8])| reply.seal(content, index == 2).expect("sealed");
        EVENTS.iter().enumerate().map(seal).collect()
    })
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    match choice % 3 {
        0 => {
            let Ok(message) = Message::parse(rest) else { return };
            assert_eq!(Message::parse(&message.to_json()).as_ref(), Ok(&message));
            let _ = message.device();
            if let Ok(opened) = open(&[&key()], &message) {
                assert_eq!(**opened.content, *b"{}");
            }
        }
        1 => {
            if let Ok(content) = request().1.open(rest) {
                assert_eq!(**content, *EVENTS[0]);
            }
        }
        _ => {
            let (mut opener, mut read) = (request().1, Vec::new());
            for step in rest.iter().take(8) {
                let Ok(content) = opener.open(events()[usize::from(step % 3)].as_bytes()) else { break };
                read.extend_from_slice(&content);
            }
            assert!(EVENTS.concat().starts_with(&read));
            assert_eq!(opener.finish().is_ok(), read == EVENTS.concat());
        }
    }
});
