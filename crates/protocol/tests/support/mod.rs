//! What the tests share: the corpus, and random bytes that are the same in every run.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests; each file uses some"
)]

use protocol::hpke::{CryptoRng, Random};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A file of the corpus named by `LETHE_CORPUS`, or `None` and a loud line where there is no corpus.
pub fn corpus(path: &str) -> Option<Value> {
    let Some(corpus) = std::env::var_os("LETHE_CORPUS") else {
        eprintln!("SKIPPED: LETHE_CORPUS is not set, {path} was not checked");
        return None;
    };
    let bytes = std::fs::read(std::path::Path::new(&corpus).join(path)).expect("the corpus can be read");
    Some(serde_json::from_slice(&bytes).expect("the corpus is JSON"))
}

/// The string member `name` of a vector.
pub fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
    vector[name].as_str().unwrap_or_else(|| panic!("{name} is a string"))
}

/// The hexadecimal member `name` of a vector.
pub fn bytes(vector: &Value, name: &str) -> Vec<u8> {
    hex::decode(text(vector, name)).expect("hexadecimal")
}

/// A generator whose output is a hash chain of `seed`.
pub fn seeded(seed: &str) -> impl CryptoRng + use<> {
    let mut state: [u8; 32] = Sha256::digest(seed).into();
    Random(move |buffer: &mut [u8]| {
        for piece in buffer.chunks_mut(32) {
            state = Sha256::digest(state).into();
            piece.copy_from_slice(&state[..piece.len()]);
        }
    })
}

/// A generator that gives exactly these bytes and then ends the test.
pub fn exactly(bytes: Vec<u8>) -> impl CryptoRng {
    let mut rest = bytes.into_iter();
    Random(move |buffer: &mut [u8]| buffer.fill_with(|| rest.next().expect("the vector has enough random bytes")))
}
