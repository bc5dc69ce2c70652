//! Device keys: a request is signed by a key that its device made, instead of carrying a token.

use ed25519_dalek::{Signature, VerifyingKey};
use ring::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::message::Message;
use super::{decode, encode};
use crate::refusal::Refusal;

/// First line of what a device signs, so that the signature means nothing elsewhere.
const PURPOSE: &str = "lethe envelope device v1\n";

/// Algorithm of a device's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceAlgorithm {
    /// Ed25519; keys of 32 bytes, signatures of 64.
    Ed25519,
    /// ECDSA over P-256 with SHA-256; uncompressed keys of 65 bytes, signatures of 64 bytes (r, s) or in DER.
    P256,
}

/// A device that signed a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Device {
    /// Algorithm of its key.
    pub algorithm: DeviceAlgorithm,
    /// Its public key.
    pub key: Vec<u8>,
}

impl Device {
    /// SHA-256 over algorithm, `:` and key: the device's name in lists, in lower-case hexadecimal there.
    #[must_use]
    pub fn id(&self) -> [u8; 32] {
        Sha256::digest([self.algorithm.name().as_bytes(), b":", &self.key].concat()).into()
    }

    /// Checks a signature.
    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Refusal> {
        match self.algorithm {
            DeviceAlgorithm::Ed25519 => {
                let key =
                    <&[u8; 32]>::try_from(self.key.as_slice()).ok().and_then(|key| VerifyingKey::from_bytes(key).ok());
                let signature = Signature::from_slice(signature).ok();
                let (key, signature) = key.zip(signature).ok_or(Refusal::Signature)?;
                key.verify_strict(message, &signature).map_err(|_| Refusal::Signature)
            }
            DeviceAlgorithm::P256 if self.key.len() != 65 => Err(Refusal::Signature),
            // phones give either form; DER of 64 bytes is possible and read as the other, which then fails: sign again
            DeviceAlgorithm::P256 => {
                let form = if signature.len() == 64 { &ECDSA_P256_SHA256_FIXED } else { &ECDSA_P256_SHA256_ASN1 };
                let key = UnparsedPublicKey::new(form as &dyn ring::signature::VerificationAlgorithm, &self.key);
                key.verify(message, signature).map_err(|_| Refusal::Signature)
            }
        }
    }
}

impl DeviceAlgorithm {
    /// The name in requests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::P256 => "p256",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Ed25519, Self::P256].into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// What signs a client's requests.
pub struct DeviceSigner<'a> {
    /// The device.
    pub device: Device,
    /// Signs a message with the device's key.
    pub sign: &'a dyn Fn(&[u8]) -> Vec<u8>,
    /// The one-time token of a device that is not enrolled yet; it is sealed, so that only the appliance reads it.
    pub enrolment: Option<&'a str>,
}

/// The `device` member of a request.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Member {
    alg: String,
    key: String,
    signature: String,
    /// The enrolment token, sealed as the second message of the request's context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) enrolment: Option<String>,
}

impl Member {
    /// Signs `message`, whose own member is still empty.
    pub(super) fn sign(signer: &DeviceSigner<'_>, message: &Message, enrolment: Option<String>) -> Self {
        Self {
            alg: signer.device.algorithm.name().to_owned(),
            key: encode(&signer.device.key),
            signature: encode(&(signer.sign)(signed(message).as_bytes())),
            enrolment,
        }
    }

    /// The device, if its signature is over `message`.
    pub(super) fn check(&self, message: &Message) -> Result<Device, Refusal> {
        let algorithm = DeviceAlgorithm::from_name(&self.alg).ok_or(Refusal::Malformed)?;
        let key = decode(&self.key).ok_or(Refusal::Malformed)?;
        let signature = decode(&self.signature).ok_or(Refusal::Malformed)?;
        let device = Device { algorithm, key };
        device.verify(signed(message).as_bytes(), &signature)?;
        Ok(device)
    }
}

/// What a device signs: the purpose and the canonical form of the clear members. The ciphertext is bound by the
/// encapsulated key: only who made that can make another ciphertext for it.
pub(super) fn signed(message: &Message) -> String {
    let members = json!({
        "aad": message.aad, "enc": message.enc, "kid": message.kid, "rid": message.rid, "ts": message.ts,
    });
    // strings and a number of 53 bits, which `Message::parse` checked
    PURPOSE.to_owned() + &crate::canonical(&members).unwrap_or_default()
}
