//! OHTTP: no input opens that was not sealed, and an answer reads as the whole or not at all, whatever happens to its frames.
//!
//! The first byte chooses: key configurations, a request, a chunked request, an answer's bytes after a true nonce, or a
//! script that puts true frames of an answer into another order.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use protocol::hpke::{Aead, Kem, Random, SecretKey};
use protocol::ohttp::{
    ChunkOpener, GatewayKey, KeyConfig, decode_list, encode_list, open_chunked_request, open_request, seal_chunked_request,
};

const CHUNKS: [&[u8]; 3] = [b"first", b"second", b"third"];

fn key() -> &'static GatewayKey {
    static KEY: OnceLock<GatewayKey> = OnceLock::new();
    let aeads = vec![Aead::Aes128Gcm, Aead::ChaCha20Poly1305];
    KEY.get_or_init(|| GatewayKey { key_id: 1, secret: SecretKey::derive(Kem::X25519, &[1; 32]), aeads })
}

fn request() -> (Vec<u8>, ChunkOpener) {
    let mut random = Random(|bytes: &mut [u8]| bytes.fill(7));
    seal_chunked_request(&key().config(), Aead::Aes128Gcm, b"request", &mut random).expect("sealed")
}

/// The nonce and the frames of the true answer, the final one last.
fn answer() -> &'static (Vec<u8>, Vec<Vec<u8>>) {
    static ANSWER: OnceLock<(Vec<u8>, Vec<Vec<u8>>)> = OnceLock::new();
    ANSWER.get_or_init(|| {
        let reply = open_chunked_request(&[key()], &request().0).expect("opened").reply;
        let (nonce, mut sealer) = reply.start(&mut Random(|bytes: &mut [u8]| bytes.fill(9))).expect("started");
        let mut frames = vec![Vec::new(); CHUNKS.len() + 1];
        for (chunk, frame) in CHUNKS.iter().zip(&mut frames) {
            sealer.seal(chunk, frame).expect("sealed");
        }
        sealer.finish(b"last", &mut frames[CHUNKS.len()]).expect("sealed");
        (nonce, frames)
    })
}

/// Whole answers are the true one; what came before an error is a prefix of it.
fn read(bytes: &[u8], size: usize) {
    let whole = [&CHUNKS.concat(), b"last".as_slice()].concat();
    let (mut opener, mut content) = (request().1, Vec::new());
    let fed = bytes.chunks(size).try_for_each(|piece| opener.feed(piece, &mut content));
    let complete = fed.is_ok() && opener.finish(&mut content).is_ok();
    assert!(whole.starts_with(&content));
    assert_eq!(complete, content == whole && complete);
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    match choice % 5 {
        0 => {
            if let Ok(configs) = decode_list(rest) {
                assert_eq!(decode_list(&encode_list(&configs)).as_ref(), Ok(&configs));
            }
            if let Ok(config) = KeyConfig::decode(rest) {
                assert_eq!(KeyConfig::decode(&config.encode()), Ok(config));
            }
        }
        1 => assert!(open_request(&[key()], rest).is_err()),
        2 => assert!(open_chunked_request(&[key()], rest).is_err() || rest == request().0),
        3 => read(&[&answer().0, rest].concat(), usize::from(choice / 5) + 1),
        _ => {
            let (nonce, frames) = answer();
            let mut bytes = nonce.clone();
            for step in rest.iter().take(20) {
                let frame = &frames[usize::from(step % 4)];
                let cut = usize::from(step / 4 % 16);
                bytes.extend(&frame[..frame.len() - if step / 64 == 3 { cut.min(frame.len()) } else { 0 }]);
            }
            read(&bytes, usize::from(choice / 5) + 1);
        }
    }
});
