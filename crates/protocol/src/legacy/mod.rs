//! Signatures that the older verifiers of the field ask for (`GET /v1/signature/{id}`), and report data of their reports.
//!
//! The signed text is `<SHA-256 of the request>:<SHA-256 of the response>`, both in lower-case hexadecimal, over the bytes that
//! were seen. The keys sign nothing else: receipts and statements have their own.

mod report;

use ed25519_dalek::{Signer as _, SigningKey};
use k256::ecdsa::SigningKey as EcdsaKey;
use serde::Serialize;
use sha3::{Digest as _, Keccak256};

pub use report::{LegacyEvidence, report};

use crate::digest::Sha256Digest;
use crate::keyset::{PublicKey, algorithm};

/// Which signature a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SigningAlgorithm {
    /// ECDSA over secp256k1 of an EIP-191 message; the default of `signing_algo`.
    #[default]
    Ecdsa,
    /// Ed25519 over the text.
    Ed25519,
}

impl SigningAlgorithm {
    /// Reads the parameter `signing_algo`; `None` for another one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Ecdsa, Self::Ed25519].into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The name in parameters and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ecdsa => "ecdsa",
            Self::Ed25519 => "ed25519",
        }
    }
}

/// What `GET /v1/signature/{id}` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signed {
    /// The signed text.
    pub text: String,
    /// The signature in hexadecimal; `0x` stands before an ECDSA signature only.
    pub signature: String,
    /// The Ethereum address with `0x`, or the Ed25519 key in hexadecimal.
    pub signing_address: String,
    /// `ecdsa` or `ed25519`.
    pub signing_algo: &'static str,
}

/// The text over request and response.
#[must_use]
pub fn text(request: Sha256Digest, response: Sha256Digest) -> String {
    format!("{}:{}", hex::encode(request.0), hex::encode(response.0))
}

/// Both keys; wiped when they are dropped.
pub struct LegacyKeys {
    ed25519: Box<SigningKey>,
    ecdsa: Box<EcdsaKey>,
}

/// 32 bytes that are no secp256k1 key: zero, or not below the group's order. The chance is 2^-127.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not a secp256k1 key")]
pub struct NotAKey;

impl LegacyKeys {
    /// The keys of 32 random bytes each.
    ///
    /// # Errors
    /// [`NotAKey`]: draw again.
    pub fn from_seeds(ed25519: &[u8; 32], secp256k1: &[u8; 32]) -> Result<Self, NotAKey> {
        let ecdsa = EcdsaKey::from_slice(secp256k1).map_err(|_| NotAKey)?;
        Ok(Self { ed25519: Box::new(SigningKey::from_bytes(ed25519)), ecdsa: Box::new(ecdsa) })
    }

    /// Signs a text.
    #[must_use]
    pub fn sign(&self, algorithm: SigningAlgorithm, text: &str) -> Signed {
        let signature = match algorithm {
            SigningAlgorithm::Ed25519 => hex::encode(self.ed25519.sign(text.as_bytes()).to_bytes()),
            SigningAlgorithm::Ecdsa => {
                let (signature, recovery) = self.ecdsa.sign_prehash_recoverable(&eip191(text));
                format!("0x{}{:02x}", hex::encode(signature.to_bytes()), 27 + recovery.to_byte())
            }
        };
        let (signing_address, signing_algo) = (self.address(algorithm), algorithm.name());
        Signed { text: text.to_owned(), signature, signing_address, signing_algo }
    }

    /// `signing_address`.
    #[must_use]
    pub fn address(&self, algorithm: SigningAlgorithm) -> String {
        match algorithm {
            SigningAlgorithm::Ed25519 => hex::encode(self.ed25519.verifying_key().as_bytes()),
            SigningAlgorithm::Ecdsa => format!("0x{}", hex::encode(self.ethereum_address())),
        }
    }

    /// `signing_public_key`: 32 bytes, or 65 bytes with the mark `04`, in hexadecimal.
    #[must_use]
    pub fn public_key(&self, algorithm: SigningAlgorithm) -> String {
        match algorithm {
            SigningAlgorithm::Ed25519 => hex::encode(self.ed25519.verifying_key().as_bytes()),
            SigningAlgorithm::Ecdsa => hex::encode(self.uncompressed()),
        }
    }

    /// The keys' entries among the keyset's receipt keys; ACI's verifiers skip their algorithms.
    #[must_use]
    pub fn public_keys(&self) -> [PublicKey; 2] {
        let key = |key_id: &str, algo: &str, of| PublicKey {
            key_id: key_id.to_owned(),
            algo: algo.to_owned(),
            public_key: self.public_key(of),
        };
        [
            key("legacy-ed25519", algorithm::LEGACY_ED25519, SigningAlgorithm::Ed25519),
            key("legacy-ecdsa", algorithm::LEGACY_SECP256K1, SigningAlgorithm::Ecdsa),
        ]
    }

