//! Chat completions, the side that the appliance speaks.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::chat::Choice;

/// A chat-completions request in the making.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chat {
    messages: Vec<(&'static str, Vec<String>)>,
    members: Map<String, Value>,
    stream: bool,
}

impl Chat {
    /// Adds text to the conversation. What one speaker says in a row is one message.
    pub(super) fn say(&mut self, role: &'static str, texts: Vec<String>) {
        match self.messages.last_mut() {
            Some((last, said)) if *last == role => said.extend(texts),
            _ => self.messages.push((role, texts)),
        }
    }

    /// Who spoke last.
    pub(super) fn last_role(&self) -> Option<&'static str> {
        self.messages.last().map(|(role, _)| *role)
    }

    /// Sets a member beside `messages` and `stream`.
    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.members.insert(name.to_owned(), value);
    }

    /// Asks for a streamed answer, with token counts.
    pub(super) fn streamed(&mut self, stream: bool) {
        self.stream = stream;
    }

    /// Whether the answer will be streamed.
    #[must_use]
    pub fn is_streamed(&self) -> bool {
        self.stream
    }

    /// The body for `/v1/chat/completions`.
    #[must_use]
    pub fn body(&self) -> Value {
        let message = |(role, texts): &(&str, Vec<String>)| match texts.as_slice() {
            [text] => json!({"role": role, "content": text}),
            texts => {
                let parts: Vec<_> = texts.iter().map(|text| json!({"type": "text", "text": text})).collect();
                json!({"role": role, "content": parts})
            }
        };
        let mut body = self.members.clone();
        body.insert("messages".to_owned(), self.messages.iter().map(message).collect());
        if self.stream {
            body.insert("stream".to_owned(), true.into());
            body.insert("stream_options".to_owned(), json!({"include_usage": true}));
        }
        Value::Object(body)
    }
}

/// A chat completion, whole or a piece of one; what nobody here needs is not read.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Completion {
    /// The appliance's id of the answer.
    #[serde(default)]
    pub id: String,
    /// The model as the request named it.
    #[serde(default)]
    pub model: String,
    /// Seconds since 1970 by the appliance's host.
    #[serde(default)]
    pub created: u64,
    #[serde(default)]
    choices: Vec<Choice>,
    /// Token counts.
    pub usage: Option<Usage>,
    /// The appliance gave up.
    pub error: Option<ErrorObject>,
}

/// Token counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Usage {
    /// Of the prompt.
    #[serde(default)]
    pub prompt_tokens: u64,
    /// Of the answer.
    #[serde(default)]
    pub completion_tokens: u64,
}

/// An error in OpenAI's shape.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ErrorObject {
    /// For people.
    #[serde(default)]
    pub message: String,
    /// For programs.
    pub code: Option<String>,
    /// The member at fault.
    pub param: Option<String>,
}

impl Completion {
    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.choices.first().map(Choice::text).unwrap_or_default()
    }

    /// Why the answer ended, if it has.
    #[must_use]
    pub fn finish(&self) -> Option<&str> {
        self.choices.first()?.finish_reason.as_deref()
    }
}

/// An error, before it has a shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// For people.
    pub message: String,
    /// For programs.
    pub code: Option<String>,
    /// The member at fault.
    pub param: Option<String>,
}

impl Problem {
    /// The error of an appliance's answer. A body that is none says nothing.
    #[must_use]
    pub fn of_answer(status: u16, body: &[u8]) -> Self {
        let completion: Completion = serde_json::from_slice(body).unwrap_or_default();
        Self::of_object(status, completion.error.unwrap_or_default())
    }

    /// An error object.
    #[must_use]
    pub fn of_object(status: u16, error: ErrorObject) -> Self {
        let message = if error.message.is_empty() { "the appliance gave no reason".to_owned() } else { error.message };
        Self { status, message, code: error.code, param: error.param }
    }

    /// An answer that is not what was asked for.
    #[must_use]
    pub fn malformed() -> Self {
        Self::ours(502, "malformed_answer", "lethe proxy: the answer of the appliance is not a chat completion")
    }

    /// A stream that ended too early.
    #[must_use]
    pub fn cut_off() -> Self {
        Self::ours(502, "answer_cut_off", "lethe proxy: the answer is cut off")
    }

    /// Something of our own.
    #[must_use]
    pub fn ours(status: u16, code: &str, message: &str) -> Self {
        Self { status, message: message.to_owned(), code: Some(code.to_owned()), param: None }
    }
}

impl From<&super::Refused> for Problem {
    fn from(refused: &super::Refused) -> Self {
        Self {
            status: 400,
            message: format!("lethe proxy: {refused}"),
            code: Some(refused.code().to_owned()),
            param: refused.param().map(str::to_owned),
        }
    }
}
