//! What can go wrong, without a word of what the user wrote.

use std::fmt;

use minijinja::{Error, ErrorKind};
use zeroize::Zeroizing;

use crate::{MAX_OUTPUT_BYTES, MAX_SOURCE_BYTES, MAX_STEPS};

/// Why a template cannot be used at all. The source is public, so the reason is told in full.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The source is too long.
    #[error("the chat template has {bytes} bytes, at most {MAX_SOURCE_BYTES} are accepted")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The source is no template, or uses what does not exist.
    #[error("the chat template does not compile: {reason} (line {line})")]
    Syntax {
        /// What the engine says about it.
        reason: String,
        /// The line, from 1; 0 if unknown.
        line: usize,
    },
}

impl CompileError {
    pub(crate) fn from_engine(error: &Error) -> Self {
        let reason = match error.detail() {
            Some(detail) => format!("{}: {detail}", error.kind()),
            None => error.kind().to_string(),
        };
        Self::Syntax { reason, line: error.line().unwrap_or(0) }
    }
}

/// Why one conversation could not be rendered. Neither `Display` nor `Debug` show anything of the conversation.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The template called `raise_exception`: the conversation is not one this model takes.
    #[error("the chat template refuses this conversation")]
    Raised(Raised),
    /// The template does something that fails with this conversation, such as adding a list to a text.
    #[error("the chat template fails with this conversation: {problem} (line {line})")]
    Failed {
        /// The kind of failure, in the engine's fixed words.
        problem: String,
        /// The line of the template, from 1; 0 if unknown.
        line: usize,
    },
    /// The template took more than [`MAX_STEPS`] steps.
    #[error("the chat template took more than {MAX_STEPS} steps")]
    TooManySteps,
    /// The prompt would be longer than [`MAX_OUTPUT_BYTES`].
    #[error("the chat template made a prompt of more than {MAX_OUTPUT_BYTES} bytes")]
    TooLong,
}

impl RenderError {
    pub(crate) fn from_engine(error: &Error) -> Self {
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = source {
            if let Some(raised) = error.downcast_ref::<Raised>() {
                return Self::Raised(raised.clone());
            }
            source = error.source();
        }
        match error.kind() {
            ErrorKind::OutOfFuel => Self::TooManySteps,
            kind => Self::Failed { problem: kind.to_string(), line: error.line().unwrap_or(0) },
        }
    }
}

/// The message a template gave to `raise_exception`.
///
/// Templates put parts of the conversation into it: it may go back to the client who sent them, and nowhere else.
#[derive(Clone)]
pub struct Raised {
    message: Zeroizing<String>,
}

impl Raised {
    pub(crate) fn new(message: String) -> Self {
        Self { message: Zeroizing::new(message) }
    }

    /// The message, for the client alone.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Debug for Raised {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Raised(..)")
    }
}

impl fmt::Display for Raised {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("raise_exception was called")
    }
}

impl std::error::Error for Raised {}
