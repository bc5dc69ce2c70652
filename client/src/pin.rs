//! The SHA-256 of a certificate's SubjectPublicKeyInfo, by which a TLS key is recognised.

use std::{fmt, str::FromStr};

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

/// SHA-256 of the DER of a SubjectPublicKeyInfo (RFC 7469 §2.4 hashes the same bytes). Written `sha256:<64 hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpkiPin([u8; 32]);

/// Why a text is not a pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pin is written sha256: followed by 64 hexadecimal digits")]
pub struct PinError;

/// A certificate that cannot be read as X.509 version 3.
#[derive(Debug, thiserror::Error)]
#[error("the certificate is not readable")]
pub struct UnreadableCertificate(#[source] rustls::Error);

impl SpkiPin {
    /// The pin of the key in an end-entity certificate.
    ///
    /// # Errors
    /// [`UnreadableCertificate`] if the bytes are not an X.509 certificate.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, UnreadableCertificate> {
        let parsed = rustls::server::ParsedCertificate::try_from(certificate).map_err(UnreadableCertificate)?;
        Ok(Self::of_spki(parsed.subject_public_key_info().as_ref()))
    }

    /// The pin of the DER bytes of a SubjectPublicKeyInfo.
    #[must_use]
    pub fn of_spki(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// The digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest in lower-case hexadecimal, without prefix.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl FromStr for SpkiPin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let digits = text.strip_prefix("sha256:").ok_or(PinError)?;
        let mut digest = [0; 32];
        hex::decode_to_slice(digits, &mut digest).map_err(|_| PinError)?;
        Ok(Self(digest))
    }
}

impl fmt::Display for SpkiPin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for SpkiPin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_read_back_as_it_was_written() {
        let pin = SpkiPin::of_spki(b"key");
        assert_eq!(pin.to_string().parse(), Ok(pin));
    }

    #[test]
    fn a_pin_without_prefix_or_of_another_length_is_refused() {
        let hex = SpkiPin::of_spki(b"key").hex();
        for text in [hex.clone(), format!("sha256:{}", &hex[2..]), format!("sha256:{hex}00"), format!("sha512:{hex}")] {
            assert_eq!(text.parse::<SpkiPin>(), Err(PinError), "{text}");
        }
    }

    #[test]
    fn bytes_that_are_no_certificate_have_no_pin() {
        assert!(SpkiPin::of_certificate(&CertificateDer::from(vec![0x30, 0x03, 1, 2, 3])).is_err());
    }

    #[test]
    fn the_pin_covers_the_key_and_not_the_certificate() {
        let key = rcgen::KeyPair::generate().unwrap();
        let pin_of = |name: &str| {
            let certificate =
                rcgen::CertificateParams::new([name.to_owned()].to_vec()).unwrap().self_signed(&key).unwrap();
            SpkiPin::of_certificate(certificate.der()).unwrap()
        };
        assert_eq!(pin_of("one.example"), pin_of("two.example"));
        assert_eq!(pin_of("one.example"), SpkiPin::of_spki(&rcgen::PublicKeyData::subject_public_key_info(&key)));
    }
}
