//! The keyset: every public key of the running workload (ACI section 3.1).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::{Sha256Digest, lower_hex_32};
use crate::jcs::{self, JcsError};

/// The baseline algorithm of receipt keys.
pub const ED25519: &str = "ed25519";

/// Algorithms of keys that ACI has no name for; its verifiers skip them.
///
/// One key a wire and one wire a key, so that no message means anything on another wire.
pub mod algorithm {
    /// OHTTP and chunked OHTTP, X25519; 32 bytes in hexadecimal, as all but the last two.
    pub const OHTTP: &str = "lethe.ohttp.x25519";
    /// OHTTP and chunked OHTTP, X-Wing; 1216 bytes.
    pub const OHTTP_XWING: &str = "lethe.ohttp.xwing";
    /// EHBP.
    pub const EHBP: &str = "lethe.ehbp.x25519";
    /// The envelope.
    pub const ENVELOPE: &str = "lethe.envelope.x25519";
    /// Messages with secrets for the appliance.
    pub const SECRETS: &str = "lethe.secrets.x25519";
    /// Signatures of the older verifiers, Ed25519; among the receipt keys.
    pub const LEGACY_ED25519: &str = "lethe.legacy.ed25519";
    /// Signatures of the older verifiers, secp256k1; 65 bytes, uncompressed; among the receipt keys.
    pub const LEGACY_SECP256K1: &str = "lethe.legacy.secp256k1";
}

/// A keyset that is not to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysetError {
    /// Its time is over.
    #[error("the keyset has expired")]
    Expired,
    /// A key stands in two places: what was signed or sealed in one role could count in another.
    #[error("a key of the keyset has two roles")]
    TwoRoles,
    /// Two keys of a role have one name.
    #[error("two keys of the keyset have one name")]
    TwoNames,
}

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

    /// What ACI section 9.1 asks of a keyset beyond its digest: that its time is not over at `now` (seconds since 1970), and
    /// that every key has one role and one name.
    ///
    /// # Errors
    /// [`KeysetError`].
    pub fn check(&self, now: u64) -> Result<(), KeysetError> {
        if now >= self.not_after {
            return Err(KeysetError::Expired);
        }
        let roles = || [&self.receipt_signing_keys, &self.e2ee_public_keys];
        let mut keys: Vec<String> =
            roles().into_iter().flatten().map(|key| key.public_key.to_ascii_lowercase()).collect();
        if has_twins(&mut keys) {
            return Err(KeysetError::TwoRoles);
        }
        for role in roles() {
            if has_twins(&mut role.iter().map(|key| key.key_id.as_str()).collect()) {
                return Err(KeysetError::TwoNames);
            }
        }
        Ok(())
    }

    /// The end-to-end keys of an [`algorithm`], in their order: the current one first.
    pub fn e2ee<'a>(&'a self, algorithm: &'a str) -> impl Iterator<Item = &'a PublicKey> {
        self.e2ee_public_keys.iter().filter(move |key| key.algo == algorithm)
    }

    /// The Ed25519 receipt key of this name.
    #[must_use]
    pub fn receipt_key(&self, key_id: &str) -> Option<[u8; 32]> {
        let mut named = self.receipt_signing_keys.iter().filter(|key| key.key_id == key_id && key.algo == ED25519);
        named.next().and_then(|key| lower_hex_32(&key.public_key))
    }
}

fn has_twins<T: Ord>(items: &mut Vec<T>) -> bool {
    let count = items.len();
    items.sort_unstable();
    items.dedup();
    items.len() != count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(key_id: &str, algo: &str, byte: u8) -> PublicKey {
        PublicKey { key_id: key_id.to_owned(), algo: algo.to_owned(), public_key: hex::encode([byte; 32]) }
    }

    fn keyset() -> Keyset {
        Keyset {
            subject: None,
            not_after: 100,
            receipt_signing_keys: vec![key("r", ED25519, 1), key("l", algorithm::LEGACY_ED25519, 2)],
            e2ee_public_keys: vec![
                key("a", algorithm::OHTTP, 3),
                key("b", algorithm::EHBP, 4),
                key("c", algorithm::OHTTP, 5),
            ],
            tls_public_keys: Vec::new(),
        }
    }

    #[test]
    fn a_keyset_lasts_until_its_end() {
        assert_eq!(keyset().check(99), Ok(()));
        assert_eq!(keyset().check(100), Err(KeysetError::Expired));
    }

    #[test]
    fn a_key_has_one_role_and_one_name() {
        let mut shared = keyset();
        shared.e2ee_public_keys[1].public_key = hex::encode([1; 32]);
        assert_eq!(shared.check(0), Err(KeysetError::TwoRoles));
        shared.e2ee_public_keys[1].public_key = hex::encode([3; 32]);
        assert_eq!(shared.check(0), Err(KeysetError::TwoRoles));
        let mut named = keyset();
        named.e2ee_public_keys[2].key_id = "a".to_owned();
        assert_eq!(named.check(0), Err(KeysetError::TwoNames));
    }

    #[test]
    fn keys_are_found_by_algorithm_and_name() {
        let keyset = keyset();
        let names = |algorithm| keyset.e2ee(algorithm).map(|key| key.key_id.as_str()).collect::<Vec<_>>();
        assert_eq!(names(algorithm::OHTTP), ["a", "c"]);
        assert!(names(algorithm::ENVELOPE).is_empty());
        assert_eq!(keyset.receipt_key("r"), Some([1; 32]));
        assert_eq!(keyset.receipt_key("l"), None, "another algorithm");
        assert_eq!(keyset.receipt_key("x"), None);
    }
}
