//! Digests as release files write them: lower-case hexadecimal.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::authenticode::Digests;

/// A digest of `N` bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest<const N: usize>(pub [u8; N]);

/// SHA-256.
pub type Sha256Digest = Digest<32>;
/// SHA-384.
pub type Sha384Digest = Digest<48>;

impl<const N: usize> fmt::Display for Digest<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl<const N: usize> fmt::Debug for Digest<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const N: usize> Serialize for Digest<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Digest<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut digest = [0; N];
        hex::decode_to_slice(&text, &mut digest)
            .map_err(|_| D::Error::custom(format_args!("a digest has {} hexadecimal digits", 2 * N)))?;
        Ok(Self(digest))
    }
}

/// A digest in both banks of a TPM that are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Banks {
    /// In the bank of SHA-256.
    pub sha256: Sha256Digest,
    /// In the bank of SHA-384.
    pub sha384: Sha384Digest,
}

impl From<Digests> for Banks {
    fn from(digests: Digests) -> Self {
        Self { sha256: Digest(digests.sha256), sha384: Digest(digests.sha384) }
    }
}

impl From<[u8; 48]> for Sha384Digest {
    fn from(digest: [u8; 48]) -> Self {
        Self(digest)
    }
}
