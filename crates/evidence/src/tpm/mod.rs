//! TPM 2.0 quotes: registers signed by an attestation key that the relying party trusts, and the events behind them.
//!
//! A TPM proves what its attestation key is worth: a pinned key of one's own emulated TPM proves the path, a cloud's
//! certified key proves what the cloud says.
//!
//! Source: TCG "TPM 2.0 Library", part 2, sections 10.12 (`TPMS_ATTEST`) and 11.3 (`TPMT_SIGNATURE`); TCG "PC Client
//! Platform Firmware Profile" for what is measured where.

mod attest;
mod boot;
mod claims;
mod key;
#[cfg(test)]
mod key_tests;
mod registers;
mod signature;
mod verify;

pub(crate) use boot::HARMLESS_OPTIONS;
pub use boot::{Boot, Firmware, Image};
pub use key::{AttestationKey, TrustedKey};
pub use registers::{Bank, Registers};
pub use verify::{Evidence, Verified, verify};

/// Whether bytes are a quote, a signature, or register values.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_forms(bytes: &[u8]) -> bool {
    let point = std::array::from_fn(|index| bytes.get(index).copied().unwrap_or_default());
    let keys = [crate::x509::PublicKey::from_p256(&point), crate::x509::PublicKey::from_rsa(bytes, &[1, 0, 1])];
    let signed = keys.into_iter().flatten().any(|key| signature::Signature::read(bytes, &key).is_some());
    attest::Attest::read(bytes).is_ok() | signed | Registers::from_json(bytes).is_ok()
}

#[cfg(feature = "fuzzing")]
pub(crate) use boot::fuzz_judge;
