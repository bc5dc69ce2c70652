//! The key that signs receipts.

use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};

use crate::keyset::{ED25519, PublicKey};

/// An Ed25519 key that signs receipts and nothing else; wiped when it is dropped.
pub struct ReceiptKey {
    key: Box<SigningKey>,
    id: String,
}

impl ReceiptKey {
    /// The key of 32 random bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = Box::new(SigningKey::from_bytes(seed));
        let digest = hex::encode(Sha256::digest(key.verifying_key().as_bytes()));
        let id = format!("receipt-{}", digest.get(..16).unwrap_or(&digest));
        Self { key, id }
    }

    /// The same key under another name.
    #[must_use]
    pub fn with_id(self, id: &str) -> Self {
        Self { id: id.to_owned(), ..self }
    }

    /// Its name in the keyset and in receipts: `receipt-` and the first 8 bytes of the SHA-256 of its public half.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its entry in the keyset.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        let public_key = hex::encode(self.key.verifying_key().as_bytes());
        PublicKey { key_id: self.id.clone(), algo: ED25519.to_owned(), public_key }
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}
