//! Text to tokens and back.
// UNSAFETY: llama-cpp-2's vocabulary panics on inputs it finds too large and leaves token buffers unwiped.
#![expect(unsafe_code)]

use std::ffi::{CStr, c_char};

use llama_cpp_sys_2 as sys;
use zeroize::Zeroizing;

use crate::cuts::Cuts;

/// Longest text that is tokenized, in bytes (far above any body limit; keeps every length inside 32 bits).
const MAX_TEXT_BYTES: usize = 256 * 1024 * 1024;

/// The vocabulary of a model.
#[derive(Clone, Copy)]
pub struct Vocabulary<'model> {
    raw: *const sys::llama_vocab,
    cuts: &'model VocabularyCuts,
}

/// Texts that the tokenizer looks for before it splits the rest into words.
pub(crate) struct VocabularyCuts {
    /// Control, unknown and user-defined tokens: what it looks for with `parse_special`.
    all: Cuts,
    /// User-defined tokens: what it looks for without.
    user_defined: Cuts,
}

impl VocabularyCuts {
    /// # Safety
    /// `raw` is the vocabulary of a living model.
    pub(crate) unsafe fn of(raw: *const sys::llama_vocab) -> Self {
        // SAFETY: a living vocabulary (caller); reads its length.
        let count = unsafe { sys::llama_vocab_n_tokens(raw) };
        // SAFETY: a living vocabulary (caller), and the ids are below its size.
        let has = move |id: &i32, wanted| unsafe { sys::llama_vocab_get_attr(raw, *id) & wanted != 0 };
        let swallow_white = (0..count).any(|id| has(&id, sys::LLAMA_TOKEN_ATTR_RSTRIP));
        let cuts = |wanted: sys::llama_token_attr| {
            let tokens = (0..count).filter(move |id| has(id, wanted));
            // SAFETY: as above; the answer is a NUL-terminated string that the model owns.
            let text = |id| unsafe { CStr::from_ptr(sys::llama_vocab_get_text(raw, id)) }.to_bytes().to_vec();
            Cuts::new(tokens.map(text), swallow_white)
        };
        let user_defined = sys::LLAMA_TOKEN_ATTR_USER_DEFINED;
        let all = user_defined | sys::LLAMA_TOKEN_ATTR_CONTROL | sys::LLAMA_TOKEN_ATTR_UNKNOWN;
        Self { all: cuts(all), user_defined: cuts(user_defined) }
    }
}

/// Why a text could not be tokenized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenizeError {
    /// The text is longer than any context could hold.
    #[error("text of {bytes} bytes is too long")]
    TooLong {
        /// Length of the text.
        bytes: usize,
    },
    /// llama.cpp answered with a count that cannot be.
    #[error("tokenizer failed")]
    Failed,
}

