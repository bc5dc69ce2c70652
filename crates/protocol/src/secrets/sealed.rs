//! What a restart of the same image with the same document finds again, where a machine has a secret for it alone.
//!
//! A file is `LETHESEC`, a salt of 32 random bytes, and a ciphertext. Key (32 bytes) and nonce (12) are
//! `HKDF-SHA256(salt, secret, "lethe sealed secrets v1" ‖ SHA-256 of the document)`, the cipher is ChaCha20-Poly1305 without
//! additional data, the plaintext is `{"v": 1, "counter": n, "digests": {NAME: hex}}`: digests of tokens, never tokens.

use std::collections::BTreeMap;

use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::hpke::{Aead, AnswerKey, Unsealable, Wiped};

/// Most bytes of a file.
pub const MAX_SEALED: usize = 64 << 10;

const MAGIC: &[u8; 8] = b"LETHESEC";
const LABEL: &[u8] = b"lethe sealed secrets v1";
const SALT: usize = 32;

/// What is kept: the last counter, and the digest of each secret by its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// Counter of the last message that was accepted.
    pub counter: u64,
    /// SHA-256 of each secret.
    pub digests: BTreeMap<String, [u8; 32]>,
}

/// A file that another machine, image or document sealed, or nobody. Which of them is not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the file with sealed secrets does not open here")]
pub struct Unopenable;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {
    v: u64,
    counter: u64,
    digests: BTreeMap<String, Digest>,
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Digest(#[serde(with = "hex::serde")] [u8; 32]);

/// Seals for the machine with this `secret` and the document with this digest; `salt` is random and used once.
///
/// # Errors
/// [`Unsealable`] for more than [`MAX_SEALED`] bytes.
pub fn keep(kept: &Kept, secret: &[u8; 32], document: &[u8; 32], salt: &[u8; SALT]) -> Result<Vec<u8>, Unsealable> {
    let digests = kept.digests.iter().map(|(name, digest)| (name.clone(), Digest(*digest))).collect();
    let plain = Plain { v: 1, counter: kept.counter, digests };
    let plain = Wiped::new(serde_json::to_vec(&plain).map_err(|_| Unsealable)?);
    let mut file = [&MAGIC[..], salt].concat();
    cipher(secret, document, salt)?.seal_into(&[], &plain, &mut file)?;
    if file.len() > MAX_SEALED { Err(Unsealable) } else { Ok(file) }
}

/// Opens what [`keep`] sealed with the same secret and document.
///
/// # Errors
/// [`Unopenable`]
pub fn restore(file: &[u8], secret: &[u8; 32], document: &[u8; 32]) -> Result<Kept, Unopenable> {
    let (salt, sealed) = file.strip_prefix(MAGIC).and_then(|rest| rest.split_first_chunk()).ok_or(Unopenable)?;
    if file.len() > MAX_SEALED {
        return Err(Unopenable);
    }
    let mut plain = Vec::with_capacity(sealed.len());
    cipher(secret, document, salt)
        .map_err(|_| Unopenable)?
        .open_into(&[], sealed, &mut plain)
        .map_err(|_| Unopenable)?;
    let plain: Plain = serde_json::from_slice(&Wiped::new(plain)).map_err(|_| Unopenable)?;
    if plain.v != 1 {
        return Err(Unopenable);
    }
    let digests = plain.digests.into_iter().map(|(name, digest)| (name, digest.0)).collect();
    Ok(Kept { counter: plain.counter, digests })
}

fn cipher(secret: &[u8; 32], document: &[u8; 32], salt: &[u8; SALT]) -> Result<AnswerKey, Unsealable> {
    const KEY: usize = 32;
    let mut material = Zeroizing::new([0; KEY + Aead::NONCE_LEN]);
    let extracted = Hkdf::<Sha256>::new(Some(salt), secret);
    extracted.expand_multi_info(&[LABEL, document], material.as_mut_slice()).map_err(|_| Unsealable)?;
    let (key, nonce) = material.split_at(KEY);
    AnswerKey::new(Aead::ChaCha20Poly1305, key, nonce.first_chunk().ok_or(Unsealable)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Kept {
        Kept { counter: 7, digests: [("TOKEN".to_owned(), [1; 32]), ("TOKEN_CI".to_owned(), [2; 32])].into() }
    }

    #[test]
    fn the_same_machine_and_document_find_it_again_and_no_others_do() {
        let file = keep(&kept(), &[3; 32], &[4; 32], &[5; 32]).expect("sealed");
        assert_eq!(restore(&file, &[3; 32], &[4; 32]), Ok(kept()));
        assert_eq!(restore(&file, &[9; 32], &[4; 32]), Err(Unopenable), "another machine or image");
        assert_eq!(restore(&file, &[3; 32], &[9; 32]), Err(Unopenable), "another document");
        assert!(!file.windows(5).any(|window| window == b"TOKEN"));
    }

    #[test]
    fn a_changed_or_cut_file_does_not_open() {
        let file = keep(&kept(), &[3; 32], &[4; 32], &[5; 32]).expect("sealed");
        for place in 0..file.len() {
            let mut changed = file.clone();
            changed[place] ^= 1;
            assert_eq!(restore(&changed, &[3; 32], &[4; 32]), Err(Unopenable), "{place}");
            assert_eq!(restore(&file[..place], &[3; 32], &[4; 32]), Err(Unopenable), "{place}");
        }
        assert_eq!(restore(&[0; MAX_SEALED + 1], &[3; 32], &[4; 32]), Err(Unopenable));
        let many = Kept { digests: (0..1000).map(|n| (format!("TOKEN_{n}"), [0; 32])).collect(), ..kept() };
        assert_eq!(keep(&many, &[3; 32], &[4; 32], &[5; 32]), Err(Unsealable));
    }
}
