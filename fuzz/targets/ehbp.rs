//! EHBP: no body opens that was not sealed, and what is read of an answer is a prefix of the true one.
//!
//! The first byte chooses: a request's body, an answer's bytes, or a script that puts true chunks into another order.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use protocol::ehbp::{PendingAnswer, open_request, seal_request};
use protocol::hpke::{Kem, PublicKey, Random, SecretKey};

const CHUNKS: [&[u8]; 3] = [b"first", b"second", b"third"];

fn key() -> &'static SecretKey {
    static KEY: OnceLock<SecretKey> = OnceLock::new();
    KEY.get_or_init(|| SecretKey::derive(Kem::X25519, &[1; 32]))
}

fn public() -> &'static PublicKey {
    static KEY: OnceLock<PublicKey> = OnceLock::new();
    KEY.get_or_init(|| key().public_key())
}

fn seal() -> (String, Vec<u8>, PendingAnswer) {
    seal_request(public(), b"request", &mut Random(|bytes: &mut [u8]| bytes.fill(7))).expect("sealed")
}

/// The encapsulated key and the body of the true request.
fn request() -> &'static (String, Vec<u8>) {
    static REQUEST: OnceLock<(String, Vec<u8>)> = OnceLock::new();
    REQUEST.get_or_init(|| {
        let (enc, body, _) = seal();
        (enc, body)
    })
}

fn answer() -> &'static (String, Vec<Vec<u8>>) {
    static ANSWER: OnceLock<(String, Vec<Vec<u8>>)> = OnceLock::new();
    ANSWER.get_or_init(|| {
        let (enc, body) = request();
        let reply = open_request(&[key()], enc, body, 4096).expect("opened").reply;
        let (nonce, mut sealer) = reply.start(&mut Random(|bytes: &mut [u8]| bytes.fill(9))).expect("started");
        let sealed = CHUNKS.map(|chunk| {
            let mut frame = Vec::new();
            sealer.seal(chunk, &mut frame).expect("sealed");
            frame
        });
        (nonce, sealed.to_vec())
    })
}

fn read(bytes: &[u8], size: usize) {
    let (mut opener, mut content) = (seal().2.start(&answer().0, 4096).expect("started"), Vec::new());
    let fed = bytes.chunks(size).try_for_each(|piece| opener.feed(piece, &mut content));
    assert!(CHUNKS.concat().starts_with(&content));
    let _ = fed.and_then(|()| opener.finish());
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    let size = usize::from(choice / 3) + 1;
    match choice % 3 {
        0 => {
            if let Ok(opened) = open_request(&[key()], &request().0, rest, 4096) {
                assert_eq!(*opened.content, b"request");
            }
        }
        1 => read(rest, size),
        _ => {
            let frames = &answer().1;
            let chosen = rest.iter().take(20).map(|step| frames.get(usize::from(step % 4)).map_or(&[0; 4][..], Vec::as_slice));
            read(&chosen.collect::<Vec<_>>().concat(), size);
        }
    }
});
