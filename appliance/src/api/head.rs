//! What all chunks of one answer begin with.

use openai::Head;

use super::event::RequestId;
use super::state::{State, unix_seconds};

/// The owned form of [`Head`].
pub(super) struct AnswerHead {
    id: String,
    created: u64,
    model: String,
    fingerprint: String,
}

impl AnswerHead {
    /// A head whose id is `prefix` and the request's id; `model` is an id of the document.
    pub(super) fn new(prefix: &str, id: RequestId, model: &str, state: &State) -> Self {
        Self {
            id: format!("{prefix}{id}"),
            created: unix_seconds(),
            model: model.to_owned(),
            fingerprint: state.fingerprint().to_owned(),
        }
    }

    /// The head for an object of the given kind.
    pub(super) fn of(&self, object: &'static str) -> Head<'_> {
        Head { id: &self.id, object, created: self.created, model: &self.model, system_fingerprint: &self.fingerprint }
    }
}
