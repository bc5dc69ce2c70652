//! The Encrypted HTTP Body Protocol (SPEC.md of tinfoilsh/encrypted-http-body-protocol), both sides.
//!
//! It encrypts bodies only: method, path and headers stay clear, and nothing marks a body's end, so that whoever carries it
//! can cut it off. It has no key id: a server tries each of its keys. For the same reason whatever does not decrypt is
//! answered with the protocol's key-configuration problem: a server cannot tell a stale key from a changed byte.

use crate::hpke::{
    Aead, AnswerKey, CryptoRng, PublicKey, Receiver, SecretKey, Sender, Undecryptable, Unsealable, Wiped, receive, send,
};
use crate::ohttp::KeyConfig;
use crate::refusal::Refusal;

/// Request header with the encapsulated key in lower-case hexadecimal.
pub const ENCAPSULATED_KEY_HEADER: &str = "ehbp-encapsulated-key";
/// Response header with the nonce in lower-case hexadecimal.
pub const RESPONSE_NONCE_HEADER: &str = "ehbp-response-nonce";
/// Type of the problem that a client answers by fetching the keys again, with status 422.
pub const KEY_PROBLEM: &str = "urn:ietf:params:ehbp:error:key-config";
/// Plaintext bytes of the chunks that we write.
pub const CHUNK: usize = 16_384;

const AEAD: Aead = Aead::Aes256Gcm;
const INFO: &[u8] = b"ehbp request";
const EXPORT: &[u8] = b"ehbp response";
const NONCE_LEN: usize = 32;

/// The body of `/.well-known/hpke-keys`: one bare key configuration with key id 0.
#[must_use]
pub fn key_config(key: &SecretKey) -> Vec<u8> {
    KeyConfig { key_id: 0, key: key.public_key(), aeads: vec![AEAD] }.encode()
}

/// A request that decrypted.
pub struct Opened {
    /// The body.
    pub content: Wiped,
    /// The encapsulated key, for the replay set.
    pub enc: Vec<u8>,
    /// Encrypts the answer, also where the content is refused.
    pub reply: Reply,
}

/// Encrypts the answer to one request.
pub struct Reply {
    receiver: Receiver,
    enc: Vec<u8>,
}

/// Opens a body that has come completely, with the value of [`ENCAPSULATED_KEY_HEADER`]. `keys` are tried in order;
/// `limit` is the most that chunk and body may hold, in bytes of plaintext.
///
/// # Errors
/// [`Refusal`]; [`Refusal::Malformed`] for an empty body, which would prove nothing about the encapsulated key.
pub fn open_request(keys: &[&SecretKey], enc: &str, body: &[u8], limit: usize) -> Result<Opened, Refusal> {
    let enc = crate::digest::lower_hex_32(enc).ok_or(Refusal::Malformed)?;
    let chunks = frames(body, limit)?;
    let first = chunks.first().ok_or(Refusal::Malformed)?;
    let mut content = Wiped::new(Vec::with_capacity(body.len()));
    let mut receiver = keys
        .iter()
        .find_map(|key| {
            let mut receiver = receive(AEAD, key, &enc, INFO).ok()?;
            receiver.open_into(b"", first, &mut content).ok()?;
            Some(receiver)
        })
        .ok_or(Refusal::Undecryptable)?;
    for chunk in chunks.iter().skip(1) {
        receiver.open_into(b"", chunk, &mut content)?;
    }
    let enc = enc.to_vec();
    Ok(Opened { content, reply: Reply { receiver, enc: enc.clone() }, enc })
}

/// The sealed chunks of a body, without empty ones.
fn frames(body: &[u8], limit: usize) -> Result<Vec<&[u8]>, Refusal> {
    let (mut rest, mut chunks, mut left) = (body, Vec::new(), limit);
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>().ok_or(Refusal::Malformed)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Refusal::TooLong)?;
        if length > 0 {
            left = left.checked_sub(length.saturating_sub(Aead::TAG_LEN)).ok_or(Refusal::TooLong)?;
            // a chunk of a tag alone carries nothing: a client could send any number of them
            if length <= Aead::TAG_LEN && chunks.len() >= limit {
                return Err(Refusal::TooLong);
            }
            chunks.push(after.get(..length).ok_or(Refusal::Malformed)?);
        }
        rest = after.get(length..).unwrap_or_default();
    }
    Ok(chunks)
}

