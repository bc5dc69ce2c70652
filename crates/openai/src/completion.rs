//! `POST /v1/completions`.

use std::fmt;

use zeroize::Zeroizing;

use crate::error::Refusal;
use crate::fields::{Field, Fields};
use crate::json;
use crate::limits::{Limits, MAX_MODEL_BYTES};
use crate::parameters::{Parameters, require_false, require_one};

/// A completion request whose every field has been checked.
#[derive(PartialEq)]
pub struct CompletionRequest {
    /// The model as the client names it.
    pub model: Zeroizing<String>,
    /// The text to go on with.
    pub prompt: Zeroizing<String>,
    /// How it is to be answered.
    pub parameters: Parameters,
}

impl fmt::Debug for CompletionRequest {
    /// Shows sizes only: a request holds a client's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompletionRequest")
            .field("prompt_bytes", &self.prompt.len())
            .field("parameters", &self.parameters)
            .finish()
    }
}

impl CompletionRequest {
    /// Reads a request body. The caller has bounded its size.
    ///
    /// # Errors
    /// [`Refusal`], which names the field at fault.
    pub fn parse(body: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        let mut fields = Fields::body(json::read(body)?)?;
        let model = fields.require("model")?.short_string(MAX_MODEL_BYTES)?;
        let prompt = read_prompt(fields.require("prompt")?)?;
        fields.refuse_unsupported(&["suffix"])?;
        fields.take("echo").map_or(Ok(()), require_false)?;
        fields.take("best_of").map_or(Ok(()), require_one)?;
        let logprobs = fields.take("logprobs").map(|field| field.integer(0..=limits.max_top_logprobs)).transpose()?;
        let parameters = Parameters::read(&mut fields, limits, logprobs)?;
        fields.finish()?;
        Ok(Self { model, prompt, parameters })
    }
}

/// A string, or an array of exactly one.
fn read_prompt(field: Field) -> Result<Zeroizing<String>, Refusal> {
    const ONLY: &str = "one string";
    if field.is_string() {
        return field.string();
    }
    if !field.is_array() {
        return Err(field.wrong_type("a string"));
    }
    let unsupported = field.unsupported_value(ONLY);
    let mut items = field.array()?;
    match (items.pop(), items.is_empty()) {
        (Some(item), true) if item.is_string() => item.string(),
        _ => Err(unsupported),
    }
}
