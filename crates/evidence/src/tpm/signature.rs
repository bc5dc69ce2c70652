//! `TPMT_SIGNATURE`, and the bare RSA signature that some interfaces hand out.

use sha2::{Digest as _, Sha256, Sha384};

use super::attest::sized;
use crate::{
    cursor::Cursor,
    x509::{PublicKey, SignatureAlgorithm},
};

const RSASSA: u16 = 0x0014;
const ECDSA: u16 = 0x0018;
const SHA256: u16 = 0x000b;
const SHA384: u16 = 0x000c;

/// The digest of a signature's scheme; a quote's register digest is made with the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Sha256,
    Sha384,
}

impl Scheme {
    pub(crate) fn digest(self, parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Sha256 => parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part)).finalize().to_vec(),
            Self::Sha384 => parts.iter().fold(Sha384::new(), |hash, part| hash.chain_update(part)).finalize().to_vec(),
        }
    }
}

/// A well-formed signature.
#[derive(Debug, Clone)]
pub(crate) struct Signature<'a> {
    pub(crate) scheme: Scheme,
    value: Value<'a>,
}

#[derive(Debug, Clone)]
enum Value<'a> {
    Rsa(&'a [u8]),
    P256([u8; 64]),
    P384([u8; 96]),
}

impl<'a> Signature<'a> {
    /// Reads a signature made by `key`. Bytes exactly as long as an RSA key's modulus are a bare RSASSA signature with
    /// SHA-256; a `TPMT_SIGNATURE` with the same key is six bytes longer.
    pub(crate) fn read(bytes: &'a [u8], key: &PublicKey) -> Option<Self> {
        if key.rsa_bytes() == Some(bytes.len()) {
            return Some(Self { scheme: Scheme::Sha256, value: Value::Rsa(bytes) });
        }
        let mut at = Cursor::new(bytes);
        let (algorithm, hash) = (at.u16_be()?, at.u16_be()?);
        let scheme = match hash {
            SHA256 => Scheme::Sha256,
            SHA384 => Scheme::Sha384,
            _ => return None,
        };
        let value = match (algorithm, key, scheme) {
            (RSASSA, PublicKey::Rsa(_), _) => Value::Rsa(sized(&mut at)?),
            (ECDSA, PublicKey::P256(_), Scheme::Sha256) => Value::P256(numbers(&mut at)?),
            (ECDSA, PublicKey::P384(_), Scheme::Sha384) => Value::P384(numbers(&mut at)?),
            _ => return None,
        };
        at.is_empty().then_some(Self { scheme, value })
    }

    /// Whether this is the key's signature over the message.
    pub(crate) fn verifies(&self, key: &PublicKey, message: &[u8]) -> bool {
        match &self.value {
            Value::Rsa(value) => {
                let algorithm = match self.scheme {
                    Scheme::Sha256 => SignatureAlgorithm::RsaSha256,
                    Scheme::Sha384 => SignatureAlgorithm::RsaSha384,
                };
                key.verifies(algorithm, message, value)
            }
            Value::P256(value) => key.verifies_p256_raw(message, value),
            Value::P384(value) => key.verifies_p384_raw(message, value),
        }
    }
}

/// Two numbers with their lengths, each padded to half of the result.
fn numbers<const N: usize>(at: &mut Cursor<'_>) -> Option<[u8; N]> {
    let mut out = [0; N];
    for half in out.chunks_exact_mut(N / 2) {
        let number = sized(at)?;
        let start = half.len().checked_sub(number.len())?;
        half.get_mut(start..)?.copy_from_slice(number);
    }
    Some(out)
}
