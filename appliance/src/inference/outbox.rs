//! Events on their way to a client. The scheduler never waits for one: what a slow reader has not taken is kept here, joined to
//! one piece, and bounded by the answer's own length; the sequence goes on and is free for others when it ends.

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::answer::Piece;
use super::job::{Event, Logprob};
use zeroize::Zeroizing;

/// Whether a client is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// More events may follow, or some wait for room.
    Open,
    /// The last event was handed over.
    Complete,
    /// The client hung up.
    Closed,
}

/// The undelivered events of one job.
pub struct Outbox {
    events: mpsc::Sender<Event>,
    started: Option<Event>,
    text: Zeroizing<String>,
    logprobs: Vec<Logprob>,
    last: Option<Event>,
    complete: bool,
}

impl Outbox {
    /// Nothing to deliver yet.
    #[must_use]
    pub fn new(events: mpsc::Sender<Event>) -> Self {
        Self {
            events,
            started: None,
            text: Zeroizing::new(String::new()),
            logprobs: Vec::new(),
            last: None,
            complete: false,
        }
    }

    /// True when the client hung up.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.events.is_closed()
    }

    /// Announces the start.
    pub fn start(&mut self, prompt_tokens: u32) {
        self.started = Some(Event::Started { prompt_tokens });
    }

    /// Adds a piece of the answer.
    pub fn add(&mut self, mut piece: Piece) {
        self.text.push_str(&piece.text);
        self.logprobs.append(&mut piece.logprobs);
    }

    /// Adds the last event.
    pub fn end(&mut self, last: Event) {
        self.last = Some(last);
    }

    /// Hands over what there is room for.
    pub fn deliver(&mut self) -> Delivery {
        while !self.complete {
            let Some(next) = self.next() else {
                return if self.is_closed() { Delivery::Closed } else { Delivery::Open };
            };
            match self.events.try_send(next) {
                Ok(()) => {}
                Err(TrySendError::Closed(_)) => return Delivery::Closed,
                Err(TrySendError::Full(back)) => {
                    self.put_back(back);
                    return Delivery::Open;
                }
            }
        }
        Delivery::Complete
    }

    fn next(&mut self) -> Option<Event> {
        if let Some(started) = self.started.take() {
            return Some(started);
        }
        if !self.text.is_empty() || !self.logprobs.is_empty() {
            let text = std::mem::take(&mut self.text);
            return Some(Event::Text { text, logprobs: std::mem::take(&mut self.logprobs) });
        }
        let last = self.last.take();
        self.complete = last.is_some();
        last
    }

    fn put_back(&mut self, event: Event) {
        match event {
            Event::Started { .. } => self.started = Some(event),
            Event::Text { text, logprobs } => {
                self.text = text;
                self.logprobs = logprobs;
            }
            Event::Done { .. } | Event::Failed(_) => {
                self.last = Some(event);
                self.complete = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::job::{Failure, Finish, Timings, Usage};

    fn done() -> Event {
        Event::Done { finish: Finish::Stop, usage: Usage::default(), timings: Timings::default() }
    }

    fn piece(text: &str) -> Piece {
        Piece { text: Zeroizing::new(text.to_owned()), ..Piece::default() }
    }

    #[test]
    fn a_full_channel_joins_text_and_loses_nothing() {
        let (sender, mut receiver) = mpsc::channel(1);
        let mut outbox = Outbox::new(sender);
        outbox.start(3);
        assert_eq!(outbox.deliver(), Delivery::Open);
        for text in ["a", "b", "c"] {
            outbox.add(piece(text));
            assert_eq!(outbox.deliver(), Delivery::Open);
        }
        outbox.end(done());
        assert_eq!(outbox.deliver(), Delivery::Open);
        assert!(matches!(receiver.try_recv(), Ok(Event::Started { prompt_tokens: 3 })));
        assert_eq!(outbox.deliver(), Delivery::Open);
        assert!(matches!(receiver.try_recv(), Ok(Event::Text { text, .. }) if text.as_str() == "abc"));
        assert_eq!(outbox.deliver(), Delivery::Complete);
        assert!(matches!(receiver.try_recv(), Ok(Event::Done { .. })));
    }

    #[test]
    fn a_closed_channel_is_seen_with_and_without_something_to_send() {
        let (sender, receiver) = mpsc::channel(1);
        let mut outbox = Outbox::new(sender);
        drop(receiver);
        assert_eq!(outbox.deliver(), Delivery::Closed);
        outbox.end(Event::Failed(Failure::Engine));
        assert_eq!(outbox.deliver(), Delivery::Closed);
    }
}
