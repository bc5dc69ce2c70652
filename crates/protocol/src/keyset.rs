//! The keyset: every public key of the running workload (ACI section 3.1).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Sha256Digest;
use crate::jcs::{self, JcsError};

/// The baseline algorithm of receipt keys.
pub const ED25519: &str = "ed25519";

/// The public keys of a workload, one key a role. The shape is fixed by the protocol's version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyset {
    /// A name that means something under a verifier's policy only.
    pub subject: Option<String>,
    /// Seconds since 1970 after which verifiers stop accepting the keyset.
    pub not_after: u64,
    /// Keys that sign receipts.
    pub receipt_signing_keys: Vec<PublicKey>,
    /// Keys of end-to-end encryption.
    pub e2ee_public_keys: Vec<PublicKey>,
    /// Keys of TLS certificates.
    pub tls_public_keys: Vec<TlsKey>,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicKey {
    /// Name of the key, stable for its life.
    pub key_id: String,
    /// Algorithm; verifiers skip entries whose algorithm they do not know.
    pub algo: String,
    /// The key in the algorithm's encoding; lower-case hexadecimal of 32 bytes for [`ED25519`].
    pub public_key: String,
}

/// The key of a TLS certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsKey {
    /// SHA-256 of the certificate's `SubjectPublicKeyInfo`.
    #[serde(with = "hex::serde")]
    pub spki_sha256: [u8; 32],
    /// Restricts the key to one host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
}

impl Keyset {
    /// The canonical form, over which the digest is taken.
    ///
    /// # Errors
    /// [`JcsError::Number`] for a `not_after` beyond 2^53 - 1.
    pub fn canonical(&self) -> Result<String, JcsError> {
        // a struct of strings, numbers and lists always becomes a value
        jcs::canonical(&serde_json::to_value(self).unwrap_or(Value::Null))
    }

    /// `workload_keyset_digest`.
    ///
    /// # Errors
    /// As [`Keyset::canonical`].
    pub fn digest(&self) -> Result<Sha256Digest, JcsError> {
        Ok(Sha256Digest::of(self.canonical()?.as_bytes()))
    }
}