    /// Report data of the older reports: the address of 20 bytes, or the key, filled up with zeros to 32, and the nonce.
    ///
    /// Such a report needs a quote of its own: ACI's statement is never in it.
    #[must_use]
    pub fn report_data(&self, algorithm: SigningAlgorithm, nonce: &[u8; 32]) -> [u8; 64] {
        let mut slot = [0; 64];
        let (identity, last) = slot.split_at_mut(32);
        let address = self.ethereum_address();
        let own = match algorithm {
            SigningAlgorithm::Ed25519 => self.ed25519.verifying_key().to_bytes().to_vec(),
            SigningAlgorithm::Ecdsa => address.to_vec(),
        };
        identity.iter_mut().zip(own).for_each(|(to, from)| *to = from);
        last.copy_from_slice(nonce);
        slot
    }

    fn uncompressed(&self) -> Vec<u8> {
        self.ecdsa.verifying_key().to_sec1_point(false).as_bytes().to_vec()
    }

    /// The last 20 bytes of the Keccak-256 of the point without its mark.
    fn ethereum_address(&self) -> [u8; 20] {
        let point = self.uncompressed();
        let digest: [u8; 32] = Keccak256::digest(point.get(1..).unwrap_or_default()).into();
        let mut address = [0; 20];
        address.iter_mut().zip(digest.into_iter().skip(12)).for_each(|(to, from)| *to = from);
        address
    }
}

/// Keccak-256 of a personal message (EIP-191, version `E`).
fn eip191(text: &str) -> [u8; 32] {
    let mut hash = Keccak256::new();
    hash.update(format!("\x19Ethereum Signed Message:\n{}", text.len()));
    hash.update(text);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};

    fn keys() -> LegacyKeys {
        // the first development key of widely used Ethereum test nodes, so that the address below is known elsewhere
        let secret = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
        let secret = hex::decode(secret).expect("hexadecimal").try_into().expect("32 bytes");
        LegacyKeys::from_seeds(&[2; 32], &secret).expect("keys")
    }

    #[test]
    fn addresses_are_those_that_others_compute() {
        assert_eq!(keys().address(SigningAlgorithm::Ecdsa), "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266");
        let ed25519 = "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394";
        assert_eq!(keys().address(SigningAlgorithm::Ed25519), ed25519);
        assert_eq!(keys().public_key(SigningAlgorithm::Ecdsa).len(), 130);
        assert!(LegacyKeys::from_seeds(&[2; 32], &[0; 32]).is_err());
        assert!(LegacyKeys::from_seeds(&[2; 32], &[0xff; 32]).is_err());
    }

    #[test]
    fn a_personal_message_hashes_as_ethereum_does() {
        // EIP-191's hash of "hello world", as wallets print it
        let known = "d9eba16ed0ecae432b71fe008c98cc872bb4cc214d3220a36f365326cf807d68";
        assert_eq!(hex::encode(eip191("hello world")), known);
    }

    #[test]
    fn an_ecdsa_signature_recovers_to_the_address_for_its_text_only() {
        let signed = keys().sign(SigningAlgorithm::Ecdsa, &text(Sha256Digest::of(b"a"), Sha256Digest::of(b"b")));
        let bytes = hex::decode(signed.signature.strip_prefix("0x").expect("0x")).expect("hexadecimal");
        assert_eq!(bytes.len(), 65);
        assert!(bytes[64] == 27 || bytes[64] == 28);
        let signature = Signature::from_slice(&bytes[..64]).expect("signature");
        assert!(signature.normalize_s() == signature, "the low form, which verifiers demand");
        let recovery = RecoveryId::from_byte(bytes[64] - 27).expect("recovery");
        let recovered = |text: &str| {
            let key = VerifyingKey::recover_from_prehash(&eip191(text), &signature, recovery).expect("a key");
            key == *keys().ecdsa.verifying_key()
        };
        assert!(recovered(&signed.text));
        assert!(!recovered(&signed.text.replace(':', ";")));
    }

    #[test]
    fn an_ed25519_signature_verifies_with_the_address() {
        let signed = keys().sign(SigningAlgorithm::Ed25519, "a:b");
        let signature: [u8; 64] = hex::decode(&signed.signature).expect("hexadecimal").try_into().expect("64 bytes");
        let signature = ed25519_dalek::Signature::from_bytes(&signature);
        let key = keys().ed25519.verifying_key();
        assert_eq!(hex::encode(key.as_bytes()), signed.signing_address);
        assert!(key.verify_strict(b"a:b", &signature).is_ok());
        assert!(key.verify_strict(b"a:c", &signature).is_err());
    }

    #[test]
    fn report_data_is_identity_and_nonce() {
        let slot = keys().report_data(SigningAlgorithm::Ecdsa, &[7; 32]);
        assert_eq!(hex::encode(&slot[..20]), keys().address(SigningAlgorithm::Ecdsa)[2..]);
        assert_eq!((&slot[20..32], &slot[32..]), (&[0; 12][..], &[7; 32][..]));
        let slot = keys().report_data(SigningAlgorithm::Ed25519, &[7; 32]);
        assert_eq!(hex::encode(&slot[..32]), keys().address(SigningAlgorithm::Ed25519));
    }

    #[test]
    fn algorithms_have_the_names_of_the_field() {
        assert_eq!(SigningAlgorithm::default(), SigningAlgorithm::Ecdsa);
        assert_eq!(SigningAlgorithm::from_name("ed25519"), Some(SigningAlgorithm::Ed25519));
        assert_eq!(SigningAlgorithm::from_name("ECDSA"), None);
    }
}
