//! Other people's wire formats, to and from chat completions, on the client's side: what runs in the measured image stays small.
//!
//! Everything here is a function of JSON and of events; no socket, no clock. A field that would change the answer and cannot be
//! honoured is refused by name, never ignored. Sources: the types of the SDKs `anthropic` and `openai` for Python.

pub mod anthropic;
mod chat;
mod fields;
pub mod responses;
mod stream;

pub use chat::{Chat, Completion, ErrorObject, Problem};
pub use fields::Refused;
pub use stream::{Ended, StreamTranslator};

use serde_json::Value;

/// One event of a translated stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its name, which is also the `type` member of its data.
    pub name: &'static str,
    /// Its data.
    pub data: Value,
}

impl Event {
    /// As it is written on the wire.
    #[must_use]
    pub fn frame(&self) -> String {
        format!("event: {}\ndata: {}\n\n", self.name, self.data)
    }
}

/// The way back: from a chat completion to what the request's own API answers.
pub trait Dialect: Send {
    /// An answer in one piece.
    fn whole(&mut self, completion: &Completion) -> Value;
    /// The events that a piece of a streamed answer makes.
    fn piece(&mut self, piece: &Completion) -> Vec<Event>;
    /// The events after the last piece; `None` if the answer lacks what it needs to be complete.
    fn end(&mut self) -> Option<Vec<Event>>;
    /// The events for an answer that failed in the middle.
    fn failed(&mut self, problem: &Problem) -> Vec<Event>;
    /// The body of an error.
    fn error(&self, problem: &Problem) -> Value;
}
