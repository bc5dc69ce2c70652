//! What all chunks of one answer begin with.

use openai::Head;

use super::error::ApiError;
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
    /// A head whose id is `prefix` and a random number; `model` is an id of the document.
    ///
    /// The number is not that of the request, which a log shows: whoever has the id of an answer to nobody in particular can fetch
    /// its receipt.
    pub(super) fn new(prefix: &str, model: &str, state: &State) -> Result<Self, ApiError> {
        let id = RequestId::random().map_err(|_| ApiError::Internal)?;
        Ok(Self {
            id: format!("{prefix}{id}"),
            created: unix_seconds(),
            model: model.to_owned(),
            fingerprint: state.fingerprint().to_owned(),
        })
    }

    /// The answer's id.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The head for an object of the given kind.
    pub(super) fn of(&self, object: &'static str) -> Head<'_> {
        Head { id: &self.id, object, created: self.created, model: &self.model, system_fingerprint: &self.fingerprint }
    }
}
