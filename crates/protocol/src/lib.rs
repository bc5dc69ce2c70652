//! The formats of the wires: what is signed and what is sealed, as pure functions over bytes.
//!
//! - ACI (`aci/1`, spec/aci.md of Dstack-TEE/private-ai-gateway): [`Keyset`], [statement], [`Report`] and [`receipt`]s. The chain
//!   that a client checks: evidence signs `report_data`, which is the SHA-256 of the statement, which names the digest of
//!   the keyset, which lists the keys of everything below.
//! - Encrypted wires over [`hpke`] and [`bhttp`]: [`ohttp`], [`ehbp`], [`envelope`]; their [`replay`] set, [`date`] filter and
//!   [`shape`].
//! - [`secrets`] for a running appliance, and [`legacy`] signatures.
//!
//! No socket, no clock: time, nonces and randomness are arguments. Exact bytes and vectors are in `docs/protocol.md`.
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
pub mod ratchet;
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
