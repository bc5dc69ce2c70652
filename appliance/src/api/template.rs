//! The door to the model's chat template.

use serde_json::Value;
use zeroize::Zeroizing;

/// Why a conversation was not rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RenderFailure {
    /// The template called `raise_exception`: the conversation is not one it takes.
    #[error("the template refuses the conversation")]
    Refused,
    /// The template failed by itself.
    #[error("the template failed")]
    Failed,
}

/// A compiled chat template.
pub trait Render: Send + Sync + 'static {
    /// The effective prompt for `messages`, with the beginning of the assistant's answer.
    ///
    /// # Errors
    /// [`RenderFailure`] says whose fault it is.
    fn render(&self, messages: &Value) -> Result<Zeroizing<String>, RenderFailure>;
}
