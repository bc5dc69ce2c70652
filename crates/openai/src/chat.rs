//! `POST /v1/chat/completions`.

use std::fmt;

use serde_json::Value;
use zeroize::Zeroizing;

use crate::error::Refusal;
use crate::fields::{Field, Fields};
use crate::json;
use crate::limits::{Limits, MAX_MODEL_BYTES};
use crate::message::Message;
use crate::parameters::Parameters;

/// Fields of OpenAI's API that this server does not honour.
const UNSUPPORTED: [&str; 12] = [
    "tools",
    "functions",
    "function_call",
    "modalities",
    "audio",
    "prediction",
    "reasoning_effort",
    "verbosity",
    "web_search_options",
    "prompt_cache_retention",
    "prompt_cache_options",
    "moderation",
];

/// A chat request whose every field has been checked.
#[derive(PartialEq)]
pub struct ChatRequest {
    /// The model as the client names it.
    pub model: Zeroizing<String>,
    /// The conversation; at least one message.
    pub messages: Vec<Message>,
    /// How it is to be answered.
    pub parameters: Parameters,
}

impl fmt::Debug for ChatRequest {
    /// Shows sizes only: a request holds a client's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatRequest").field("messages", &self.messages).field("parameters", &self.parameters).finish()
    }
}

impl ChatRequest {
    /// Reads a request body. The caller has bounded its size.
    ///
    /// # Errors
    /// [`Refusal`], which names the field at fault.
    pub fn parse(body: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        let mut fields = Fields::body(json::read(body)?)?;
        let model = fields.require("model")?.short_string(MAX_MODEL_BYTES)?;
        let messages = Message::read_all(fields.require("messages")?)?;
        fields.refuse_unsupported(&UNSUPPORTED)?;
        fields.take("tool_choice").map_or(Ok(()), require_no_tool)?;
        fields.take("response_format").map_or(Ok(()), require_text)?;
        let logprobs = read_logprobs(&mut fields, limits)?;
        let parameters = Parameters::read(&mut fields, limits, logprobs)?;
        fields.finish()?;
        Ok(Self { model, messages, parameters })
    }

    /// The `messages` that a chat template sees.
    #[must_use]
    pub fn template_messages(&self) -> Value {
        Value::Array(self.messages.iter().map(Message::to_value).collect())
    }
}

fn require_no_tool(field: Field) -> Result<(), Refusal> {
    match field.as_str() {
        Some("none") => Ok(()),
        _ => Err(field.unsupported_value("\"none\"")),
    }
}

fn require_text(field: Field) -> Result<(), Refusal> {
    let unsupported = field.unsupported_value("{\"type\": \"text\"}");
    let mut format = field.object()?;
    if format.require("type")?.string()?.as_str() != "text" {
        return Err(unsupported);
    }
    format.finish()
}

/// `logprobs` switches log probabilities on, `top_logprobs` says how many alternatives.
fn read_logprobs(fields: &mut Fields, limits: &Limits) -> Result<Option<u32>, Refusal> {
    let on = fields.take("logprobs").map_or(Ok(false), Field::boolean)?;
    match fields.take("top_logprobs") {
        Some(field) if !on => {
            Err(Refusal::Conflict { param: field.path().to_owned(), rule: "needs logprobs to be true" })
        }
        Some(field) => field.integer(0..=limits.max_top_logprobs).map(Some),
        None => Ok(on.then_some(0)),
    }
}
