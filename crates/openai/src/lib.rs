//! Request and response types of the OpenAI-compatible API.
//!
//! Requests are read by pure functions from bytes to typed values: [`ChatRequest::parse`] and
//! [`CompletionRequest::parse`]. Nothing is ignored: a field that is not honoured and is not on the short list of
//! fields without effect (see [`WITHOUT_EFFECT`]) is refused by name, at every level. Answers are written by borrowed
//! types that serialise to the shapes OpenAI's clients expect.
//!
//! No socket, no clock, no engine.
#![forbid(unsafe_code)]

mod chat;
mod completion;
mod error;
mod fields;
mod json;
mod limits;
mod logprobs;
mod message;
mod parameters;
mod response;

pub use chat::ChatRequest;
pub use completion::CompletionRequest;
pub use error::{ErrorBody, ErrorObject, Refusal};
pub use limits::{
    Limits, MAX_DEPTH, MAX_LOGIT_BIAS, MAX_METADATA, MAX_MODEL_BYTES, MAX_STOP_BYTES, MAX_TEXT_FIELD_BYTES, MAX_VALUES,
};
pub use logprobs::{Candidate, ChatLogprobs, CompletionLogprobs, TokenLogprob};
pub use message::{Message, Role};
pub use parameters::{Parameters, Stream, WITHOUT_EFFECT};
pub use response::{
    AssistantMessage, ChatChoice, ChatChunk, ChatCompletion, ChunkChoice, Completion, CompletionChoice, Delta,
    FinishReason, Head, Model, ModelList, Usage,
};