impl Reply {
    /// Begins the answer: the value of [`RESPONSE_NONCE_HEADER`], and what encrypts the body.
    ///
    /// # Errors
    /// [`Unsealable`] never for this suite.
    pub fn start(self, rng: &mut impl CryptoRng) -> Result<(String, ChunkSealer), Unsealable> {
        let (mut secret, mut nonce) = (Wiped::new(vec![0; NONCE_LEN]), [0; NONCE_LEN]);
        self.receiver.export(EXPORT, &mut secret).map_err(|_| Unsealable)?;
        rng.fill_bytes(&mut nonce);
        let key = AnswerKey::derive(AEAD, &secret, &self.enc, &nonce)?;
        Ok((hex::encode(nonce), ChunkSealer { key }))
    }
}

/// Encrypts the body of an answer as it is made. It ends where the HTTP body ends.
pub struct ChunkSealer {
    key: AnswerKey,
}

impl ChunkSealer {
    /// Appends `content` as chunks to `out`; nothing for no content.
    ///
    /// # Errors
    /// [`Unsealable`] after 2^64 chunks.
    pub fn seal(&mut self, content: &[u8], out: &mut Vec<u8>) -> Result<(), Unsealable> {
        content.chunks(CHUNK).try_for_each(|piece| {
            put_length(piece.len(), out);
            self.key.seal_into(b"", piece, out)
        })
    }
}

fn put_length(plaintext: usize, out: &mut Vec<u8>) {
    // pieces are at most CHUNK bytes
    out.extend(u32::try_from(plaintext + Aead::TAG_LEN).unwrap_or(u32::MAX).to_be_bytes());
}

/// Waits for the answer to one request.
pub struct PendingAnswer {
    sender: Sender,
    enc: Vec<u8>,
}

/// Encrypts a body: the value of [`ENCAPSULATED_KEY_HEADER`], the body, and what reads the answer.
///
/// # Errors
/// [`Unsealable`] for an empty body, which the protocol cannot protect, and for a key of low order.
pub fn seal_request(
    key: &PublicKey,
    content: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<(String, Vec<u8>, PendingAnswer), Unsealable> {
    if content.is_empty() {
        return Err(Unsealable);
    }
    let (enc, mut sender) = send(AEAD, key, INFO, rng)?;
    let mut body = Vec::with_capacity(content.len() + (content.len() / CHUNK + 1) * (4 + Aead::TAG_LEN));
    for piece in content.chunks(CHUNK) {
        put_length(piece.len(), &mut body);
        sender.seal_into(b"", piece, &mut body)?;
    }
    Ok((hex::encode(&enc), body, PendingAnswer { sender, enc }))
}

impl PendingAnswer {
    /// Begins the answer with the value of [`RESPONSE_NONCE_HEADER`]. `limit` is the most plaintext bytes of a chunk.
    ///
    /// An answer without that header is not the server's, whatever its status.
    ///
    /// # Errors
    /// [`Undecryptable`] for a value that is not 64 lower-case hexadecimal digits.
    pub fn start(self, nonce: &str, limit: usize) -> Result<ChunkOpener, Undecryptable> {
        let nonce = crate::digest::lower_hex_32(nonce).ok_or(Undecryptable)?;
        let mut secret = Wiped::new(vec![0; NONCE_LEN]);
        self.sender.export(EXPORT, &mut secret).map_err(|_| Undecryptable)?;
        let key = AnswerKey::derive(AEAD, &secret, &self.enc, &nonce).map_err(|_| Undecryptable)?;
        Ok(ChunkOpener { key, rest: Vec::new(), limit })
    }
}

/// Decrypts the body of an answer as it comes.
pub struct ChunkOpener {
    key: AnswerKey,
    rest: Vec<u8>,
    limit: usize,
}

impl ChunkOpener {
    /// Reads the next bytes and appends what they decrypt to.
    ///
    /// # Errors
    /// [`Refusal::TooLong`] for a chunk over the limit, [`Refusal::Undecryptable`]; the answer is of no further use then.
    pub fn feed(&mut self, bytes: &[u8], content: &mut Vec<u8>) -> Result<(), Refusal> {
        self.rest.extend_from_slice(bytes);
        let mut read = 0;
        while let Some((length, after)) = self.rest.get(read..).and_then(|rest| rest.split_first_chunk::<4>()) {
            let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Refusal::TooLong)?;
            if length > self.limit.saturating_add(Aead::TAG_LEN) {
                return Err(Refusal::TooLong);
            }
            let Some(chunk) = after.get(..length) else { break };
            if length > 0 {
                self.key.open_into(b"", chunk, content)?;
            }
            read += 4 + length;
        }
        self.rest.drain(..read);
        Ok(())
    }

    /// Ends the answer. That the server ended it here is **not** proven: the protocol has no final chunk.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] in the middle of a chunk.
    pub fn finish(self) -> Result<(), Refusal> {
        if self.rest.is_empty() { Ok(()) } else { Err(Refusal::Malformed) }
    }
}
