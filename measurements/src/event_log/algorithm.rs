//! Hash algorithms by their TCG numbers.

use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

/// A hash algorithm (TCG "Algorithm Registry", `TPM_ALG_ID`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-1, in old logs; never a basis for trust.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// Another one, by its number; it can be stepped over, not computed.
    Other(u16),
}

impl Algorithm {
    /// By its TCG number.
    #[must_use]
    pub fn from_number(number: u16) -> Self {
        match number {
            0x04 => Self::Sha1,
            0x0b => Self::Sha256,
            0x0c => Self::Sha384,
            0x0d => Self::Sha512,
            other => Self::Other(other),
        }
    }

    /// Bytes of a digest, where this program can compute one.
    #[must_use]
    pub fn length(self) -> Option<usize> {
        match self {
            Self::Sha1 => Some(20),
            Self::Sha256 => Some(32),
            Self::Sha384 => Some(48),
            Self::Sha512 => Some(64),
            Self::Other(_) => None,
        }
    }

    /// The digest of some parts in a row.
    #[must_use]
    pub fn digest(self, parts: &[&[u8]]) -> Option<Vec<u8>> {
        fn of<D: sha2::Digest>(parts: &[&[u8]]) -> Option<Vec<u8>> {
            let hash = parts.iter().fold(D::new(), |hash, part| hash.chain_update(part));
            Some(hash.finalize().to_vec())
        }
        match self {
            Self::Sha1 => of::<Sha1>(parts),
            Self::Sha256 => of::<Sha256>(parts),
            Self::Sha384 => of::<Sha384>(parts),
            Self::Sha512 => of::<Sha512>(parts),
            Self::Other(_) => None,
        }
    }
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sha1 => f.write_str("sha1"),
            Self::Sha256 => f.write_str("sha256"),
            Self::Sha384 => f.write_str("sha384"),
            Self::Sha512 => f.write_str("sha512"),
            Self::Other(number) => write!(f, "algorithm {number:#06x}"),
        }
    }
}
