//! The tokenizer's tables: what llama.cpp would abort on while loading them, or throw on while tokenizing a prompt.
//!
//! Source: `llama_vocab::impl::load`, `byte_to_token` and `token_to_byte` in `llama-vocab.cpp`.

use crate::{
    MAX_TOKEN_BYTES, MAX_TOKENS, Refused,
    metadata::{Metadata, required},
    value::{Array, Kind},
};

const TOKENS: &str = "tokenizer.ggml.tokens";
const SCORES: &str = "tokenizer.ggml.scores";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const MODEL: &str = "tokenizer.ggml.model";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const EOS: &str = "tokenizer.ggml.eos_token_id";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";

/// `LLAMA_TOKEN_TYPE_BYTE`
const TYPE_BYTE: i128 = 6;

/// The tokenizers of the listed architectures, with the ids llama.cpp assumes when the file names none.
struct Model {
    name: &'static str,
    default_bos: u32,
    default_eos: u32,
    /// Byte-pair encoding with merges; otherwise a SentencePiece vocabulary with scores and byte tokens.
    merges: bool,
}

const MODELS: &[Model] = &[
    Model { name: "gpt2", default_bos: 11, default_eos: 11, merges: true },
    Model { name: "llama", default_bos: 1, default_eos: 2, merges: false },
];

/// What the rest of the reader needs of it.
#[derive(Debug)]
pub(crate) struct Vocabulary<'a> {
    pub(crate) size: u32,
    pub(crate) bos: Option<Special<'a>>,
    pub(crate) eos: Option<Special<'a>>,
    pub(crate) add_bos: Option<bool>,
}

/// A token with a role of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Special<'a> {
    pub(crate) id: u32,
    pub(crate) text: &'a str,
}

fn refuse(metadata: &Metadata<'_>, key: &str, problem: &'static str) -> Refused {
    Refused::Tokenizer { problem, offset: metadata.offset(key) }
}

/// Checks all tables.
pub(crate) fn check<'a>(metadata: &Metadata<'a>) -> Result<Vocabulary<'a>, Refused> {
    let name = required(metadata.text(MODEL)?, MODEL)?;
    metadata.text("tokenizer.ggml.pre")?;
    let Some(model) = MODELS.iter().find(|model| model.name == name) else {
        return Err(refuse(metadata, MODEL, "the kind of tokenizer is not gpt2 or llama"));
    };
    let array = required(metadata.array(TOKENS)?, TOKENS)?;
    let tokens = read_tokens(metadata, array)?;
    check_unique(metadata, &tokens)?;
    check_types(metadata, &tokens)?;
    check_scores(metadata, tokens.len() as u64)?;
    if model.merges {
        check_merges(metadata)?;
    } else {
        check_bytes(metadata, &tokens)?;
    }
    let bos = special(metadata, BOS, model.default_bos, &tokens)?;
    let eos = special(metadata, EOS, model.default_eos, &tokens)?;
    let add_bos = metadata.bool(ADD_BOS)?;
    // Without the key the kind of pre-tokenizer decides; assume it adds one, since a missing token is an assertion.
    if bos.is_none() && add_bos != Some(false) {
        return Err(refuse(metadata, TOKENS, "there is no token to begin a text with"));
    }
    if eos.is_none() {
        return Err(refuse(metadata, TOKENS, "there is no token to end a text with"));
    }
    metadata.bool(ADD_EOS)?;
    Ok(Vocabulary { size: u32::try_from(tokens.len()).unwrap_or(u32::MAX), bos, eos, add_bos })
}

fn read_tokens<'a>(metadata: &Metadata<'a>, array: &Array<'a>) -> Result<Vec<&'a str>, Refused> {
    let offset = metadata.offset(TOKENS);
    if array.kind != Kind::Text {
        return Err(metadata.refuse(TOKENS, "is not an array of texts"));
    }
    if array.count == 0 {
        return Err(metadata.refuse(TOKENS, "is empty"));
    }
    if array.count > MAX_TOKENS {
        return Err(Refused::Count { what: "tokens", count: array.count, limit: MAX_TOKENS, offset });
    }
    let tokens: Vec<&str> = array.texts().collect();
    if let Some(long) = tokens.iter().find(|token| token.len() as u64 > MAX_TOKEN_BYTES) {
        let (length, limit) = (long.len() as u64, MAX_TOKEN_BYTES);
        return Err(Refused::Length { what: "a token", length, limit, offset });
    }
    Ok(tokens)
}

