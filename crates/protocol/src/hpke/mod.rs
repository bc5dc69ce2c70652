//! HPKE (RFC 9180), base mode: the suites of the wires, chosen at run time.
//!
//! A thin layer over the `hpke` crate: it turns the crate's type parameters into values, takes randomness as an argument,
//! keeps secrets in boxes that are wiped, and has one error for whatever fails to decrypt.

mod answer;
mod context;
mod key;
mod rng;
mod suite;
mod wiped;

pub use answer::{AnswerKey, answer_nonce_len};
pub use context::{Receiver, Sender, receive, send};
pub use key::{NotAKey, PublicKey, SecretKey};
pub use rng::{CryptoRng, Random};
pub use suite::{Aead, HKDF_SHA256, Kem, Suite};
pub use wiped::Wiped;

/// The one error of whatever does not decrypt: it does not tell a wrong key from a changed byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message cannot be decrypted")]
pub struct Undecryptable;

/// A message that cannot be encrypted: the key is of low order, or the context has no nonces left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message cannot be encrypted")]
pub struct Unsealable;
