//! llama.cpp behind the [`Engine`] and [`Vocabulary`] traits.

use std::sync::Arc;

use llama::{Batch, Context, DecodeError, Model, Row, Signals, Wiping};
use zeroize::Zeroizing;

use super::engine::{Engine, EngineError, Entry, Pulse, Vocabulary};

/// A llama.cpp context with its batch.
pub struct LlamaEngine {
    context: Context,
    batch: Batch,
    rows: Vec<Row>,
}

impl LlamaEngine {
    /// Takes a context; batches may have as many tokens as it was made for.
    #[must_use]
    pub fn new(context: Context) -> Self {
        let batch = Batch::new(context.options().batch_tokens);
        Self { context, batch, rows: Vec::new() }
    }
}

impl Engine for LlamaEngine {
    fn decode(&mut self, batch: &[Entry]) -> Result<(), EngineError> {
        self.batch.clear();
        self.rows.clear();
        for entry in batch {
            let row = self.batch.add(entry.sequence, entry.position, entry.token, entry.wants_logits);
            self.rows.push(row.ok_or(EngineError::Failed)?);
        }
        let decoded = self.context.decode(&self.batch);
        self.batch.clear();
        decoded.map_err(|error| match error {
            DecodeError::Stopped => EngineError::Stopped,
            DecodeError::Batch | DecodeError::NoRoom | DecodeError::Failed(_) => EngineError::Failed,
        })
    }

    fn logits(&self, entry: usize) -> Option<&[f32]> {
        self.context.logits(*self.rows.get(entry)?)
    }

    fn release(&mut self, sequence: u32) {
        self.context.release(sequence);
    }

    fn forget(&mut self) {
        match self.context.wiping() {
            // the rows are gone already: only what the last batch left in between
            Wiping::AtRelease => self.context.clear_scratch(),
            Wiping::AtClear => self.context.clear(),
        }
    }

    fn pulse(&self) -> Arc<dyn Pulse> {
        Arc::new(LlamaPulse(self.context.signals()))
    }
}

struct LlamaPulse(Signals);

impl Pulse for LlamaPulse {
    fn beats(&self) -> u64 {
        self.0.steps()
    }

    fn stop(&self) {
        self.0.stop();
    }
}

/// The vocabulary of a loaded model.
pub struct LlamaVocabulary(pub Arc<Model>);

impl LlamaVocabulary {
    fn bytes(&self, token: u32, special: bool) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::new());
        self.0.vocabulary().bytes_into(token, special, &mut bytes);
        bytes
    }
}

impl Vocabulary for LlamaVocabulary {
    fn size(&self) -> u32 {
        self.0.vocabulary().size()
    }

    fn tokenize(&self, text: &str, parse_special: bool) -> Result<Zeroizing<Vec<u32>>, EngineError> {
        let vocabulary = self.0.vocabulary();
        let mut tokens = vocabulary.tokenize(text, parse_special).map_err(|_| EngineError::Failed)?;
        // a template writes its own beginning of sequence, as transformers has it; a raw text gets the model's
        if !parse_special && vocabulary.adds_bos() {
            tokens.splice(0..0, vocabulary.bos());
        }
        if tokens.is_empty() {
            // nothing to go on from: the model starts from its beginning of sequence, or the nearest thing it has
            tokens.push(vocabulary.bos().or(vocabulary.eos()).unwrap_or(0));
        }
        Ok(tokens)
    }

    fn answer_bytes(&self, token: u32) -> Zeroizing<Vec<u8>> {
        self.bytes(token, false)
    }

    fn shown_bytes(&self, token: u32) -> Zeroizing<Vec<u8>> {
        self.bytes(token, true)
    }

    fn ends_generation(&self, token: u32) -> bool {
        self.0.vocabulary().ends_generation(token)
    }
}
