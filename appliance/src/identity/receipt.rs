//! The key that signs receipts: Ed25519, made at random, wiped when it is dropped.

use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::IdentityError;

/// An Ed25519 key pair that signs receipts and nothing else.
pub struct ReceiptKey(SigningKey);

impl ReceiptKey {
    /// A new key from the kernel's generator.
    ///
    /// # Errors
    /// [`IdentityError::Random`] where the kernel gives no random bytes.
    pub fn generate() -> Result<Self, IdentityError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(IdentityError::Random)?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// The key's name in the keyset and in receipts: `receipt-` and the first 8 bytes of its SHA-256.
    #[must_use]
    pub fn id(&self) -> String {
        let digest = hex::encode(Sha256::digest(self.public()));
        format!("receipt-{}", digest.get(..16).unwrap_or(&digest))
    }

    /// Signs `message`, the canonical form of a receipt.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signature, VerifyingKey};

    use super::*;

    #[test]
    fn a_signature_verifies_with_the_public_half_and_for_its_message_only() {
        let key = ReceiptKey::generate().expect("key");
        let public = VerifyingKey::from_bytes(&key.public()).expect("public");
        let signature = Signature::from_bytes(&key.sign(b"message"));
        assert!(public.verify_strict(b"message", &signature).is_ok());
        assert!(public.verify_strict(b"massage", &signature).is_err());
        assert_eq!(key.id().len(), "receipt-".len() + 16);
    }
}
