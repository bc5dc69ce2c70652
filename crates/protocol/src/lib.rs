//! Keyset, attestation statement and report of the ACI protocol (`aci/1`, spec/aci.md of Dstack-TEE/private-ai-gateway).
//!
//! The chain that a client checks: evidence signs `report_data`, which is the SHA-256 of the [statement], which names
//! the digest of the [`Keyset`], which lists the key of the TLS connection. A server builds the chain downwards with
//! [`Keyset::digest`] and [`Report::new`]; a client recomputes it with [`Report::check`].
//!
//! No socket, no clock, no key: time and nonces are arguments.
//!
//! [statement]: statement::statement
#![forbid(unsafe_code)]

pub mod bhttp;
pub mod date;
pub mod digest;
pub mod ehbp;
pub mod envelope;
pub mod hpke;
pub mod jcs;
pub mod json;
pub mod keyset;
pub mod legacy;
pub mod ohttp;
pub mod receipt;
pub mod refusal;
pub mod replay;
pub mod report;
pub mod secrets;
pub mod shape;
pub mod statement;
mod varint;

pub use digest::Sha256Digest;
pub use jcs::{JcsError, canonical};
pub use keyset::algorithm;
pub use keyset::{ED25519, Keyset, KeysetError, PublicKey, TlsKey};
pub use refusal::Refusal;
pub use report::{Attestation, Capabilities, Mismatch, Report, Serving, SourceProvenance, TeeType};
pub use statement::{Nonce, NotANonce, report_data, report_data_slot, statement};

/// `api_version` of the artifacts and value of the header `X-ACI-Version`.
pub const API_VERSION: &str = "aci/1";

/// Header with [`API_VERSION`], on every answer.
pub const VERSION_HEADER: &str = "x-aci-version";

/// Header with the keyset digest, on every answer. A hint, not a proof.
pub const KEYSET_DIGEST_HEADER: &str = "x-aci-keyset-digest";
