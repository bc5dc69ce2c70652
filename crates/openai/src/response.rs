//! Answers, written from borrowed parts so that no further copy of an answer's text is made.

use serde::{Deserialize, Serialize};

use crate::logprobs::{ChatLogprobs, CompletionLogprobs};

/// What all chunks of an answer, or the answer in one piece, begin with.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Head<'a> {
    /// `chatcmpl-…` or `cmpl-…`.
    pub id: &'a str,
    /// `chat.completion`, `chat.completion.chunk` or `text_completion`.
    pub object: &'static str,
    /// Seconds since 1970 by the host's clock; nothing rests on it.
    pub created: u64,
    /// The model's id as the request named it.
    pub model: &'a str,
    /// Changes when the served software or model changes.
    pub system_fingerprint: &'a str,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended it, or a `stop` string.
    Stop,
    /// `max_tokens`, the context, or the time budget is used up.
    Length,
}

/// Token counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens of the answer.
    pub completion_tokens: u32,
    /// The sum of both.
    pub total_tokens: u32,
}

impl Usage {
    /// Token counts with their sum.
    #[must_use]
    pub const fn new(prompt_tokens: u32, completion_tokens: u32) -> Self {
        Self { prompt_tokens, completion_tokens, total_tokens: prompt_tokens.saturating_add(completion_tokens) }
    }
}

/// An answer of `/v1/chat/completions` in one piece.
#[derive(Serialize)]
pub struct ChatCompletion<'a> {
    /// Id, model, time.
    #[serde(flatten)]
    pub head: Head<'a>,
    /// The one choice.
    pub choices: [ChatChoice<'a>; 1],
    /// Token counts.
    pub usage: Usage,
}

/// The one choice of a chat answer.
#[derive(Serialize)]
pub struct ChatChoice<'a> {
    /// 0.
    pub index: u32,
    /// The answer.
    pub message: AssistantMessage<'a>,
    /// Where the request asked for them.
    pub logprobs: Option<ChatLogprobs<'a>>,
    /// Why it ended.
    pub finish_reason: FinishReason,
}

impl<'a> ChatChoice<'a> {
    /// A choice with the assistant's text.
    #[must_use]
    pub const fn new(content: &'a str, logprobs: Option<ChatLogprobs<'a>>, finish_reason: FinishReason) -> Self {
        Self {
            index: 0,
            message: AssistantMessage { role: "assistant", content, refusal: None },
            logprobs,
            finish_reason,
        }
    }
}

/// The message of an answer.
#[derive(Serialize)]
pub struct AssistantMessage<'a> {
    role: &'static str,
    content: &'a str,
    refusal: Option<()>,
}

/// A chunk of a streamed chat answer.
#[derive(Serialize)]
pub struct ChatChunk<'a> {
    /// Id, model, time.
    #[serde(flatten)]
    pub head: Head<'a>,
    /// One choice, or none in the chunk with the token counts.
    pub choices: Vec<ChunkChoice<'a>>,
    /// Absent when not asked for, `null` in every chunk but the last when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<Usage>>,
}

/// The one choice of a chunk.
#[derive(Serialize)]
pub struct ChunkChoice<'a> {
    /// 0.
    pub index: u32,
    /// What this chunk adds.
    pub delta: Delta<'a>,
    /// Where the request asked for them.
    pub logprobs: Option<ChatLogprobs<'a>>,
    /// Set in the last chunk of the answer.
    pub finish_reason: Option<FinishReason>,
}

/// What a chunk adds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Delta<'a> {
    /// `assistant`, in the first chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// Text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<&'a str>,
}

/// An answer of `/v1/completions`, in one piece or a chunk of it.
#[derive(Serialize)]
pub struct Completion<'a> {
    /// Id, model, time.
    #[serde(flatten)]
    pub head: Head<'a>,
    /// One choice, or none in the chunk with the token counts.
    pub choices: Vec<CompletionChoice<'a>>,
    /// As in [`ChatChunk::usage`]; always there in an answer of one piece.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<Usage>>,
}

/// The one choice of a completion.
#[derive(Serialize)]
pub struct CompletionChoice<'a> {
    /// 0.
    pub index: u32,
    /// Text.
    pub text: &'a str,
    /// Where the request asked for them.
    pub logprobs: Option<CompletionLogprobs<'a>>,
    /// Set in the last chunk of the answer.
    pub finish_reason: Option<FinishReason>,
}

/// An entry of `/v1/models`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

impl<'a> Model<'a> {
    /// An entry; `created` in seconds since 1970.
    #[must_use]
    pub const fn new(id: &'a str, created: u64, owned_by: &'static str) -> Self {
        Self { id, object: "model", created, owned_by }
    }
}

/// The answer of `/v1/models`.
#[derive(Debug, Clone, Serialize)]
pub struct ModelList<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
}

impl<'a> ModelList<'a> {
    /// A list of entries.
    #[must_use]
    pub const fn new(data: Vec<Model<'a>>) -> Self {
        Self { object: "list", data }
    }
}
