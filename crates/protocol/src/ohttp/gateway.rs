//! The gateway's side.

use super::chunks::{ChunkSealer, FINAL, FrameError, split};
use super::config::KeyConfig;
use super::{CHUNKED, HEADER_LEN, Header, Labels, WHOLE};
use crate::hpke::{Aead, AnswerKey, CryptoRng, Receiver, SecretKey, Unsealable, Wiped, answer_nonce_len, receive};
use crate::refusal::Refusal;

/// A key of the gateway.
#[derive(Debug)]
pub struct GatewayKey {
    /// Names the key in requests; keys that overlap need different names.
    pub key_id: u8,
    /// The key.
    pub secret: SecretKey,
    /// Ciphers that requests may use.
    pub aeads: Vec<Aead>,
}

impl GatewayKey {
    /// What clients are told of the key.
    #[must_use]
    pub fn config(&self) -> KeyConfig {
        KeyConfig { key_id: self.key_id, key: self.secret.public_key(), aeads: self.aeads.clone() }
    }
}

/// A request that decrypted.
pub struct Opened<R> {
    /// What was encapsulated: Binary HTTP, if the client is honest.
    pub content: Wiped,
    /// The encapsulated key, for the replay set.
    pub enc: Vec<u8>,
    /// Name of the key that opened it.
    pub key_id: u8,
    /// Encrypts the answer, also where the content is refused.
    pub reply: R,
}

/// Encrypts the answer to one request.
pub struct Reply(Answering);

/// Encrypts the chunked answer to one chunked request.
pub struct ChunkedReply(Answering);

struct Answering {
    receiver: Receiver,
    enc: Vec<u8>,
    aead: Aead,
}

/// Opens an encapsulated request of [`super::REQUEST_TYPE`]. `keys` are those that are accepted now.
///
/// # Errors
/// [`Refusal`].
pub fn open_request(keys: &[&GatewayKey], message: &[u8]) -> Result<Opened<Reply>, Refusal> {
    let (mut answering, key_id, sealed) = begin(keys, message, &WHOLE)?;
    let content = answering.receiver.open(b"", sealed)?;
    Ok(Opened { content, enc: answering.enc.clone(), key_id, reply: Reply(answering) })
}

/// Opens an encapsulated request of [`super::CHUNKED_REQUEST_TYPE`] that has come completely.
///
/// # Errors
/// [`Refusal`]; [`Refusal::Malformed`] where the final chunk is missing.
pub fn open_chunked_request(keys: &[&GatewayKey], message: &[u8]) -> Result<Opened<ChunkedReply>, Refusal> {
    let (mut answering, key_id, sealed) = begin(keys, message, &CHUNKED)?;
    let mut content = Wiped::new(Vec::with_capacity(sealed.len()));
    let last = split(sealed, |chunk| answering.receiver.open_into(b"", chunk, &mut content))?;
    answering.receiver.open_into(FINAL, last, &mut content)?;
    Ok(Opened { content, enc: answering.enc.clone(), key_id, reply: ChunkedReply(answering) })
}

/// Reads header and encapsulated key, and finds the key. There is no trial decryption.
fn begin<'m>(keys: &[&GatewayKey], message: &'m [u8], labels: &Labels) -> Result<(Answering, u8, &'m [u8]), Refusal> {
    let (header, rest) = message.split_first_chunk::<HEADER_LEN>().ok_or(Refusal::Malformed)?;
    let header = Header::decode(*header).ok_or(Refusal::UnknownKey)?;
    let fits = |key: &&&GatewayKey| {
        key.key_id == header.key_id && key.secret.kem() == header.suite.kem && key.aeads.contains(&header.suite.aead)
    };
    let key = keys.iter().find(fits).ok_or(Refusal::UnknownKey)?;
    let (enc, sealed) = rest.split_at_checked(header.suite.kem.enc_len()).ok_or(Refusal::Malformed)?;
    let receiver = receive(header.suite.aead, &key.secret, enc, &header.info(labels))?;
    Ok((Answering { receiver, enc: enc.to_vec(), aead: header.suite.aead }, header.key_id, sealed))
}

impl Answering {
    /// The key of an answer and the nonce that it starts with.
    fn begin(&self, labels: &Labels, rng: &mut impl CryptoRng) -> Result<(AnswerKey, Vec<u8>), Unsealable> {
        let length = answer_nonce_len(self.aead);
        let (mut secret, mut nonce) = (Wiped::new(vec![0; length]), vec![0; length]);
        self.receiver.export(labels.response, &mut secret).map_err(|_| Unsealable)?;
        rng.fill_bytes(&mut nonce);
        Ok((AnswerKey::derive(self.aead, &secret, &self.enc, &nonce)?, nonce))
    }
}

impl Reply {
    /// Encrypts the whole answer.
    ///
    /// # Errors
    /// [`Unsealable`] for an answer longer than the cipher allows.
    pub fn seal(self, response: &[u8], rng: &mut impl CryptoRng) -> Result<Vec<u8>, Unsealable> {
        let (mut key, mut message) = self.0.begin(&WHOLE, rng)?;
        key.seal_into(b"", response, &mut message)?;
        Ok(message)
    }
}

impl ChunkedReply {
    /// Begins the answer: its first bytes, and what encrypts the rest.
    ///
    /// # Errors
    /// [`Unsealable`] never for the suites of this crate.
    pub fn start(self, rng: &mut impl CryptoRng) -> Result<(Vec<u8>, ChunkSealer), Unsealable> {
        let (key, nonce) = self.0.begin(&CHUNKED, rng)?;
        Ok((nonce, ChunkSealer::new(key)))
    }
}

impl From<FrameError> for Refusal {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::TooLong => Self::TooLong,
            FrameError::Truncated => Self::Malformed,
            FrameError::Undecryptable => Self::Undecryptable,
        }
    }
}
