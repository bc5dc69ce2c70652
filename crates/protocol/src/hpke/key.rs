//! Keys that messages are encapsulated to.

use std::fmt;

use ::hpke::kem::{X25519HkdfSha256, XWing};
use ::hpke::{Deserializable, Kem as KemTrait, Serializable};

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

/// A secret key. It lives in one box, is wiped on drop, and is never printed. It is kept as its mechanism computes with it: to
/// expand X-Wing's 32 bytes takes as long as to decapsulate.
pub struct SecretKey(Expanded);

/// A private key of either mechanism. The crates wipe it when it is dropped.
pub(super) enum Expanded {
    X25519(Box<<X25519HkdfSha256 as KemTrait>::PrivateKey>),
    XWing(Box<<XWing as KemTrait>::PrivateKey>),
}

impl SecretKey {
    /// Derives the key pair of 32 uniformly random bytes (`DeriveKeyPair` of RFC 9180 section 7.1.3).
    #[must_use]
    pub fn derive(kem: Kem, material: &[u8; 32]) -> Self {
        Self(match kem {
            Kem::X25519 => {
                Expanded::X25519(boxed::<X25519HkdfSha256>(&mut X25519HkdfSha256::derive_keypair(material).0))
            }
            Kem::XWing => Expanded::XWing(boxed::<XWing>(&mut XWing::derive_keypair(material).0)),
        })
    }

    /// Reads the serialised form (`DeserializePrivateKey`).
    ///
    /// # Errors
    /// [`NotAKey`], which no 32 bytes are for these mechanisms.
    pub fn from_bytes(kem: Kem, bytes: &[u8; 32]) -> Result<Self, NotAKey> {
        match kem {
            Kem::X25519 => read::<X25519HkdfSha256>(bytes).map(Expanded::X25519),
            Kem::XWing => read::<XWing>(bytes).map(Expanded::XWing),
        }
        .map(Self)
    }

    /// Its mechanism.
    #[must_use]
    pub fn kem(&self) -> Kem {
        match self.expanded() {
            Expanded::X25519(_) => Kem::X25519,
            Expanded::XWing(_) => Kem::XWing,
        }
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        let bytes = match self.expanded() {
            Expanded::X25519(key) => X25519HkdfSha256::sk_to_pk(key).to_bytes().to_vec(),
            Expanded::XWing(key) => XWing::sk_to_pk(key).to_bytes().to_vec(),
        };
        PublicKey { kem: self.kem(), bytes }
    }

    pub(super) fn expanded(&self) -> &Expanded {
        &self.0
    }
}

/// Puts a key into a box in exchange for one that is nobody's. A key that is moved leaves a copy where it was, which is never wiped;
/// what is exchanged is wiped when it is dropped there.
fn boxed<K: KemTrait>(key: &mut K::PrivateKey) -> Box<K::PrivateKey> {
    let mut place = Box::new(K::derive_keypair(&[0; 32]).0);
    std::mem::swap(&mut *place, key);
    place
}

fn read<K: KemTrait>(bytes: &[u8; 32]) -> Result<Box<K::PrivateKey>, NotAKey> {
    K::PrivateKey::from_bytes(bytes).as_mut().map(boxed::<K>).map_err(|_| NotAKey)
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({:?})", self.kem())
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
        assert_eq!(format!("{:?}", SecretKey::derive(Kem::X25519, &[0xab; 32])), "SecretKey(X25519)");
    }
}