/// llama.cpp asserts that no two tokens have the same text. An empty one it calls `[EMPTY_<id>]`.
fn check_unique(metadata: &Metadata<'_>, tokens: &[&str]) -> Result<(), Refused> {
    let mut sorted: Vec<&str> = tokens.iter().copied().filter(|token| !token.is_empty()).collect();
    let any_empty = sorted.len() < tokens.len();
    sorted.sort_unstable();
    let twice = sorted.iter().zip(sorted.iter().skip(1)).any(|(one, next)| one == next);
    let clash = any_empty && sorted.iter().any(|token| token.starts_with("[EMPTY_"));
    if twice || clash {
        return Err(refuse(metadata, TOKENS, "two tokens have the same text"));
    }
    Ok(())
}

/// Types are optional; a byte token must spell its byte, because detokenizing takes it from the text unchecked.
fn check_types(metadata: &Metadata<'_>, tokens: &[&str]) -> Result<(), Refused> {
    let Some(types) = metadata.array(TYPES)? else { return Ok(()) };
    if types.kind != Kind::I32 || types.count != tokens.len() as u64 {
        return Err(refuse(metadata, TYPES, "is not one i32 for each token"));
    }
    for (kind, token) in types.integers().zip(tokens) {
        if !(0..=TYPE_BYTE).contains(&kind) {
            return Err(refuse(metadata, TYPES, "a token has an unknown type"));
        }
        if kind == TYPE_BYTE && !spells_byte(token) {
            return Err(refuse(metadata, TYPES, "a byte token is not written <0xNN>"));
        }
    }
    Ok(())
}

fn spells_byte(token: &str) -> bool {
    let digits = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|digits| digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

fn check_scores(metadata: &Metadata<'_>, tokens: u64) -> Result<(), Refused> {
    let Some(scores) = metadata.array(SCORES)? else { return Ok(()) };
    if !matches!(scores.kind, Kind::F32 | Kind::I32) || scores.count != tokens {
        return Err(refuse(metadata, SCORES, "is not one f32 or i32 for each token"));
    }
    if scores.floats().any(f64::is_nan) {
        return Err(refuse(metadata, SCORES, "a score is not a number"));
    }
    Ok(())
}

fn check_merges(metadata: &Metadata<'_>) -> Result<(), Refused> {
    let merges = required(metadata.array(MERGES)?, MERGES)?;
    if merges.kind != Kind::Text {
        return Err(metadata.refuse(MERGES, "is not an array of texts"));
    }
    // The first character may itself be a space, which is why the search begins behind it.
    let pair = |merge: &str| merge.as_bytes().iter().skip(1).any(|byte| *byte == b' ');
    if !merges.texts().all(pair) {
        return Err(refuse(metadata, MERGES, "a merge is not two texts with a space between"));
    }
    Ok(())
}

/// A SentencePiece vocabulary falls back to bytes; a byte without a token is an uncaught exception per prompt.
fn check_bytes(metadata: &Metadata<'_>, tokens: &[&str]) -> Result<(), Refused> {
    let mut seen = [false; 256];
    for token in tokens.iter().filter(|token| spells_byte(token)) {
        // llama.cpp looks for capital digits only.
        let digits = token.get(3..5).unwrap_or_default();
        if digits.bytes().any(|digit| digit.is_ascii_lowercase()) {
            continue;
        }
        let byte = u8::from_str_radix(digits, 16).unwrap_or_default();
        if let Some(seen) = seen.get_mut(usize::from(byte)) {
            *seen = true;
        }
    }
    if seen.contains(&false) {
        return Err(refuse(metadata, TOKENS, "there is not a token <0x00> to <0xFF> for every byte"));
    }
    Ok(())
}

/// The token the file names, or else llama.cpp's assumption where the vocabulary reaches that far.
fn special<'a>(
    metadata: &Metadata<'a>,
    key: &str,
    default: u32,
    tokens: &[&'a str],
) -> Result<Option<Special<'a>>, Refused> {
    let named = metadata.u32(key)?;
    let id = named.unwrap_or(default);
    match tokens.get(id as usize) {
        Some(text) => Ok(Some(Special { id, text })),
        None if named.is_some() => Err(metadata.refuse(key, "is beyond the vocabulary")),
        None => Ok(None),
    }
}
