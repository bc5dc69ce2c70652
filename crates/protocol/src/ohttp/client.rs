//! The client's side.

use super::chunks::{FINAL, FrameError, Frames, pieces, put_length};
use super::config::KeyConfig;
use super::{CHUNKED, Header, Labels, WHOLE};
use crate::hpke::{Aead, AnswerKey, CryptoRng, Sender, Suite, Undecryptable, Unsealable, Wiped, answer_nonce_len};

/// An answer that a client does not believe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The answer, or a chunk of it, does not decrypt.
    #[error("the answer cannot be decrypted")]
    Undecryptable,
    /// A chunk is longer than 16 KiB.
    #[error("a chunk of the answer is longer than 16 KiB")]
    TooLong,
    /// The answer ends without its authenticated final chunk: somebody cut it off, or the server failed.
    #[error("the answer is cut off before its final chunk")]
    Truncated,
}

impl From<Undecryptable> for AnswerError {
    fn from(_: Undecryptable) -> Self {
        Self::Undecryptable
    }
}

impl From<FrameError> for AnswerError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::TooLong => Self::TooLong,
            FrameError::Truncated => Self::Truncated,
            FrameError::Undecryptable => Self::Undecryptable,
        }
    }
}

/// Decrypts the answer to one request.
pub struct PendingAnswer(Pending);

/// Decrypts the chunked answer to one request as it comes.
pub struct ChunkOpener {
    pending: Pending,
    nonce: Vec<u8>,
    key: Option<AnswerKey>,
    frames: Frames,
}

struct Pending {
    sender: Sender,
    enc: Vec<u8>,
    aead: Aead,
}

/// Encapsulates a request (Binary HTTP) with one of the configuration's ciphers.
///
/// # Errors
/// [`Unsealable`] for a key of low order.
pub fn seal_request(
    config: &KeyConfig,
    aead: Aead,
    request: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<(Vec<u8>, PendingAnswer), Unsealable> {
    let (mut message, mut pending) = begin(config, aead, &WHOLE, rng)?;
    pending.sender.seal_into(b"", request, &mut message)?;
    Ok((message, PendingAnswer(pending)))
}

/// A chunked request before its content: the key is encapsulated, which is what takes time, and nothing else is known. It is good
/// for one request.
pub struct Prepared {
    message: Vec<u8>,
    pending: Pending,
}

impl Prepared {
    /// Encapsulates a fresh key to the configuration's.
    ///
    /// # Errors
    /// [`Unsealable`] for a key of low order.
    pub fn new(config: &KeyConfig, aead: Aead, rng: &mut impl CryptoRng) -> Result<Self, Unsealable> {
        let (message, pending) = begin(config, aead, &CHUNKED, rng)?;
        Ok(Self { message, pending })
    }

    /// Encapsulates a request (Binary HTTP) in chunks, the last of which is marked.
    ///
    /// # Errors
    /// [`Unsealable`] for a request longer than the cipher allows.
    pub fn seal(self, request: &[u8]) -> Result<(Vec<u8>, ChunkOpener), Unsealable> {
        let Self { mut message, mut pending } = self;
        pieces(request, |piece, last| {
            put_length(piece.len(), last, &mut message);
            pending.sender.seal_into(if last { FINAL } else { b"" }, piece, &mut message)
        })?;
        Ok((message, ChunkOpener { pending, nonce: Vec::new(), key: None, frames: Frames::new() }))
    }
}

/// Encapsulates a request (Binary HTTP) in chunks, the last of which is marked.
///
/// # Errors
/// [`Unsealable`] for a key of low order.
pub fn seal_chunked_request(
    config: &KeyConfig,
    aead: Aead,
    request: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<(Vec<u8>, ChunkOpener), Unsealable> {
    Prepared::new(config, aead, rng)?.seal(request)
}

fn begin(
    config: &KeyConfig,
    aead: Aead,
    labels: &Labels,
    rng: &mut impl CryptoRng,
) -> Result<(Vec<u8>, Pending), Unsealable> {
    let header = Header { key_id: config.key_id, suite: Suite { kem: config.key.kem(), aead } };
    let (enc, sender) = header.suite.send(&config.key, &header.info(labels), rng)?;
    Ok(([header.encode().as_slice(), &enc].concat(), Pending { sender, enc, aead }))
}

impl Pending {
    fn key(&self, labels: &Labels, nonce: &[u8]) -> Result<AnswerKey, Undecryptable> {
        let mut secret = Wiped::new(vec![0; answer_nonce_len(self.aead)]);
        self.sender.export(labels.response, &mut secret).map_err(|_| Undecryptable)?;
        AnswerKey::derive(self.aead, &secret, &self.enc, nonce).map_err(|_| Undecryptable)
    }
}

impl PendingAnswer {
    /// Decrypts the answer.
    ///
    /// # Errors
    /// [`Undecryptable`].
    pub fn open(self, message: &[u8]) -> Result<Wiped, Undecryptable> {
        let (nonce, sealed) = message.split_at_checked(answer_nonce_len(self.0.aead)).ok_or(Undecryptable)?;
        let mut response = Wiped::default();
        self.0.key(&WHOLE, nonce)?.open_into(b"", sealed, &mut response)?;
        Ok(response)
    }
}

impl ChunkOpener {
    /// Reads the next bytes of the answer and appends what they decrypt to.
    ///
    /// # Errors
    /// [`AnswerError`]; the answer is of no further use then.
    pub fn feed(&mut self, bytes: &[u8], content: &mut Vec<u8>) -> Result<(), AnswerError> {
        let missing = answer_nonce_len(self.pending.aead) - self.nonce.len();
        let (nonce, sealed) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
        self.nonce.extend_from_slice(nonce);
        if nonce.len() < missing {
            return Ok(());
        }
        let key = match &mut self.key {
            Some(key) => key,
            none => none.insert(self.pending.key(&CHUNKED, &self.nonce)?),
        };
        Ok(self.frames.feed(sealed, |chunk| key.open_into(b"", chunk, content))?)
    }

    /// Ends the answer and appends what the final chunk decrypts to. Only now is the answer complete.
    ///
    /// # Errors
    /// [`AnswerError::Truncated`] where the final chunk did not begin, [`AnswerError::Undecryptable`] where it is cut off or
    /// is not what the server sealed.
    pub fn finish(self, content: &mut Vec<u8>) -> Result<(), AnswerError> {
        let mut key = self.key.ok_or(AnswerError::Truncated)?;
        Ok(key.open_into(FINAL, &self.frames.finish()?, content)?)
    }
}
