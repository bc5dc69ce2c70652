//! Public keys and the signature algorithms they are used with.

use p256::ecdsa::signature::Verifier as _;
use rsa::{BigUint, Pkcs1v15Sign, Pss, RsaPublicKey, traits::PublicKeyParts as _};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::der::{Der, tag};

pub(super) const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]; // 1.2.840.10045.2.1
pub(super) const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]; // 1.2.840.10045.3.1.7
pub(super) const SECP384R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22]; // 1.3.132.0.34
pub(super) const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]; // 1.2.840.10045.4.3.2
const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03]; // 1.2.840.10045.4.3.3
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01]; // 1.2.840.113549.1.1.1
const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08]; // 1.2.840.113549.1.1.8
const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a]; // 1.2.840.113549.1.1.10
const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b]; // 1.2.840.113549.1.1.11
const RSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c]; // 1.2.840.113549.1.1.12
const RSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d]; // 1.2.840.113549.1.1.13
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02]; // 2.16.840.1.101.3.4.2.2

/// Salt of AMD's RSASSA-PSS signatures, in bytes: the length of the digest.
const PSS_SALT_BYTES: usize = 48;
/// Shortest RSA modulus taken, in bits.
const MIN_RSA_BITS: usize = 2048;
/// Longest RSA modulus taken, in bits.
const MAX_RSA_BITS: usize = 4096;

/// How a certificate, a revocation list or a quote is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureAlgorithm {
    EcdsaSha256,
    EcdsaSha384,
    RsaSha256,
    RsaSha384,
    RsaSha512,
    /// RSASSA-PSS, SHA-384, MGF1 with SHA-384, salt of 48 bytes: the one form AMD uses.
    PssSha384,
}

impl SignatureAlgorithm {
    /// Reads the content of an `AlgorithmIdentifier`.
    pub(crate) fn read(identifier: &[u8]) -> Option<Self> {
        let mut fields = Der::new(identifier);
        let oid = fields.content(tag::OID)?;
        if oid == RSASSA_PSS {
            return pss_parameters(&mut fields).and_then(|()| fields.end()).map(|()| Self::PssSha384);
        }
        let (algorithm, null) = match oid {
            _ if oid == ECDSA_SHA256 => (Self::EcdsaSha256, false),
            _ if oid == ECDSA_SHA384 => (Self::EcdsaSha384, false),
            _ if oid == RSA_SHA256 => (Self::RsaSha256, true),
            _ if oid == RSA_SHA384 => (Self::RsaSha384, true),
            _ if oid == RSA_SHA512 => (Self::RsaSha512, true),
            _ => return None,
        };
        // RFC 5758: no parameters for ECDSA. RFC 4055: NULL for RSA.
        if null && !fields.content(tag::NULL)?.is_empty() {
            return None;
        }
        fields.end().map(|()| algorithm)
    }
}

/// `RSASSA-PSS-params` of RFC 4055 with SHA-384 and a salt of 48 bytes, nothing else.
fn pss_parameters(fields: &mut Der<'_>) -> Option<()> {
    let mut parameters = fields.nested(tag::SEQUENCE)?;
    let mut hash = parameters.nested(tag::context(0))?;
    sha384_identifier(&mut hash)?;
    hash.end()?;
    let mut mask = parameters.nested(tag::context(1))?;
    let mut mask_fields = mask.nested(tag::SEQUENCE)?;
    mask.end()?;
    (mask_fields.content(tag::OID)? == MGF1).then_some(())?;
    sha384_identifier(&mut mask_fields)?;
    mask_fields.end()?;
    let mut salt = parameters.nested(tag::context(2))?;
    (salt.small()? as usize == PSS_SALT_BYTES).then_some(())?;
    salt.end()?;
    if !parameters.is_empty() {
        let mut trailer = parameters.nested(tag::context(3))?;
        (trailer.small()? == 1).then_some(())?;
        trailer.end()?;
    }
    parameters.end()
}

fn sha384_identifier(der: &mut Der<'_>) -> Option<()> {
    let mut fields = der.nested(tag::SEQUENCE)?;
    (fields.content(tag::OID)? == SHA384).then_some(())?;
    if !fields.is_empty() && !fields.content(tag::NULL)?.is_empty() {
        return None;
    }
    fields.end()
}

/// A public key that was well formed: a point on its curve, an RSA modulus of sane length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PublicKey {
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    Rsa(RsaPublicKey),
}

impl PublicKey {
    /// Reads a whole `SubjectPublicKeyInfo`.
    pub(crate) fn from_spki(der: &[u8]) -> Option<Self> {
        let mut outer = Der::new(der);
        let mut info = outer.nested(tag::SEQUENCE)?;
        outer.end()?;
        let mut algorithm = info.nested(tag::SEQUENCE)?;
        let bits = info.bit_string()?;
        info.end()?;
        let oid = algorithm.content(tag::OID)?;
        let key = if oid == EC_PUBLIC_KEY {
            match algorithm.content(tag::OID)? {
                curve if curve == PRIME256V1 => Self::P256(p256::ecdsa::VerifyingKey::from_sec1_bytes(bits).ok()?),
                curve if curve == SECP384R1 => Self::P384(p384::ecdsa::VerifyingKey::from_sec1_bytes(bits).ok()?),
                _ => return None,
            }
        } else if oid == RSA_ENCRYPTION {
            algorithm.content(tag::NULL)?.is_empty().then_some(())?;
            let mut outer = Der::new(bits);
            let mut numbers = outer.nested(tag::SEQUENCE)?;
            outer.end()?;
            let (modulus, exponent) = (numbers.unsigned()?, numbers.unsigned()?);
            numbers.end()?;
            Self::from_rsa(modulus, exponent)?
        } else {
            return None;
        };
        algorithm.end()?;
        Some(key)
    }

