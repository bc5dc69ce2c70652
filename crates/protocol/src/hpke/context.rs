//! Encryption contexts (RFC 9180 section 5).

use ::hpke::aead::{Aead as AeadTrait, AeadCtxR, AeadCtxS, AeadTag, AesGcm128, AesGcm256, ChaCha20Poly1305};
use ::hpke::inout::InOutBuf;
use ::hpke::kdf::HkdfSha256;
use ::hpke::kem::{X25519HkdfSha256, XWing};
use ::hpke::rand_core::CryptoRng;
use ::hpke::{Deserializable, Kem as KemTrait, OpModeR, OpModeS, Serializable};

use zeroize::Zeroize as _;

use super::key::{self, Expanded, PublicKey, SecretKey};
use super::suite::{Aead, Kem, Suite};
use super::{Undecryptable, Unsealable, Wiped};

/// What the sender holds: encrypts messages in order, and exports secrets.
pub struct Sender(Box<dyn Seal + Send + Sync>);

/// What the receiver holds: decrypts messages in the order in which they were encrypted, and exports secrets.
pub struct Receiver(Box<dyn Open + Send + Sync>);

/// Encapsulates a fresh key to `key` and gives it with the sender's context.
///
/// # Errors
/// [`Unsealable`] for a public key of low order.
pub fn send(
    aead: Aead,
    key: &PublicKey,
    info: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<(Vec<u8>, Sender), Unsealable> {
    match (key.kem(), aead) {
        (Kem::X25519, Aead::Aes128Gcm) => send_with::<AesGcm128, X25519HkdfSha256>(key, info, rng),
        (Kem::X25519, Aead::Aes256Gcm) => send_with::<AesGcm256, X25519HkdfSha256>(key, info, rng),
        (Kem::X25519, Aead::ChaCha20Poly1305) => send_with::<ChaCha20Poly1305, X25519HkdfSha256>(key, info, rng),
        (Kem::XWing, Aead::Aes128Gcm) => send_with::<AesGcm128, XWing>(key, info, rng),
        (Kem::XWing, Aead::Aes256Gcm) => send_with::<AesGcm256, XWing>(key, info, rng),
        (Kem::XWing, Aead::ChaCha20Poly1305) => send_with::<ChaCha20Poly1305, XWing>(key, info, rng),
    }
}

/// The receiver's context for the encapsulated key `enc`.
///
/// # Errors
/// [`Undecryptable`] where `enc` is no encapsulated key, or leads to a shared secret of zeros.
pub fn receive(aead: Aead, key: &SecretKey, enc: &[u8], info: &[u8]) -> Result<Receiver, Undecryptable> {
    match (key.expanded(), aead) {
        (Expanded::X25519(key), Aead::Aes128Gcm) => receive_with::<AesGcm128, X25519HkdfSha256>(key, enc, info),
        (Expanded::X25519(key), Aead::Aes256Gcm) => receive_with::<AesGcm256, X25519HkdfSha256>(key, enc, info),
        (Expanded::X25519(key), Aead::ChaCha20Poly1305) => {
            receive_with::<ChaCha20Poly1305, X25519HkdfSha256>(key, enc, info)
        }
        (Expanded::XWing(key), Aead::Aes128Gcm) => receive_with::<AesGcm128, XWing>(key, enc, info),
        (Expanded::XWing(key), Aead::Aes256Gcm) => receive_with::<AesGcm256, XWing>(key, enc, info),
        (Expanded::XWing(key), Aead::ChaCha20Poly1305) => receive_with::<ChaCha20Poly1305, XWing>(key, enc, info),
    }
}

impl Suite {
    /// [`send`] with this suite's cipher; the key must be of this suite's mechanism.
    ///
    /// # Errors
    /// [`Unsealable`], also for a key of another mechanism.
    pub fn send(self, key: &PublicKey, info: &[u8], rng: &mut impl CryptoRng) -> Result<(Vec<u8>, Sender), Unsealable> {
        if key.kem() == self.kem { send(self.aead, key, info, rng) } else { Err(Unsealable) }
    }
}

impl Sender {
    /// Encrypts the next message and appends ciphertext and tag to `out`.
    ///
    /// # Errors
    /// [`Unsealable`] after 2^64 messages, or for a message longer than the cipher allows.
    pub fn seal_into(&mut self, aad: &[u8], plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), Unsealable> {
        self.0.seal(aad, plaintext, out)
    }

    /// Encrypts the next message.
    ///
    /// # Errors
    /// As [`Sender::seal_into`].
    pub fn seal(&mut self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Unsealable> {
        let mut out = Vec::with_capacity(plaintext.len().saturating_add(Aead::TAG_LEN));
        self.seal_into(aad, plaintext, &mut out)?;
        Ok(out)
    }

    /// The exported secret for `label` (RFC 9180 section 5.3), as long as `secret`; at most 255 hashes long.
    ///
    /// # Errors
    /// [`Unsealable`] for a longer one.
    pub fn export(&self, label: &[u8], secret: &mut [u8]) -> Result<(), Unsealable> {
        self.0.export(label, secret)
    }
}

impl Receiver {
    /// Decrypts the next message and appends the plaintext to `out`. After an error nothing was appended, and the same
    /// message number is expected again.
    ///
    /// # Errors
    /// [`Undecryptable`].
    pub fn open_into(&mut self, aad: &[u8], ciphertext: &[u8], out: &mut Vec<u8>) -> Result<(), Undecryptable> {
        self.0.open(aad, ciphertext, out)
    }

    /// Decrypts the next message.
    ///
    /// # Errors
    /// [`Undecryptable`].
    pub fn open(&mut self, aad: &[u8], ciphertext: &[u8]) -> Result<Wiped, Undecryptable> {
        let mut out = Wiped::new(Vec::with_capacity(ciphertext.len().saturating_sub(Aead::TAG_LEN)));
        self.open_into(aad, ciphertext, &mut out)?;
        Ok(out)
    }

    /// As [`Sender::export`].
    ///
    /// # Errors
    /// [`Undecryptable`] for a secret longer than 255 hashes.
    pub fn export(&self, label: &[u8], secret: &mut [u8]) -> Result<(), Undecryptable> {
        self.0.export(label, secret)
    }
}

fn send_with<A: AeadTrait, K: KemTrait>(
    key: &PublicKey,
    info: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<(Vec<u8>, Sender), Unsealable>
where
    AeadCtxS<A, HkdfSha256, K>: Seal + Send + Sync + 'static,
{
    let key = key::parse::<K>(key.as_bytes()).map_err(|_| Unsealable)?;
    let (enc, context) =
        ::hpke::setup_sender_with_rng::<A, HkdfSha256, K>(&OpModeS::Base, &key, info, rng).map_err(|_| Unsealable)?;
    Ok((enc.to_bytes().to_vec(), Sender(Box::new(context))))
}

fn receive_with<A: AeadTrait, K: KemTrait>(
    key: &K::PrivateKey,
    enc: &[u8],
    info: &[u8],
) -> Result<Receiver, Undecryptable>
where
    AeadCtxR<A, HkdfSha256, K>: Open + Send + Sync + 'static,
{
    let enc = K::EncappedKey::from_bytes(enc).map_err(|_| Undecryptable)?;
    let context =
        ::hpke::setup_receiver::<A, HkdfSha256, K>(&OpModeR::Base, key, &enc, info).map_err(|_| Undecryptable)?;
    Ok(Receiver(Box::new(context)))
}

/// [`AeadCtxS`] without its type parameters.
trait Seal {
    fn seal(&mut self, aad: &[u8], plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), Unsealable>;
    fn export(&self, label: &[u8], secret: &mut [u8]) -> Result<(), Unsealable>;
}

/// [`AeadCtxR`] without its type parameters.
trait Open {
    fn open(&mut self, aad: &[u8], ciphertext: &[u8], out: &mut Vec<u8>) -> Result<(), Undecryptable>;
    fn export(&self, label: &[u8], secret: &mut [u8]) -> Result<(), Undecryptable>;
}

impl<A: AeadTrait, K: KemTrait> Seal for AeadCtxS<A, HkdfSha256, K> {
    fn seal(&mut self, aad: &[u8], plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), Unsealable> {
        let start = out.len();
        out.reserve(plaintext.len().saturating_add(Aead::TAG_LEN));
        out.resize(start.saturating_add(plaintext.len()), 0);
        let sealed = out.get_mut(start..).and_then(|sealed| InOutBuf::new(plaintext, sealed).ok());
        let Some(tag) = sealed.and_then(|sealed| self.seal_inout_detached(sealed, aad).ok()) else {
            out.truncate(start);
            return Err(Unsealable);
        };
        out.extend_from_slice(&tag.to_bytes());
        Ok(())
    }

    fn export(&self, label: &[u8], secret: &mut [u8]) -> Result<(), Unsealable> {
        Self::export(self, label, secret).map_err(|_| Unsealable)
    }
}

impl<A: AeadTrait, K: KemTrait> Open for AeadCtxR<A, HkdfSha256, K> {
    fn open(&mut self, aad: &[u8], ciphertext: &[u8], out: &mut Vec<u8>) -> Result<(), Undecryptable> {
        let length = ciphertext.len().checked_sub(Aead::TAG_LEN).ok_or(Undecryptable)?;
        let (message, tag) = ciphertext.split_at_checked(length).ok_or(Undecryptable)?;
        let tag = AeadTag::<A>::from_bytes(tag).map_err(|_| Undecryptable)?;
        let start = out.len();
        out.resize(start.saturating_add(length), 0);
        let opened = out.get_mut(start..).and_then(|opened| InOutBuf::new(message, opened).ok());
        if opened.and_then(|opened| self.open_inout_detached(opened, aad, &tag).ok()).is_none() {
            // the ciphers check before they decrypt; the crate does not promise that
            out.get_mut(start..).unwrap_or_default().zeroize();
            out.truncate(start);
            return Err(Undecryptable);
        }
        Ok(())
    }

    fn export(&self, label: &[u8], secret: &mut [u8]) -> Result<(), Undecryptable> {
        Self::export(self, label, secret).map_err(|_| Undecryptable)
    }
}
