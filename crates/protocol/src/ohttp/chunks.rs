//! Frames of the chunked form: a length and a sealed chunk, repeated; length 0 and the final chunk up to the end.

use crate::hpke::{Aead, AnswerKey, Undecryptable, Unsealable};
use crate::varint;

/// Most plaintext bytes of a chunk. Every receiver takes as many; we take no more.
pub const MAX_CHUNK: usize = 16_384;

/// Additional data of the final chunk.
pub(super) const FINAL: &[u8] = b"final";

const MAX_SEALED: usize = MAX_CHUNK + Aead::TAG_LEN;

/// Cuts bytes into sealed chunks as they come. Holds one incomplete chunk at most.
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
            match next(self.rest.get(read..).unwrap_or_default())? {
                Next::Chunk(chunk, used) => {
                    open(chunk)?;
                    read += used;
                }
                Next::Final(used) => {
                    self.last = true;
                    read += used;
                }
                Next::Missing => break,
            }
        }
        self.rest.drain(..read);
        if self.last && self.rest.len() > MAX_SEALED { Err(FrameError::TooLong) } else { Ok(()) }
    }

    /// The final chunk, sealed.
    pub(super) fn finish(self) -> Result<Vec<u8>, FrameError> {
        if self.last { Ok(self.rest) } else { Err(FrameError::Truncated) }
    }
}

/// As [`Frames`], for bytes that have come completely: gives the final chunk, sealed.
pub(super) fn split(
    bytes: &[u8],
    mut open: impl FnMut(&[u8]) -> Result<(), Undecryptable>,
) -> Result<&[u8], FrameError> {
    let mut rest = bytes;
    loop {
        match next(rest)? {
            Next::Chunk(chunk, used) => {
                open(chunk)?;
                rest = rest.get(used..).unwrap_or_default();
            }
            Next::Final(used) => {
                let last = rest.get(used..).unwrap_or_default();
                return if last.len() > MAX_SEALED { Err(FrameError::TooLong) } else { Ok(last) };
            }
            Next::Missing => return Err(FrameError::Truncated),
        }
    }
}

/// What bytes start with, and how many of them it takes.
enum Next<'b> {
    Chunk(&'b [u8], usize),
    Final(usize),
    Missing,
}

fn next(bytes: &[u8]) -> Result<Next<'_>, FrameError> {
    let Some((length, used)) = varint::read(bytes) else { return Ok(Next::Missing) };
    let length = usize::try_from(length).ok().filter(|length| *length <= MAX_SEALED).ok_or(FrameError::TooLong)?;
    match bytes.get(used..used + length) {
        _ if length == 0 => Ok(Next::Final(used)),
        // an empty chunk could come for ever
        _ if length <= Aead::TAG_LEN => Err(FrameError::Undecryptable),
        Some(chunk) => Ok(Next::Chunk(chunk, used + length)),
        None => Ok(Next::Missing),
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
