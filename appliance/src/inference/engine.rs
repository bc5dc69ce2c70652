//! What the scheduler asks of an engine. llama.cpp is behind it in the appliance, a script in the scheduler's tests.

use std::sync::Arc;

use zeroize::Zeroizing;

/// One token of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Sequence it belongs to, below the engine's number of sequences.
    pub sequence: u32,
    /// Position in that sequence; positions of a sequence come in order and without gaps.
    pub position: u32,
    /// Token id, below the vocabulary's size.
    pub token: u32,
    /// Whether the logits after this token are wanted.
    pub wants_logits: bool,
}

/// Why a batch failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The engine failed; every sequence is lost.
    #[error("engine failed")]
    Failed,
    /// The engine was told to stop.
    #[error("engine was stopped")]
    Stopped,
}

/// Computes batches of several sequences. Driven by one thread.
pub trait Engine: Send {
    /// Computes a batch, entries of one sequence adjacent and sequences ascending.
    ///
    /// # Errors
    /// [`EngineError`]
    fn decode(&mut self, batch: &[Entry]) -> Result<(), EngineError>;

    /// Logits of an entry of the last batch that wanted them.
    fn logits(&self, entry: usize) -> Option<&[f32]>;

    /// Ends a sequence and overwrites what it left, as far as the engine can at this time.
    fn release(&mut self, sequence: u32);

    /// Overwrites everything that any sequence left. Called while no sequence lives.
    fn forget(&mut self);

    /// Something that moves while [`Engine::decode`] runs, and can stop it.
    fn pulse(&self) -> Arc<dyn Pulse>;
}

/// The view of other threads on a running decode.
pub trait Pulse: Send + Sync {
    /// A count that grows while the engine makes progress.
    fn beats(&self) -> u64;

    /// Ends the running decode, and every later one, with [`EngineError::Stopped`].
    fn stop(&self);
}

/// Text to tokens and back; used by several threads.
pub trait Vocabulary: Send + Sync {
    /// Number of tokens.
    fn size(&self) -> u32;

    /// Tokens of a prompt, never empty. `parse_special`: a rendered template, whose control tokens are written as text and which is
    /// taken as it is; otherwise a raw text, which the model's beginning-of-sequence token is put in front of.
    ///
    /// # Errors
    /// [`EngineError::Failed`]
    fn tokenize(&self, text: &str, parse_special: bool) -> Result<Zeroizing<Vec<u32>>, EngineError>;

    /// Bytes the token adds to an answer; control tokens add none.
    fn answer_bytes(&self, token: u32) -> Zeroizing<Vec<u8>>;

    /// Bytes that stand for the token in a list of log probabilities; control tokens have their name.
    fn shown_bytes(&self, token: u32) -> Zeroizing<Vec<u8>>;

    /// Whether the token ends an answer.
    fn ends_generation(&self, token: u32) -> bool;
}
