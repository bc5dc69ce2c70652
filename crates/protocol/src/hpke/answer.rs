//! Keys of answers: what OHTTP (RFC 9458 section 4.4), EHBP and the envelope encrypt a response with.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, KeyInit, Nonce, Tag};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use chacha20poly1305::ChaCha20Poly1305;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use super::suite::Aead;
use super::{Undecryptable, Unsealable};

/// Length of a response nonce, and of the exported secret: `max(Nn, Nk)`.
#[must_use]
pub const fn answer_nonce_len(aead: Aead) -> usize {
    if aead.key_len() > Aead::NONCE_LEN { aead.key_len() } else { Aead::NONCE_LEN }
}

/// A key that encrypts, or decrypts, the messages of one answer in order; the nonce of message `i` is the base XOR `i`.
///
/// Each side uses it in one direction only.
pub struct AnswerKey {
    cipher: Box<Cipher>,
    base: Zeroizing<[u8; Aead::NONCE_LEN]>,
    next: Option<u64>,
}

/// All wipe their key schedule when they are dropped.
enum Cipher {
    Aes128Gcm(Aes128Gcm),
    Aes256Gcm(Aes256Gcm),
    ChaCha20Poly1305(ChaCha20Poly1305),
}

impl AnswerKey {
    /// A key of `key_len` bytes with its base nonce.
    ///
    /// # Errors
    /// [`Unsealable`] for a key of another length.
    pub fn new(aead: Aead, key: &[u8], base: &[u8; Aead::NONCE_LEN]) -> Result<Self, Unsealable> {
        let cipher = match aead {
            Aead::Aes128Gcm => Aes128Gcm::new_from_slice(key).map(Cipher::Aes128Gcm),
            Aead::Aes256Gcm => Aes256Gcm::new_from_slice(key).map(Cipher::Aes256Gcm),
            Aead::ChaCha20Poly1305 => ChaCha20Poly1305::new_from_slice(key).map(Cipher::ChaCha20Poly1305),
        };
        let cipher = Box::new(cipher.map_err(|_| Unsealable)?);
        Ok(Self { cipher, base: Zeroizing::new(*base), next: Some(0) })
    }

    /// OHTTP's derivation: `Extract(enc ‖ nonce, secret)`, then `Expand` with `key` and `nonce`.
    ///
    /// # Errors
    /// [`Unsealable`] never for an [`Aead`] of this crate; the type has it because [`AnswerKey::new`] has.
    pub fn derive(aead: Aead, secret: &[u8], enc: &[u8], nonce: &[u8]) -> Result<Self, Unsealable> {
        let salt = [enc, nonce].concat();
        let extracted = Hkdf::<Sha256>::new(Some(&salt), secret);
        let mut key = Zeroizing::new([0; 32]);
        let key = key.get_mut(..aead.key_len()).ok_or(Unsealable)?;
        let mut base = Zeroizing::new([0; Aead::NONCE_LEN]);
        extracted.expand(b"key", key).map_err(|_| Unsealable)?;
        extracted.expand(b"nonce", base.as_mut_slice()).map_err(|_| Unsealable)?;
        Self::new(aead, key, &base)
    }

    /// Encrypts the next message and appends ciphertext and tag to `out`.
    ///
    /// # Errors
    /// [`Unsealable`] after 2^64 messages.
    pub fn seal_into(&mut self, aad: &[u8], plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), Unsealable> {
        let (nonce, next) = self.nonce().ok_or(Unsealable)?;
        let start = out.len();
        out.reserve(plaintext.len().saturating_add(Aead::TAG_LEN));
        out.resize(start.saturating_add(plaintext.len()), 0);
        let data = out.get_mut(start..).and_then(|sealed| InOutBuf::new(plaintext, sealed).ok());
        let tag = data.and_then(|data| match self.cipher.as_ref() {
            Cipher::Aes128Gcm(cipher) => seal(cipher, &nonce, aad, data),
            Cipher::Aes256Gcm(cipher) => seal(cipher, &nonce, aad, data),
            Cipher::ChaCha20Poly1305(cipher) => seal(cipher, &nonce, aad, data),
        });
        let Some(tag) = tag else {
            out.truncate(start);
            return Err(Unsealable);
        };
        out.extend_from_slice(&tag);
        self.next = next;
        Ok(())
    }

