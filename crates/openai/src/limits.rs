//! Bounds of a request: those the operator sets, and those that are fixed.

/// Guard rails of the deployment document that bear on a request's fields.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Most tokens one answer may have, and the default where the request names none.
    pub max_tokens: u32,
    /// Highest `temperature` accepted.
    pub max_temperature: f32,
    /// Most `stop` strings.
    pub max_stop: u32,
    /// Most alternatives reported for a token.
    pub max_top_logprobs: u32,
}

/// Deepest nesting of arrays and objects that is read. A chat request needs five levels; JSON schemas of `tools` go
/// deeper, and they are to be refused by their name and not by their depth.
pub const MAX_DEPTH: usize = 48;

/// Most JSON values in one body, so that a body of brackets does not grow into a hundred times its size in memory.
pub const MAX_VALUES: usize = 65_536;

/// Most entries of `logit_bias`.
pub const MAX_LOGIT_BIAS: usize = 1024;

/// Longest `stop` string, in bytes.
pub const MAX_STOP_BYTES: usize = 512;

/// Longest `model`, in bytes.
pub const MAX_MODEL_BYTES: usize = 256;

/// Most entries of `metadata`, as OpenAI documents it.
pub const MAX_METADATA: usize = 16;

/// Longest text of a field without effect and of a message's `name`, in bytes.
pub const MAX_TEXT_FIELD_BYTES: usize = 512;
