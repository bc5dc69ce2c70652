//! How much memory an engine needs beside the weights.

use crate::Header;

/// Bytes of a cached value: 16-bit floating point.
const CACHED_BYTES: u64 = 2;
/// Bytes of a computed value: 32-bit floating point.
const COMPUTED_BYTES: u64 = 4;

/// What an engine is asked to hold and to compute at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Tokens of one sequence, prompt and answer together; no more than the model's own context count.
    pub context_tokens: u32,
    /// Sequences at a time.
    pub sequences: u32,
    /// Prompt tokens that are computed at a time.
    pub prefill_tokens: u32,
}

impl Header {
    /// Bytes of the cache of keys and values, which an engine allocates whole when it starts.
    #[must_use]
    pub fn cache_bytes(&self, load: Load) -> u64 {
        let tokens = self.context(load).saturating_mul(u64::from(load.sequences));
        self.attention.cached_per_token.saturating_mul(CACHED_BYTES).saturating_mul(tokens)
    }

    /// An upper estimate of the bytes that one step computes with: scores, activations and logits.
    #[must_use]
    pub fn step_bytes(&self, load: Load) -> u64 {
        let sequences = u64::from(load.sequences);
        let batch = u64::from(load.prefill_tokens).saturating_add(sequences);
        // Scores before and after their normalisation; some thirty activations as wide as the model; four copies of the logits.
        let scores = u64::from(self.attention.heads).saturating_mul(2 * self.context(load)).saturating_mul(batch);
        let activations = u64::from(self.embedding_length).saturating_mul(32).saturating_mul(batch);
        let logits = u64::from(self.vocabulary_size).saturating_mul(4).saturating_mul(sequences);
        scores.saturating_add(activations).saturating_add(logits).saturating_mul(COMPUTED_BYTES)
    }

    fn context(&self, load: Load) -> u64 {
        u64::from(load.context_tokens.min(self.context_length))
    }
}
