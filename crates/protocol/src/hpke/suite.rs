//! Algorithm identifiers (RFC 9180 section 7; draft-ietf-hpke-pq for X-Wing).

use std::fmt;

/// The key derivation function of every suite here: HKDF-SHA256.
pub const HKDF_SHA256: u16 = 0x0001;

/// Key encapsulation mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kem {
    /// DHKEM(X25519, HKDF-SHA256).
    X25519,
    /// X-Wing, ML-KEM-768 with X25519: holds as long as either does.
    XWing,
}

impl Kem {
    /// The registered identifier.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::X25519 => 0x0020,
            Self::XWing => 0x647a,
        }
    }

    /// The mechanism with this identifier, or `None`.
    #[must_use]
    pub const fn from_id(id: u16) -> Option<Self> {
        match id {
            0x0020 => Some(Self::X25519),
            0x647a => Some(Self::XWing),
            _ => None,
        }
    }

    /// Length of a public key in bytes (`Npk`).
    #[must_use]
    pub const fn public_key_len(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::XWing => 1216,
        }
    }

    /// Length of an encapsulated key in bytes (`Nenc`).
    #[must_use]
    pub const fn enc_len(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::XWing => 1120,
        }
    }
}

/// Cipher with authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Aead {
    /// AES-128-GCM.
    Aes128Gcm,
    /// AES-256-GCM.
    Aes256Gcm,
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305,
}

impl Aead {
    /// Length of the authentication tag in bytes, the same for all.
    pub const TAG_LEN: usize = 16;
    /// Length of a nonce in bytes (`Nn`), the same for all.
    pub const NONCE_LEN: usize = 12;

    /// The registered identifier.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::Aes128Gcm => 0x0001,
            Self::Aes256Gcm => 0x0002,
            Self::ChaCha20Poly1305 => 0x0003,
        }
    }

    /// The cipher with this identifier, or `None`.
    #[must_use]
    pub const fn from_id(id: u16) -> Option<Self> {
        match id {
            0x0001 => Some(Self::Aes128Gcm),
            0x0002 => Some(Self::Aes256Gcm),
            0x0003 => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }

    /// Length of a key in bytes (`Nk`).
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }
}

/// A key encapsulation mechanism and a cipher, with HKDF-SHA256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Suite {
    /// How the key is encapsulated.
    pub kem: Kem,
    /// How messages are encrypted.
    pub aead: Aead,
}

impl Suite {
    /// The suite with these three identifiers, or `None` where one is not supported.
    #[must_use]
    pub const fn from_ids(kem: u16, kdf: u16, aead: u16) -> Option<Self> {
        match (Kem::from_id(kem), kdf, Aead::from_id(aead)) {
            (Some(kem), HKDF_SHA256, Some(aead)) => Some(Self { kem, aead }),
            _ => None,
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kem = match self.kem {
            Kem::X25519 => "X25519-HKDF-SHA256",
            Kem::XWing => "X-Wing",
        };
        let aead = match self.aead {
            Aead::Aes128Gcm => "AES-128-GCM",
            Aead::Aes256Gcm => "AES-256-GCM",
            Aead::ChaCha20Poly1305 => "ChaCha20-Poly1305",
        };
        write!(f, "{kem}, HKDF-SHA256, {aead}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_found_by_their_identifiers_and_others_are_not() {
        for kem in [Kem::X25519, Kem::XWing] {
            for aead in [Aead::Aes128Gcm, Aead::Aes256Gcm, Aead::ChaCha20Poly1305] {
                assert_eq!(Suite::from_ids(kem.id(), HKDF_SHA256, aead.id()), Some(Suite { kem, aead }));
                assert_eq!(Suite::from_ids(kem.id(), 2, aead.id()), None);
            }
        }
        for (kem, aead) in [(0x0010, 1), (0x0020, 0), (0x0020, 0xffff), (0, 1)] {
            assert_eq!(Suite::from_ids(kem, HKDF_SHA256, aead), None);
        }
    }
}
