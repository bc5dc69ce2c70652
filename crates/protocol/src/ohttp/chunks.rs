//! Frames of the chunked form: a length and a sealed chunk, repeated; length 0 and the final chunk up to the end.

use crate::hpke::{Aead, AnswerKey, Undecryptable, Unsealable};
use crate::varint;

/// Most plaintext bytes of a chunk. Every receiver takes as many; we take no more.
pub const MAX_CHUNK: usize = 16_384;

/// Additional data of the final chunk.
pub(super) const FINAL: &[u8] = b"final";

const MAX_SEALED: usize = MAX_CHUNK + Aead::TAG_LEN;

/// Cuts bytes into sealed chunks. Holds one incomplete chunk at most.
pub(super) struct Frames {
    rest: Vec<u8>,
    last: bool,
}

/// What is wrong with frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameError {
    /// A chunk has more than [`MAX_CHUNK`] bytes.
    TooLong,
    /// The bytes end before the final chunk does.
    Truncated,
    /// A chunk does not decrypt, or is empty and not the final one.
    Undecryptable,
}

impl From<Undecryptable> for FrameError {
    fn from(_: Undecryptable) -> Self {
        Self::Undecryptable
    }
}

impl Frames {
    pub(super) const fn new() -> Self {
        Self { rest: Vec::new(), last: false }
    }

    /// Calls `open` with each chunk before the final one, in order.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        mut open: impl FnMut(&[u8]) -> Result<(), Undecryptable>,
    ) -> Result<(), FrameError> {
        self.rest.extend_from_slice(bytes);
        let mut read = 0;
        while !self.last {
            let rest = self.rest.get(read..).unwrap_or_default();
            let Some((length, used)) = varint::read(rest) else { break };
            let length = usize::try_from(length).ok().filter(|length| *length <= MAX_SEALED);
            let length = length.ok_or(FrameError::TooLong)?;
            if length == 0 {
                self.last = true;
                read += used;
                break;
            }
            let Some(chunk) = rest.get(used..used + length) else { break };
            // an empty chunk could come for ever
            if length <= Aead::TAG_LEN {
                return Err(FrameError::Undecryptable);
            }
            open(chunk)?;
            read += used + length;
        }
        self.rest.drain(..read);
        if self.last && self.rest.len() > MAX_SEALED { Err(FrameError::TooLong) } else { Ok(()) }
    }

    /// The final chunk, sealed.
    pub(super) fn finish(self) -> Result<Vec<u8>, FrameError> {
        if self.last { Ok(self.rest) } else { Err(FrameError::Truncated) }
    }
}

/// Calls `seal` with the pieces of `content`: all but the last are chunks, the last one is `(piece, true)`.
pub(super) fn pieces<E>(content: &[u8], mut seal: impl FnMut(&[u8], bool) -> Result<(), E>) -> Result<(), E> {
    let mut rest = content;
    while let Some((piece, after)) = rest.split_at_checked(MAX_CHUNK).filter(|(_, after)| !after.is_empty()) {
        seal(piece, false)?;
        rest = after;
    }
    seal(rest, true)
}

/// Writes the length of a sealed chunk of `plaintext` bytes, or of the final chunk.
pub(super) fn put_length(plaintext: usize, last: bool, out: &mut Vec<u8>) {
    varint::put_len(if last { 0 } else { plaintext + Aead::TAG_LEN }, out);
}

/// Encrypts a chunked response as it is made.
pub struct ChunkSealer {
    key: AnswerKey,
}

impl ChunkSealer {
    pub(super) const fn new(key: AnswerKey) -> Self {
        Self { key }
    }

    /// Appends `content` as chunks to `out`; nothing for no content.
    ///
    /// # Errors
    /// [`Unsealable`] after 2^64 chunks.
    pub fn seal(&mut self, content: &[u8], out: &mut Vec<u8>) -> Result<(), Unsealable> {
        content.chunks(MAX_CHUNK).try_for_each(|piece| self.chunk(piece, false, out))
    }

    /// Appends `content`, which may be empty, and ends the response: without this no client believes it.
    ///
    /// # Errors
    /// As [`ChunkSealer::seal`].
    pub fn finish(mut self, content: &[u8], out: &mut Vec<u8>) -> Result<(), Unsealable> {
        pieces(content, |piece, last| self.chunk(piece, last, out))
    }

    fn chunk(&mut self, piece: &[u8], last: bool, out: &mut Vec<u8>) -> Result<(), Unsealable> {
        put_length(piece.len(), last, out);
        self.key.seal_into(if last { FINAL } else { b"" }, piece, out)
    }
}