    /// An RSA key from big-endian modulus and exponent.
    pub(crate) fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        if modulus.len() > MAX_RSA_BITS / 8 + 1 || exponent.len() > 4 {
            return None;
        }
        let key = RsaPublicKey::new(BigUint::from_bytes_be(modulus), BigUint::from_bytes_be(exponent)).ok()?;
        (MIN_RSA_BITS..=MAX_RSA_BITS).contains(&key.n().bits()).then_some(Self::Rsa(key))
    }

    /// Length of the modulus in bytes, for an RSA key.
    pub(crate) fn rsa_bytes(&self) -> Option<usize> {
        match self {
            Self::Rsa(key) => Some(key.size()),
            _ => None,
        }
    }

    /// An elliptic-curve key on P-256 from its two coordinates.
    pub(crate) fn from_p256(coordinates: &[u8; 64]) -> Option<Self> {
        let point = p256::EncodedPoint::from_untagged_bytes(coordinates.into());
        p256::ecdsa::VerifyingKey::from_encoded_point(&point).ok().map(Self::P256)
    }

    /// Whether `signature` is this key's signature over `message`. Anything that does not fit together is not.
    pub(crate) fn verifies(&self, algorithm: SignatureAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        match (self, algorithm) {
            (Self::P256(key), SignatureAlgorithm::EcdsaSha256) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            (Self::P384(key), SignatureAlgorithm::EcdsaSha384) => p384::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            (Self::Rsa(key), SignatureAlgorithm::RsaSha256) => {
                key.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message), signature).is_ok()
            }
            (Self::Rsa(key), SignatureAlgorithm::RsaSha384) => {
                key.verify(Pkcs1v15Sign::new::<Sha384>(), &Sha384::digest(message), signature).is_ok()
            }
            (Self::Rsa(key), SignatureAlgorithm::RsaSha512) => {
                key.verify(Pkcs1v15Sign::new::<Sha512>(), &Sha512::digest(message), signature).is_ok()
            }
            (Self::Rsa(key), SignatureAlgorithm::PssSha384) => {
                key.verify(Pss::new_with_salt::<Sha384>(PSS_SALT_BYTES), &Sha384::digest(message), signature).is_ok()
            }
            _ => false,
        }
    }

    /// Whether `signature`, two 32-byte big-endian numbers, is this key's ECDSA signature with SHA-256.
    pub(crate) fn verifies_p256_raw(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let Self::P256(key) = self else { return false };
        p256::ecdsa::Signature::from_slice(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
    }

    /// Whether `signature`, two 48-byte big-endian numbers, is this key's ECDSA signature with SHA-384.
    pub(crate) fn verifies_p384_raw(&self, message: &[u8], signature: &[u8; 96]) -> bool {
        let Self::P384(key) = self else { return false };
        p384::ecdsa::Signature::from_slice(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `SubjectPublicKeyInfo` of a curve, with the uncompressed point of these coordinates.
    fn spki(curve: &[u8], coordinates: &[u8]) -> Vec<u8> {
        let tlv = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
        let algorithm = tlv(0x30, &[tlv(0x06, EC_PUBLIC_KEY), tlv(0x06, curve)].concat());
        tlv(0x30, &[algorithm, tlv(0x03, &[&[0, 4], coordinates].concat())].concat())
    }

    #[test]
    fn a_point_is_on_its_curve_and_not_zero() {
        let p256 = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap().verifying_key().to_encoded_point(false);
        let p384 = p384::ecdsa::SigningKey::from_slice(&[7; 48]).unwrap().verifying_key().to_encoded_point(false);
        for (curve, point) in [(PRIME256V1, p256.as_bytes()), (SECP384R1, p384.as_bytes())] {
            let coordinates = &point[1..];
            assert!(PublicKey::from_spki(&spki(curve, coordinates)).is_some());
            let mut beside = coordinates.to_vec();
            *beside.last_mut().unwrap() ^= 1;
            for wrong in [beside, vec![0; coordinates.len()], vec![0xff; coordinates.len()]] {
                assert!(PublicKey::from_spki(&spki(curve, &wrong)).is_none());
                if let Ok(wrong) = <&[u8; 64]>::try_from(wrong.as_slice()) {
                    assert!(PublicKey::from_p256(wrong).is_none());
                }
            }
        }
        assert!(PublicKey::from_spki(&spki(SECP384R1, &p256.as_bytes()[1..])).is_none(), "another curve");
        assert!(PublicKey::from_p256(p256.as_bytes()[1..].try_into().unwrap()).is_some());
    }
}
