//! A streamed chat completion, translated while it comes.

use super::{Completion, Dialect, Event, Problem};
use crate::sse;

/// Longest stream that is translated, in bytes.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Whether everything was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// More may come.
    No,
    /// The answer is complete.
    Well,
    /// The last event was an error.
    Failed,
}

/// Takes the bytes of an appliance's stream and gives those of another.
pub struct StreamTranslator {
    dialect: Box<dyn Dialect>,
    parser: sse::Parser,
    ended: Ended,
    bytes: usize,
}

impl StreamTranslator {
    /// For an answer of which nothing has come.
    #[must_use]
    pub fn new(dialect: Box<dyn Dialect>) -> Self {
        Self { dialect, parser: sse::Parser::default(), ended: Ended::No, bytes: 0 }
    }

    /// Whether everything was said.
    #[must_use]
    pub fn ended(&self) -> Ended {
        self.ended
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        if self.ended != Ended::No {
            return String::new();
        }
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.bytes > MAX_BYTES {
            return self.fail(&Problem::malformed());
        }
        let Ok(events) = self.parser.push(bytes) else { return self.fail(&Problem::malformed()) };
        let mut out = String::new();
        for event in events {
            if self.ended == Ended::No {
                out += &self.take(&event);
            }
        }
        out
    }

    fn take(&mut self, event: &sse::Event) -> String {
        if event.data == "[DONE]" {
            return match self.dialect.end() {
                Some(events) => {
                    self.ended = Ended::Well;
                    frames(&events)
                }
                None => self.fail(&Problem::cut_off()),
            };
        }
        match serde_json::from_str::<Completion>(&event.data) {
            Ok(Completion { error: Some(error), .. }) => self.fail(&Problem::of_object(500, error)),
            Ok(piece) => frames(&self.dialect.piece(&piece)),
            Err(_) => self.fail(&Problem::malformed()),
        }
    }

    /// The stream has ended, or broken for a reason that is worth telling.
    pub fn close(&mut self, told: Option<Problem>) -> String {
        if self.ended == Ended::No { self.fail(&told.unwrap_or_else(Problem::cut_off)) } else { String::new() }
    }

    fn fail(&mut self, problem: &Problem) -> String {
        self.ended = Ended::Failed;
        frames(&self.dialect.failed(problem))
    }
}

fn frames(events: &[Event]) -> String {
    events.iter().map(Event::frame).collect()
}
