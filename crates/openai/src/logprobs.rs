//! Log probabilities in the two shapes of OpenAI's API.

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

/// What stands for minus infinity, which JSON does not have. OpenAI uses the same number.
const LOWEST: f32 = -9999.0;

/// A token as the engine reports it.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    /// Bytes of its text; may be part of a UTF-8 character.
    pub bytes: &'a [u8],
    /// Natural logarithm of its probability.
    pub logprob: f32,
}

impl Candidate<'_> {
    fn logprob(&self) -> f32 {
        if self.logprob.is_finite() { self.logprob.max(LOWEST) } else { LOWEST }
    }
}

/// One answered token and its rivals.
#[derive(Clone)]
pub struct TokenLogprob<'a> {
    /// The token.
    pub chosen: Candidate<'a>,
    /// The most likely tokens, best first.
    pub top: Vec<Candidate<'a>>,
}

/// `choices[].logprobs` of a chat answer: `{"content": [{token, logprob, bytes, top_logprobs}], "refusal": null}`.
///
/// `token` shows U+FFFD for bytes that are not UTF-8 by themselves; `bytes` has them as they are.
pub struct ChatLogprobs<'a>(pub Vec<TokenLogprob<'a>>);

impl Serialize for ChatLogprobs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(2))?;
        object.serialize_entry("content", &Contents(&self.0))?;
        object.serialize_entry("refusal", &None::<()>)?;
        object.end()
    }
}

struct Contents<'a>(&'a [TokenLogprob<'a>]);

impl Serialize for Contents<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut array = serializer.serialize_seq(Some(self.0.len()))?;
        for token in self.0 {
            array.serialize_element(&Entry { candidate: token.chosen, top: Some(&token.top) })?;
        }
        array.end()
    }
}

struct Entry<'a> {
    candidate: Candidate<'a>,
    top: Option<&'a [Candidate<'a>]>,
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("token", &String::from_utf8_lossy(self.candidate.bytes))?;
        object.serialize_entry("logprob", &self.candidate.logprob())?;
        object.serialize_entry("bytes", self.candidate.bytes)?;
        if let Some(top) = self.top {
            let top: Vec<Entry<'_>> = top.iter().map(|candidate| Entry { candidate: *candidate, top: None }).collect();
            object.serialize_entry("top_logprobs", &top)?;
        }
        object.end()
    }
}

/// `choices[].logprobs` of a completion: parallel arrays.
///
/// Tokens that are not UTF-8 by themselves are written `bytes:\xe2\x80`, as OpenAI's API did, so that two of them
/// never become the same key. `text_offset` counts characters of the answer, from its first.
pub struct CompletionLogprobs<'a> {
    /// The tokens of this answer or chunk.
    pub tokens: Vec<TokenLogprob<'a>>,
    /// Characters of the answer before the first of them.
    pub offset: usize,
}

impl CompletionLogprobs<'_> {
    /// Characters that begin in the tokens' bytes: what `offset` grows by.
    #[must_use]
    pub fn characters(&self) -> usize {
        self.tokens.iter().map(|token| characters(token.chosen.bytes)).sum()
    }
}

/// Number of UTF-8 characters that begin in `bytes`.
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| *byte & 0b1100_0000 != 0b1000_0000).count()
}

fn name(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().fold("bytes:".to_owned(), |name, byte| name + &format!("\\x{byte:02x}")),
    }
}

impl Serialize for CompletionLogprobs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let chosen = || self.tokens.iter().map(|token| token.chosen);
        let mut object = serializer.serialize_map(Some(4))?;
        object.serialize_entry("tokens", &chosen().map(|token| name(token.bytes)).collect::<Vec<_>>())?;
        object.serialize_entry("token_logprobs", &chosen().map(|token| token.logprob()).collect::<Vec<_>>())?;
        object.serialize_entry("top_logprobs", &self.tokens.iter().map(|token| Top(&token.top)).collect::<Vec<_>>())?;
        let mut next = self.offset;
        let offsets = chosen().map(|token| {
            let offset = next;
            next += characters(token.bytes);
            offset
        });
        object.serialize_entry("text_offset", &offsets.collect::<Vec<_>>())?;
        object.end()
    }
}

struct Top<'a>(&'a [Candidate<'a>]);

impl Serialize for Top<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        let mut seen: Vec<String> = Vec::with_capacity(self.0.len());
        for candidate in self.0 {
            let name = name(candidate.bytes);
            // control tokens can share a text (the empty one); the first is the likeliest
            if !seen.contains(&name) {
                object.serialize_entry(&name, &candidate.logprob())?;
                seen.push(name);
            }
        }
        object.end()
    }
}
