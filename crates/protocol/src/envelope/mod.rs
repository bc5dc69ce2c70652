//! The envelope: a sealed prompt in a JSON document, answered by sealed events, for apps without an OHTTP library.
//!
//! HPKE base mode, X25519 with HKDF-SHA256 and ChaCha20-Poly1305. The exact bytes and vectors are in `docs/protocol.md`.
//! A server reads a body with [`Message::parse`], checks its time and its device, opens it with [`open`], and answers with
//! the [`AnswerSealer`] that comes with it; a client makes a body with [`seal`].
//!
//! A server must refuse an encapsulated key and a `rid` that it has seen before ([`crate::replay`]): opening does not.

mod answer;
mod device;
mod keys;
mod message;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub use answer::{AnswerOpener, AnswerSealer, EventError};
pub use device::{Device, DeviceAlgorithm, DeviceSigner};
pub use keys::{EnvelopeKey, KeyPage, PublishedKey, jwks};
pub use message::{Message, Opened, Request, open, seal};

use crate::hpke::Aead;

/// The cipher of requests and answers.
const AEAD: Aead = Aead::ChaCha20Poly1305;
/// `info` of the HPKE context.
const INFO: &[u8] = b"lethe envelope request";
/// Label of the answer's key, 32 bytes.
const RESPONSE: &[u8] = b"lethe envelope response";
/// Label of the answer's base nonce, 12 bytes.
const NONCE: &[u8] = b"lethe envelope nonce";

/// Binary members are base64url without padding, in the one canonical form.
fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// A `rid` has 16 to 64 letters, digits, `-` and `_`: enough for 96 random bits, and nothing that needs an escape.
fn is_rid(text: &str) -> bool {
    (16..=64).contains(&text.len()) && is_name(text)
}

/// A `kid` has 1 to 64 of the same characters.
fn is_kid(text: &str) -> bool {
    (1..=64).contains(&text.len()) && is_name(text)
}

fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
