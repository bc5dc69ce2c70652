//! Why a server does not open a message: as much as its sender may learn.

use crate::hpke::Undecryptable;

/// A message that a server refuses. Each wire gives it the form that its specification demands.
///
/// What fails to decrypt has one form, whatever the reason; the other forms follow from bytes that every observer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The key, or the suite, is none that is offered: the client should fetch the keys again.
    #[error("the message is for a key that is not offered")]
    UnknownKey,
    /// The message does not decrypt.
    #[error("the message cannot be decrypted")]
    Undecryptable,
    /// The framing around the ciphertext is not what the wire demands, or is cut off.
    #[error("the message is malformed")]
    Malformed,
    /// A signature over the message's clear part is not its signer's.
    #[error("the signature of the message is not its signer's")]
    Signature,
    /// The message's counter is not above the last one: it is old, or somebody plays it again.
    #[error("the counter of the message is not above the last one")]
    Rollback,
    /// The message, or a part of it, is longer than allowed.
    #[error("the message is longer than allowed")]
    TooLong,
}

impl From<Undecryptable> for Refusal {
    fn from(_: Undecryptable) -> Self {
        Self::Undecryptable
    }
}
