//! Keys that messages are encapsulated to.

use std::fmt;

use ::hpke::kem::{X25519HkdfSha256, XWing};
use ::hpke::{Deserializable, Kem as KemTrait, Serializable};
use zeroize::Zeroizing;

use super::suite::Kem;

/// Bytes that are no public key of the mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a public key of this key encapsulation mechanism")]
pub struct NotAKey;

/// A public key, checked: of the mechanism's length, and for X-Wing with reduced coefficients.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    kem: Kem,
    bytes: Vec<u8>,
}

impl PublicKey {
    /// Reads the serialised form.
    ///
    /// # Errors
    /// [`NotAKey`].
    pub fn from_bytes(kem: Kem, bytes: &[u8]) -> Result<Self, NotAKey> {
        match kem {
            Kem::X25519 => parse::<X25519HkdfSha256>(bytes).map(drop),
            Kem::XWing => parse::<XWing>(bytes).map(drop),
        }?;
        Ok(Self { kem, bytes: bytes.to_vec() })
    }

    /// Its mechanism.
    #[must_use]
    pub const fn kem(&self) -> Kem {
        self.kem
    }

    /// The serialised form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?}, {})", self.kem, hex::encode(&self.bytes))
    }
}

pub(super) fn parse<K: KemTrait>(bytes: &[u8]) -> Result<K::PublicKey, NotAKey> {
    K::PublicKey::from_bytes(bytes).map_err(|_| NotAKey)
}

/// A secret key. It lives in one box, is wiped on drop, and is never printed.
pub struct SecretKey {
    kem: Kem,
    bytes: Box<Zeroizing<[u8; 32]>>,
}

impl SecretKey {
    /// Derives the key pair of 32 uniformly random bytes (`DeriveKeyPair` of RFC 9180 section 7.1.3).
    #[must_use]
    pub fn derive(kem: Kem, material: &[u8; 32]) -> Self {
        match kem {
            Kem::X25519 => Self::of::<X25519HkdfSha256>(kem, &X25519HkdfSha256::derive_keypair(material).0),
            Kem::XWing => Self::of::<XWing>(kem, &XWing::derive_keypair(material).0),
        }
    }

    /// Reads the serialised form (`DeserializePrivateKey`); every 32 bytes are a key.
    #[must_use]
    pub fn from_bytes(kem: Kem, bytes: &[u8; 32]) -> Self {
        Self { kem, bytes: Box::new(Zeroizing::new(*bytes)) }
    }

    fn of<K: KemTrait>(kem: Kem, key: &K::PrivateKey) -> Self {
        let mut bytes = Box::new(Zeroizing::new([0; 32]));
        // both mechanisms have private keys of 32 bytes, which the tests hold
        key.write_exact(bytes.as_mut_slice());
        Self { kem, bytes }
    }

    /// Its mechanism.
    #[must_use]
    pub const fn kem(&self) -> Kem {
        self.kem
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        let bytes = match self.kem {
            Kem::X25519 => {
                self.parse::<X25519HkdfSha256>().map(|key| X25519HkdfSha256::sk_to_pk(&key).to_bytes().to_vec())
            }
            Kem::XWing => self.parse::<XWing>().map(|key| XWing::sk_to_pk(&key).to_bytes().to_vec()),
        };
        PublicKey { kem: self.kem, bytes: bytes.unwrap_or_default() }
    }

    pub(super) fn parse<K: KemTrait>(&self) -> Result<K::PrivateKey, NotAKey> {
        K::PrivateKey::from_bytes(self.bytes.as_slice()).map_err(|_| NotAKey)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({:?})", self.kem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_lengths_of_their_mechanism() {
        for kem in [Kem::X25519, Kem::XWing] {
            let public = SecretKey::derive(kem, &[7; 32]).public_key();
            assert_eq!(public.as_bytes().len(), kem.public_key_len());
            assert_eq!(PublicKey::from_bytes(kem, public.as_bytes()), Ok(public.clone()));
            assert_eq!(PublicKey::from_bytes(kem, &public.as_bytes()[1..]), Err(NotAKey));
            assert_eq!(PublicKey::from_bytes(kem, &[public.as_bytes(), &[0]].concat()), Err(NotAKey));
        }
    }

    #[test]
    fn a_post_quantum_key_with_an_unreduced_coefficient_is_refused() {
        let mut bytes = SecretKey::derive(Kem::XWing, &[7; 32]).public_key().as_bytes().to_vec();
        bytes[..3].fill(0xff);
        assert_eq!(PublicKey::from_bytes(Kem::XWing, &bytes), Err(NotAKey));
    }

    #[test]
    fn a_secret_key_is_never_printed() {
        assert_eq!(format!("{:?}", SecretKey::from_bytes(Kem::X25519, &[0xab; 32])), "SecretKey(X25519)");
    }
}
