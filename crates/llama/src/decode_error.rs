//! Why a batch was not decoded.

/// Why a batch was not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The batch is empty, too large, or names a sequence or token that does not exist. Nothing changed.
    #[error("batch is empty, too large, or names a sequence or token that does not exist")]
    Batch,
    /// No free cells for it. Nothing changed.
    #[error("no room in the cache")]
    NoRoom,
    /// The stop flag was set while it ran. The rows of the interrupted part are gone.
    #[error("decode stopped")]
    Stopped,
    /// llama.cpp failed; the state of the cache is unknown and should be cleared.
    #[error("llama.cpp failed with status {0}")]
    Failed(i32),
}
