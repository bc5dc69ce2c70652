//! Answers: sealed events, numbered, the last one marked.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{AEAD, NONCE, RESPONSE, decode, encode};
use crate::hpke::{Aead, AnswerKey, Unsealable, Wiped};

/// Encrypts the events of one answer. An answer in one body is one event that is the last.
pub struct AnswerSealer(Events);

/// Decrypts the events of one answer.
pub struct AnswerOpener(Events);

/// An answer that a client does not believe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The event is not of the documented form.
    #[error("the event is malformed")]
    Malformed,
    /// The event does not decrypt, or is not the next one.
    #[error("the event cannot be decrypted")]
    Undecryptable,
    /// An event after the last one.
    #[error("an event follows the last one")]
    AfterLast,
    /// The answer ended without its last event: somebody cut it off, or the server failed.
    #[error("the answer is cut off before its last event")]
    Truncated,
}

/// The JSON of an event.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    ciphertext: String,
    last: bool,
    seq: u64,
}

struct Events {
    key: AnswerKey,
    rid: String,
    next: u64,
    ended: bool,
}

impl Events {
    fn new<E>(rid: &str, export: impl Fn(&[u8], &mut [u8]) -> Result<(), E>) -> Option<Self> {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        let mut base = zeroize::Zeroizing::new([0; Aead::NONCE_LEN]);
        export(RESPONSE, key.as_mut_slice()).ok()?;
        export(NONCE, base.as_mut_slice()).ok()?;
        let key = AnswerKey::new(AEAD, key.as_slice(), &base).ok()?;
        Some(Self { key, rid: rid.to_owned(), next: 0, ended: false })
    }

    /// JCS of {last, rid, seq}; `None` beyond 2^53 events.
    fn aad(&self, last: bool) -> Option<String> {
        crate::canonical(&json!({"last": last, "rid": self.rid, "seq": self.next})).ok()
    }
}

impl AnswerSealer {
    pub(super) fn new<E>(rid: &str, export: impl Fn(&[u8], &mut [u8]) -> Result<(), E>) -> Option<Self> {
        Events::new(rid, export).map(Self)
    }

    /// The next event's JSON, in one line.
    ///
    /// # Errors
    /// [`Unsealable`] after the last event.
    pub fn seal(&mut self, content: &[u8], last: bool) -> Result<String, Unsealable> {
        let events = &mut self.0;
        let aad = events.aad(last).filter(|_| !events.ended).ok_or(Unsealable)?;
        let mut sealed = Vec::with_capacity(content.len() + Aead::TAG_LEN);
        events.key.seal_into(aad.as_bytes(), content, &mut sealed)?;
        let event = Event { ciphertext: encode(&sealed), last, seq: events.next };
        events.next += 1;
        events.ended = last;
        serde_json::to_string(&event).map_err(|_| Unsealable)
    }

    /// The next event as an event of an event stream.
    ///
    /// # Errors
    /// As [`AnswerSealer::seal`].
    pub fn event(&mut self, content: &[u8], last: bool) -> Result<String, Unsealable> {
        Ok(format!("data: {}\n\n", self.seal(content, last)?))
    }
}

impl AnswerOpener {
    pub(super) fn new<E>(rid: &str, export: impl Fn(&[u8], &mut [u8]) -> Result<(), E>) -> Option<Self> {
        Events::new(rid, export).map(Self)
    }

    /// Decrypts the next event's JSON.
    ///
    /// # Errors
    /// [`EventError`]; the answer is of no further use then.
    pub fn open(&mut self, event: &[u8]) -> Result<Wiped, EventError> {
        let events = &mut self.0;
        let event: Event = serde_json::from_slice(event).map_err(|_| EventError::Malformed)?;
        let sealed = decode(&event.ciphertext).ok_or(EventError::Malformed)?;
        if events.ended {
            return Err(EventError::AfterLast);
        }
        let aad = events.aad(event.last).filter(|_| event.seq == events.next).ok_or(EventError::Undecryptable)?;
        let mut content = Wiped::default();
        events.key.open_into(aad.as_bytes(), &sealed, &mut content).map_err(|_| EventError::Undecryptable)?;
        events.next += 1;
        events.ended = event.last;
        Ok(content)
    }

    /// Whether the last event has come.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.0.ended
    }

    /// Ends the answer.
    ///
    /// # Errors
    /// [`EventError::Truncated`] where the last event has not come.
    pub fn finish(self) -> Result<(), EventError> {
        if self.0.ended { Ok(()) } else { Err(EventError::Truncated) }
    }
}
