//! An engine without a model, for the scheduler's tests. Its vocabulary is the 256 bytes and an end token. A prompt `TEXT|` makes it
//! answer TEXT byte by byte; the byte `!` stands for a row of NaN.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use zeroize::Zeroizing;

use super::engine::{Engine, EngineError, Entry, Pulse, Vocabulary};

/// Ends an answer.
pub const END: u32 = 256;

/// What happened in the engine, and how far it may go.
#[derive(Default)]
pub struct Script {
    state: Mutex<State>,
    moved: Condvar,
    beats: AtomicU64,
}

#[derive(Default)]
struct State {
    batches: Vec<Vec<Entry>>,
    released: Vec<u32>,
    forgotten: usize,
    /// Decodes that may still run; `None`: any number.
    permits: Option<usize>,
    failures: usize,
    stopped: bool,
    /// Tokens of living sequences; empty after a release.
    tokens: HashMap<u32, Vec<u32>>,
}

impl Script {
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// The engine stands still until permitted.
    pub fn hold(&self) {
        self.state.lock().unwrap().permits = Some(0);
    }

    pub fn permit(&self, decodes: usize) {
        let mut state = self.state.lock().unwrap();
        state.permits = Some(state.permits.unwrap_or(0) + decodes);
        drop(state);
        self.moved.notify_all();
    }

    pub fn let_go(&self) {
        self.state.lock().unwrap().permits = None;
        self.moved.notify_all();
    }

    pub fn fail_next(&self, decodes: usize) {
        self.state.lock().unwrap().failures = decodes;
    }

    pub fn batches(&self) -> Vec<Vec<Entry>> {
        self.state.lock().unwrap().batches.clone()
    }

    pub fn released(&self) -> Vec<u32> {
        self.state.lock().unwrap().released.clone()
    }

    pub fn forgotten(&self) -> usize {
        self.state.lock().unwrap().forgotten
    }

    pub fn living(&self) -> usize {
        self.state.lock().unwrap().tokens.len()
    }
}

impl Pulse for Script {
    fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    fn stop(&self) {
        self.state.lock().unwrap().stopped = true;
        self.moved.notify_all();
    }
}

/// The engine that follows a script.
pub struct FakeEngine {
    pub script: Arc<Script>,
    pub sequences: u32,
    rows: Vec<Option<Vec<f32>>>,
}

impl FakeEngine {
    pub fn new(script: Arc<Script>, sequences: u32) -> Self {
        Self { script, sequences, rows: Vec::new() }
    }
}

fn row(tokens: &[u32]) -> Vec<f32> {
    let split = tokens.iter().position(|&token| token == u32::from(b'|')).expect("a prompt ends with |");
    let at = tokens.len() - split - 1;
    let next = if at < split { tokens[at] } else { END };
    if next == u32::from(b'!') {
        return vec![f32::NAN; 257];
    }
    let mut row = vec![0.0; 257];
    row[next as usize] = 9.0;
    row
}

impl Engine for FakeEngine {
    fn decode(&mut self, batch: &[Entry]) -> Result<(), EngineError> {
        let mut state = self.script.state.lock().unwrap();
        state.batches.push(batch.to_vec());
        self.script.moved.notify_all();
        while state.permits == Some(0) && !state.stopped {
            state = self.script.moved.wait(state).unwrap();
        }
        if state.stopped {
            return Err(EngineError::Stopped);
        }
        state.permits = state.permits.map(|permits| permits - 1);
        if state.failures > 0 {
            state.failures -= 1;
            return Err(EngineError::Failed);
        }
        self.script.beats.fetch_add(1, Ordering::Relaxed);
        self.rows.clear();
        assert!(batch.is_sorted_by_key(|entry| entry.sequence), "sequences ascend");
        for entry in batch {
            assert!(entry.sequence < self.sequences);
            let tokens = state.tokens.entry(entry.sequence).or_default();
            assert_eq!(
                tokens.len(),
                entry.position as usize,
                "positions come in order, in a sequence that was released"
            );
            tokens.push(entry.token);
            self.rows.push(entry.wants_logits.then(|| row(tokens)));
        }
        Ok(())
    }

    fn logits(&self, entry: usize) -> Option<&[f32]> {
        self.rows.get(entry)?.as_deref()
    }

    fn release(&mut self, sequence: u32) {
        let mut state = self.script.state.lock().unwrap();
        state.tokens.remove(&sequence);
        state.released.push(sequence);
    }

    fn forget(&mut self) {
        let mut state = self.script.state.lock().unwrap();
        assert!(state.tokens.is_empty());
        state.forgotten += 1;
    }

    fn pulse(&self) -> Arc<dyn Pulse> {
        self.script.clone()
    }
}

/// Bytes as tokens.
pub struct FakeVocabulary;

impl Vocabulary for FakeVocabulary {
    fn size(&self) -> u32 {
        257
    }

    fn tokenize(&self, text: &str, _parse_special: bool) -> Result<Zeroizing<Vec<u32>>, EngineError> {
        Ok(Zeroizing::new(text.bytes().map(u32::from).collect()))
    }

    fn answer_bytes(&self, token: u32) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(u8::try_from(token).into_iter().collect())
    }

    fn shown_bytes(&self, token: u32) -> Zeroizing<Vec<u8>> {
        self.answer_bytes(token)
    }

    fn ends_generation(&self, token: u32) -> bool {
        token == END
    }
}