impl Vocabulary<'_> {
    /// # Safety
    /// `raw` is the vocabulary of a model that outlives the returned value.
    pub(crate) unsafe fn of(raw: *const sys::llama_vocab, cuts: &VocabularyCuts) -> Vocabulary<'_> {
        Vocabulary { raw, cuts }
    }

    /// Number of tokens.
    #[must_use]
    pub fn size(&self) -> u32 {
        // SAFETY: the vocabulary outlives self; this reads its length.
        let count = unsafe { sys::llama_vocab_n_tokens(self.raw) };
        u32::try_from(count).unwrap_or(0)
    }

    /// Beginning-of-sequence token.
    #[must_use]
    pub fn bos(&self) -> Option<u32> {
        // SAFETY: the vocabulary outlives self; this reads one field.
        self.known(unsafe { sys::llama_vocab_bos(self.raw) })
    }

    /// End-of-sequence token.
    #[must_use]
    pub fn eos(&self) -> Option<u32> {
        // SAFETY: the vocabulary outlives self; this reads one field.
        self.known(unsafe { sys::llama_vocab_eos(self.raw) })
    }

    /// Whether a raw text starts with the beginning-of-sequence token (`tokenizer.ggml.add_bos_token`).
    #[must_use]
    pub fn adds_bos(&self) -> bool {
        // SAFETY: the vocabulary outlives self; this reads one field.
        unsafe { sys::llama_vocab_get_add_bos(self.raw) }
    }

    /// Whether the token ends an answer (end of sequence, of turn, …).
    #[must_use]
    pub fn ends_generation(&self, token: u32) -> bool {
        // SAFETY: the id is below the vocabulary's size; the call only looks it up.
        self.id(token).is_some_and(|id| unsafe { sys::llama_vocab_is_eog(self.raw, id) })
    }

    /// Text of a token as the vocabulary file has it (`<|im_end|>`); empty when there is none.
    #[must_use]
    pub fn text(&self, token: u32) -> String {
        let Some(id) = self.id(token) else { return String::new() };
        // SAFETY: the id is below the vocabulary's size; the answer is null or a NUL-terminated string owned by the model.
        let text = unsafe {
            let text = sys::llama_vocab_get_text(self.raw, id);
            if text.is_null() { c"" } else { CStr::from_ptr(text) }
        };
        text.to_string_lossy().into_owned()
    }

    /// Appends the bytes a token stands for in an answer to `out`; they may be part of a character. Control tokens stand for
    /// nothing unless `special`. A token outside the vocabulary stands for nothing.
    pub fn bytes_into(&self, token: u32, special: bool, out: &mut Vec<u8>) {
        let Some(id) = self.id(token) else { return };
        let mut room = 64usize;
        for _ in 0..2 {
            let start = out.len();
            out.resize(start + room, 0);
            let Some(free) = out.get_mut(start..) else { return };
            let length = i32::try_from(free.len()).unwrap_or(i32::MAX);
            // SAFETY: `free` is `length` writable bytes; the id is below the vocabulary's size.
            let written = unsafe {
                sys::llama_token_to_piece(self.raw, id, free.as_mut_ptr().cast::<c_char>(), length, 0, special)
            };
            // a negative answer is the room that it needs
            out.truncate(start + usize::try_from(written).unwrap_or(0));
            if written >= 0 {
                return;
            }
            room = usize::try_from(written.unsigned_abs()).unwrap_or(0);
        }
    }

    /// Tokens of a text, in a buffer that is wiped on drop. No beginning- or end-of-sequence token is added. With
    /// `parse_special`, the texts of control tokens become those tokens; without, they are text like any other.
    ///
    /// # Errors
    /// [`TokenizeError`]
    pub fn tokenize(&self, text: &str, parse_special: bool) -> Result<Zeroizing<Vec<u32>>, TokenizeError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(TokenizeError::TooLong { bytes: text.len() });
        }
        let cuts = if parse_special { &self.cuts.all } else { &self.cuts.user_defined };
        let mut tokens = Zeroizing::new(Vec::with_capacity(text.len() / 2 + 8));
        for piece in cuts.pieces(text) {
            self.tokenize_piece(piece, parse_special, &mut tokens)?;
        }
        Ok(tokens)
    }

    fn tokenize_piece(&self, text: &str, parse_special: bool, out: &mut Vec<u32>) -> Result<(), TokenizeError> {
        let too_long = TokenizeError::TooLong { bytes: text.len() };
        let length = i32::try_from(text.len()).map_err(|_| too_long)?;
        // one token a byte is the usual upper bound; a vocabulary that needs more tells how many in its first answer
        let mut capacity = text.len() + 8;
        for _ in 0..2 {
            let mut tokens = Zeroizing::new(vec![0i32; capacity]);
            let room = i32::try_from(capacity).map_err(|_| too_long)?;
            // SAFETY: the text is `length` readable bytes and `tokens` is `room` writable ids; llama.cpp keeps neither pointer.
            let count = unsafe {
                sys::llama_tokenize(
                    self.raw,
                    text.as_ptr().cast::<c_char>(),
                    length,
                    tokens.as_mut_ptr(),
                    room,
                    false,
                    parse_special,
                )
            };
            if let Ok(count) = usize::try_from(count) {
                for &id in tokens.iter().take(count) {
                    out.push(u32::try_from(id).map_err(|_| TokenizeError::Failed)?);
                }
                return Ok(());
            }
            capacity = count.checked_neg().and_then(|n| usize::try_from(n).ok()).ok_or(TokenizeError::Failed)?;
        }
        Err(TokenizeError::Failed)
    }

    fn known(&self, id: i32) -> Option<u32> {
        u32::try_from(id).ok().filter(|&id| id < self.size())
    }

    fn id(&self, token: u32) -> Option<i32> {
        if token < self.size() { i32::try_from(token).ok() } else { None }
    }
}
