//! Refuses a model that the machine's memory cannot hold, before the kernel has to end processes for it, and so PID 1.

use deployment::{Engine, Model};

use super::model::ModelError;

/// What the kernel says it could still give.
#[derive(Debug, Clone, Copy)]
pub struct Available(Option<u64>);

impl Available {
    /// As of now, from `/proc/meminfo`.
    #[must_use]
    pub fn now() -> Self {
        Self::of(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default())
    }

    /// Without a line `MemAvailable` nothing is known and nothing refused.
    fn of(meminfo: &str) -> Self {
        let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        Self(kib.map(|kib| kib.saturating_mul(1024)))
    }

    /// Room for the weights, `copies` times.
    ///
    /// # Errors
    /// [`ModelError::TooLarge`]
    pub fn require_weights(self, model: &Model, copies: u64) -> Result<(), ModelError> {
        self.require(model, model.size_bytes.saturating_mul(copies))
    }

    /// Room for what the engine allocates when the weights are already stored once: the cache of keys and values, and the
    /// second copy of the weights where the engine lays them out anew (`repacks`).
    ///
    /// # Errors
    /// [`ModelError::TooLarge`]
    pub fn require_engine(
        self,
        model: &Model,
        header: &gguf::Header,
        engine: &Engine,
        repacks: bool,
    ) -> Result<(), ModelError> {
        let load = gguf::Load {
            context_tokens: engine.context_tokens,
            sequences: engine.parallel_sequences,
            prefill_tokens: engine.prefill_chunk_tokens,
        };
        let second = if repacks { model.size_bytes } else { 0 };
        self.require(model, header.cache_bytes(load).saturating_add(second))
    }

    fn require(self, model: &Model, needed_bytes: u64) -> Result<(), ModelError> {
        match self.0 {
            Some(available_bytes) if available_bytes < needed_bytes => {
                Err(ModelError::TooLarge { size_bytes: model.size_bytes, needed_bytes, available_bytes })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::Refused;

    const MEMINFO: &str = "MemTotal:        2000 kB\nMemFree:          900 kB\nMemAvailable:    1000 kB\n";

    fn model(size_bytes: u64) -> Model {
        Model { name: "m".to_owned(), aliases: Vec::new(), sha256: [0; 32], size_bytes }
    }

    #[test]
    fn a_model_that_memory_cannot_hold_is_refused_before_it_is_read() {
        let available = Available::of(MEMINFO);
        assert!(available.require_weights(&model(1000 * 1024), 1).is_ok());
        assert!(available.require_weights(&model(500 * 1024), 2).is_ok());
        assert!(available.require_weights(&model(500 * 1024 + 1), 2).is_err());
        let refused = Refused::from(available.require_weights(&model(1000 * 1024 + 1), 1).unwrap_err());
        assert_eq!(refused.code(), "model-memory");
    }

    #[test]
    fn nothing_known_is_nothing_refused() {
        for meminfo in ["", "MemAvailable: many kB\n", "MemAvailable: 1 MB\n"] {
            assert!(Available::of(meminfo).require_weights(&model(u64::MAX), 2).is_ok(), "{meminfo}");
        }
    }

    #[test]
    fn a_cache_that_memory_cannot_hold_is_refused_before_the_engine_starts() {
        let file = std::fs::File::open("../tests/models/tiny-random-llama.gguf").unwrap();
        let header = gguf::check_reader(file).unwrap();
        let context_tokens = header.context_length;
        // 2 layers, keys and values of 2 heads of 16 values, 2 bytes each: 256 bytes a token
        let engine = |parallel_sequences| Engine { context_tokens, parallel_sequences, ..Engine::default() };
        let cache = 256 * u64::from(context_tokens);
        let exactly = Available(Some(2 * cache));
        let model = model(cache);
        assert!(exactly.require_engine(&model, &header, &engine(2), false).is_ok());
        assert!(exactly.require_engine(&model, &header, &engine(1), true).is_ok());
        assert!(exactly.require_engine(&model, &header, &engine(3), false).is_err());
        assert!(exactly.require_engine(&model, &header, &engine(2), true).is_err());
    }
}