    /// Decrypts the next message and appends the plaintext to `out`; after an error nothing was appended.
    ///
    /// # Errors
    /// [`Undecryptable`].
    pub fn open_into(&mut self, aad: &[u8], ciphertext: &[u8], out: &mut Vec<u8>) -> Result<(), Undecryptable> {
        let (nonce, next) = self.nonce().ok_or(Undecryptable)?;
        let length = ciphertext.len().checked_sub(Aead::TAG_LEN).ok_or(Undecryptable)?;
        let (message, tag) = ciphertext.split_at_checked(length).ok_or(Undecryptable)?;
        let start = out.len();
        out.resize(start.saturating_add(length), 0);
        let data = out.get_mut(start..).and_then(|opened| InOutBuf::new(message, opened).ok());
        let opened = data.and_then(|data| match self.cipher.as_ref() {
            Cipher::Aes128Gcm(cipher) => open(cipher, &nonce, aad, data, tag),
            Cipher::Aes256Gcm(cipher) => open(cipher, &nonce, aad, data, tag),
            Cipher::ChaCha20Poly1305(cipher) => open(cipher, &nonce, aad, data, tag),
        });
        if opened.is_none() {
            // the ciphers check before they decrypt; the crates do not promise that
            out.get_mut(start..).unwrap_or_default().zeroize();
            out.truncate(start);
            return Err(Undecryptable);
        }
        self.next = next;
        Ok(())
    }

    /// The next message's nonce and the number after it, or `None` where the numbers have run out.
    fn nonce(&self) -> Option<([u8; Aead::NONCE_LEN], Option<u64>)> {
        let number = self.next?;
        let mut nonce = *self.base;
        for (byte, mask) in nonce.iter_mut().rev().zip(number.to_le_bytes()) {
            *byte ^= mask;
        }
        Some((nonce, number.checked_add(1)))
    }
}

type Data<'i, 'o> = InOutBuf<'i, 'o, u8>;

fn seal<A: AeadInOut>(cipher: &A, nonce: &[u8], aad: &[u8], data: Data<'_, '_>) -> Option<[u8; Aead::TAG_LEN]> {
    let nonce = <&Nonce<A>>::try_from(nonce).ok()?;
    let tag = cipher.encrypt_inout_detached(nonce, aad, data).ok()?;
    tag.as_slice().try_into().ok()
}

fn open<A: AeadInOut>(cipher: &A, nonce: &[u8], aad: &[u8], data: Data<'_, '_>, tag: &[u8]) -> Option<()> {
    let (nonce, tag) = (<&Nonce<A>>::try_from(nonce).ok()?, <&Tag<A>>::try_from(tag).ok()?);
    cipher.decrypt_inout_detached(nonce, aad, data, tag).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AEADS: [Aead; 3] = [Aead::Aes128Gcm, Aead::Aes256Gcm, Aead::ChaCha20Poly1305];

    fn key(aead: Aead) -> AnswerKey {
        AnswerKey::derive(aead, b"secret", b"enc", b"nonce").expect("key")
    }

    #[test]
    fn messages_open_in_their_order_and_in_no_other() {
        for aead in AEADS {
            let (mut sender, mut receiver) = (key(aead), key(aead));
            let (mut first, mut second) = (Vec::new(), Vec::new());
            sender.seal_into(b"", b"first", &mut first).expect("sealed");
            sender.seal_into(b"final", b"second", &mut second).expect("sealed");
            let mut out = b"before".to_vec();
            assert_eq!(receiver.open_into(b"final", &second, &mut out), Err(Undecryptable));
            assert_eq!(receiver.open_into(b"final", &first, &mut out), Err(Undecryptable));
            assert_eq!(out, b"before");
            assert_eq!(receiver.open_into(b"", &first, &mut out), Ok(()));
            assert_eq!(receiver.open_into(b"", &first, &mut out), Err(Undecryptable));
            assert_eq!(receiver.open_into(b"final", &second, &mut out), Ok(()));
            assert_eq!(out, b"beforefirstsecond");
        }
    }

    #[test]
    fn a_changed_byte_or_a_missing_one_does_not_open() {
        for aead in AEADS {
            let mut sealed = Vec::new();
            key(aead).seal_into(b"", b"text", &mut sealed).expect("sealed");
            for index in 0..sealed.len() {
                let mut changed = sealed.clone();
                changed[index] ^= 1;
                assert_eq!(key(aead).open_into(b"", &changed, &mut Vec::new()), Err(Undecryptable));
                assert_eq!(key(aead).open_into(b"", &sealed[..index], &mut Vec::new()), Err(Undecryptable));
            }
            assert_eq!(key(aead).open_into(b"", &sealed, &mut Vec::new()), Ok(()));
        }
    }

    #[test]
    fn numbers_do_not_wrap() {
        let mut key = key(Aead::Aes128Gcm);
        key.next = Some(u64::MAX);
        assert_eq!(key.seal_into(b"", b"last", &mut Vec::new()), Ok(()));
        assert_eq!(key.seal_into(b"", b"too many", &mut Vec::new()), Err(Unsealable));
    }
}
