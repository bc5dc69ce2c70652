//! Why a log cannot be read.

use crate::bytes::Truncated;

/// What is wrong with a log. Offsets are in bytes from the start of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The log ends inside a structure: it was cut, or a length lies.
    #[error("the log ends inside the {what} at offset {offset:#x}")]
    Truncated {
        /// The structure.
        what: &'static str,
        /// Where it starts.
        offset: u64,
    },
    /// Nothing but padding.
    #[error("there is no event in the log")]
    Empty,
    /// A number in the header or in an event is impossible.
    #[error("{what} at offset {offset:#x} is {value}, which cannot be")]
    Value {
        /// What the number stands for.
        what: &'static str,
        /// Where it stands.
        offset: u64,
        /// What it is.
        value: u64,
    },
    /// An event has not exactly one digest of each algorithm that the header names.
    #[error("the event at offset {offset:#x} does not have one digest of each algorithm of the log")]
    Digests {
        /// Where the event starts.
        offset: u64,
    },
    /// Bytes behind the last event that are not padding.
    #[error("the bytes at offset {offset:#x} are neither an event nor padding")]
    Tail {
        /// Where they start.
        offset: u64,
    },
}

impl From<Truncated> for LogError {
    fn from(Truncated { what, offset }: Truncated) -> Self {
        Self::Truncated { what, offset }
    }
}
