//! Sequences over a model: decode, logits, release.
// UNSAFETY: llama-cpp-2's context hides thread pools, the abort callback and the evaluation callback.
#![expect(unsafe_code)]

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use llama_cpp_sys_2 as sys;

use crate::batch::{Batch, Row};
use crate::decode_error::DecodeError;
use crate::model::Model;
use crate::pool::Pool;
use crate::rows::{Rows, on_node};

/// `GGML_MAX_N_THREADS`.
const MAX_THREADS: u32 = 512;

/// Sizes of a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextOptions {
    /// Tokens one sequence may hold (prompt and answer).
    pub context_tokens: u32,
    /// Sequences that live at the same time.
    pub sequences: u32,
    /// Most tokens of one batch.
    pub batch_tokens: u32,
    /// Threads that compute, the calling one included.
    pub threads: u32,
}

/// Why a context could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// A size is zero or more than llama.cpp can hold.
    #[error("{0} is zero or too large")]
    Size(&'static str),
    /// The thread pool did not start.
    #[error("cannot start {0} engine threads")]
    Threads(u32),
    /// llama.cpp refused, mostly for want of memory.
    #[error("llama.cpp makes no context of this size")]
    Refused,
    /// The first decode, which warms up and finds the rows to wipe, failed.
    #[error("first decode failed")]
    WarmUp(#[source] DecodeError),
}

/// What other threads share with a running decode: they may stop it and see that it moves.
#[derive(Debug, Clone, Default)]
pub struct Signals(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    steps: AtomicU64,
}

impl Signals {
    /// Makes the running decode, and every later one, end with [`DecodeError::Stopped`].
    pub fn stop(&self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }

    /// Counts the operations of all decodes so far; a count that stands still while a decode runs means a stall.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.0.steps.load(Ordering::Relaxed)
    }
}

/// How soon the keys and values of a finished sequence are overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wiping {
    /// By [`Context::release`].
    AtRelease,
    /// By [`Context::clear`] alone: this architecture's cache has no slice for each sequence.
    AtClear,
}

/// A llama.cpp context with its threads.
pub struct Context {
    raw: NonNull<sys::llama_context>,
    rows: *mut Rows,
    signals: Signals,
    wiping: Wiping,
    options: ContextOptions,
    vocabulary: u32,
    batch_tokens: usize,
    /// Cells written by each sequence since its release.
    written: Vec<u32>,
    // dropped after the context is freed (see Drop): the context uses both
    _pool: Pool,
    _model: Arc<Model>,
}

// SAFETY: llama.cpp ties a context to no thread; it wants one caller at a time, which `&mut self` gives.
unsafe impl Send for Context {}

impl Context {
    /// Allocates the cache (all of it, zeroed), starts the threads, and decodes one token to warm up.
    ///
    /// # Errors
    /// [`ContextError`]
    pub fn new(model: Arc<Model>, options: ContextOptions) -> Result<Self, ContextError> {
        let total = check(&options)?;
        let threads = i32::try_from(options.threads).map_err(|_| ContextError::Size("threads"))?;
        let pool = Pool::start(options.threads).ok_or(ContextError::Threads(options.threads))?;
        let signals = Signals::default();
        let rows = Box::into_raw(Box::new(Rows::default()));

        // SAFETY: returns a plain struct by value.
        let mut params = unsafe { sys::llama_context_default_params() };
        params.n_ctx = total;
        params.n_batch = options.batch_tokens;
        params.n_ubatch = options.batch_tokens;
        params.n_seq_max = options.sequences;
        // one row of logits a sequence: without this the buffer would hold a row for every token of a batch
        params.n_outputs_max = options.sequences;
        params.n_outputs_max_per_seq = 1;
        params.n_threads = threads;
        params.n_threads_batch = threads;
        // The CPU's flash attention adds values up in 16 bits, in another order for short and for long batches: the same prompt alone
        // and among others then parts where the two best logits are 0.5 apart (64 prompts, SmolLM2). Without it: 0.02.
        params.flash_attn_type = sys::LLAMA_FLASH_ATTN_TYPE_DISABLED;
        // own slice for each sequence: what one writes no other's attention can read, and it can be wiped alone
        params.kv_unified = false;
        params.no_perf = true;
        params.abort_callback = Some(stop_asked);
        params.abort_callback_data = Arc::as_ptr(&signals.0).cast_mut().cast::<c_void>();
        params.cb_eval = Some(on_node);
        params.cb_eval_user_data = rows.cast::<c_void>();

        // SAFETY: the model is alive (and kept by self); the callback data are the shared state, kept alive by `signals`, and `rows`, which is
        // freed only after the context.
        let raw = unsafe { sys::llama_init_from_model(model.raw(), params) };
        let Some(raw) = NonNull::new(raw) else {
            // SAFETY: made by Box::into_raw above; no context exists that could use it.
            drop(unsafe { Box::from_raw(rows) });
            return Err(ContextError::Refused);
        };
        // SAFETY: both pointers are valid; Drop frees the context before the pool.
        unsafe { sys::llama_attach_threadpool(raw.as_ptr(), pool.raw(), pool.raw()) };
        let vocabulary = model.vocabulary().size();
        let written = vec![0; options.sequences as usize];
        let wiping = Wiping::AtClear;
        // SAFETY: the context is valid; reads one field. llama.cpp lowers it to the context's size.
        let batch_tokens = unsafe { sys::llama_n_batch(raw.as_ptr()) }.min(options.batch_tokens) as usize;
        let mut context =
            Self { raw, rows, signals, wiping, options, vocabulary, batch_tokens, written, _pool: pool, _model: model };
        context.warm_up().map_err(ContextError::WarmUp)?;
        Ok(context)
    }

    /// Decodes one token: weights come into the caches of the machine, and [`Rows`] learns the addresses.
    fn warm_up(&mut self) -> Result<(), DecodeError> {
        let decoded = self.decode_blank();
        // SAFETY: `rows` is the live box made in `new`; nothing decodes now, so no other reference exists.
        let sliced = unsafe { (*self.rows).has_slices_for(self.options.sequences) };
        self.wiping = if sliced { Wiping::AtRelease } else { Wiping::AtClear };
        // the blank token is nobody's secret: its cell is freed, and its traces in the activations may stay
        self.release(0);
        decoded
    }

    /// Decodes the beginning-of-sequence token alone in the empty sequence 0, noting where cache and activations lie now.
    fn decode_blank(&mut self) -> Result<(), DecodeError> {
        let token = self._model.vocabulary().bos().unwrap_or(0);
        let mut batch = Batch::new(1);
        batch.add(0, 0, token, true);
        // SAFETY: `rows` is the live box made in `new`; nothing decodes now, so no other reference exists.
        unsafe { (*self.rows).look() };
        let decoded = self.decode(&batch);
        // SAFETY: as above; the decode is over.
        unsafe { (*self.rows).settle() };
        decoded
    }

    /// Computes a batch. The logits of its rows can be read until the next call.
    ///
    /// # Errors
    /// [`DecodeError`]
    pub fn decode(&mut self, batch: &Batch) -> Result<(), DecodeError> {
        self.note_written(batch)?;
        let count = i32::try_from(batch.len()).map_err(|_| DecodeError::Batch)?;
        let mut sequences: Vec<*mut i32> =
            batch.sequences.iter().map(|sequence| (&raw const *sequence).cast_mut()).collect();
        let mut ones = vec![1i32; batch.len()];
        let raw_batch = sys::llama_batch {
            n_tokens: count,
            token: batch.tokens.as_ptr().cast_mut(),
            embd: std::ptr::null_mut(),
            pos: batch.positions.as_ptr().cast_mut(),
            n_seq_id: ones.as_mut_ptr(),
            seq_id: sequences.as_mut_ptr(),
            logits: batch.wants_logits.as_ptr().cast_mut(),
        };
        // SAFETY: every array has `count` entries and outlives the call; llama_decode only reads them (the struct's pointers are
        // mutable for other users of it). Sequences and tokens were checked against their ranges.
        let status = unsafe { sys::llama_decode(self.raw.as_ptr(), raw_batch) };
        match status {
            0 => Ok(()),
            1 => Err(DecodeError::NoRoom),
            2 => Err(DecodeError::Stopped),
            -1 => Err(DecodeError::Batch),
            status => Err(DecodeError::Failed(status)),
        }
    }

    /// Refuses what llama.cpp would abort on, and counts the cells each sequence will have written.
    fn note_written(&mut self, batch: &Batch) -> Result<(), DecodeError> {
        if batch.is_empty() || batch.len() > self.batch_tokens {
            return Err(DecodeError::Batch);
        }
        let outputs = batch.wants_logits.iter().filter(|&&wanted| wanted != 0).count();
        let tokens_known = batch.tokens.iter().all(|&id| u32::try_from(id).is_ok_and(|id| id < self.vocabulary));
        let positions_fit =
            batch.positions.iter().all(|&at| u32::try_from(at).is_ok_and(|at| at < self.options.context_tokens));
        if outputs > self.options.sequences as usize || !tokens_known || !positions_fit {
            return Err(DecodeError::Batch);
        }
        for &sequence in &batch.sequences {
            let written = usize::try_from(sequence).ok().and_then(|sequence| self.written.get_mut(sequence));
            *written.ok_or(DecodeError::Batch)? += 1;
        }
        Ok(())
    }

    /// Logits of a token of the last batch, one for each token of the vocabulary; `None` when it asked for none.
    #[must_use]
    pub fn logits(&self, row: Row) -> Option<&[f32]> {
        // SAFETY: the context is alive; an index without logits is answered with null.
        let logits = unsafe { sys::llama_get_logits_ith(self.raw.as_ptr(), row.0) };
        if logits.is_null() {
            return None;
        }
        // SAFETY: llama.cpp answers a row of `vocabulary` floats inside its output buffer, which lives until the next decode; that
        // needs `&mut self`, so not while the slice is borrowed.
        Some(unsafe { std::slice::from_raw_parts(logits, self.vocabulary as usize) })
    }

    /// Ends a sequence: its cells are free, and with [`Wiping::AtRelease`] its keys and values are overwritten with zeros.
    pub fn release(&mut self, sequence: u32) {
        let Some(written) = self.written.get_mut(sequence as usize) else { return };
        let rows = std::mem::take(written);
        let Ok(id) = i32::try_from(sequence) else { return };
        // SAFETY: the context is alive, computes nothing (`&mut self`), and the sequence is below n_seq_max. `rows` is the live box
        // made in `new`.
        unsafe {
            sys::llama_memory_seq_rm(sys::llama_get_memory(self.raw.as_ptr()), id, -1, -1);
            if self.wiping == Wiping::AtRelease {
                (*self.rows).wipe_sequence(sequence, rows);
            }
        }
    }

    /// Ends all sequences and overwrites the whole cache, the activations and the logits with zeros.
    pub fn clear(&mut self) {
        self.clear_cache();
        self.clear_scratch();
    }

    /// Overwrites the activations and the logits of the last batch with zeros. Call it while no sequence lives: sequence 0 is
    /// released.
    ///
    /// Costs the time of one token: the activations' buffer may have moved since it was last seen, so a blank token is decoded to
    /// find it, and overwritten with everything else.
    pub fn clear_scratch(&mut self) {
        self.release(0);
        let found = self.decode_blank().is_ok();
        self.release(0);
        if !found {
            return;
        }
        // SAFETY: the context is alive and computes nothing (`&mut self`); `rows` is the live box made in `new` and has just seen
        // the buffers of the last graph. The logits buffer holds at least one row for each sequence once a batch with logits was
        // decoded (llama.cpp reserves max(outputs, n_seq_max) rows).
        unsafe {
            (*self.rows).wipe_activations();
            let logits = sys::llama_get_logits(self.raw.as_ptr());
            if !logits.is_null() {
                std::ptr::write_bytes(logits, 0, self.vocabulary as usize * self.options.sequences as usize);
            }
        }
    }

    fn clear_cache(&mut self) {
        self.written.fill(0);
        // SAFETY: the context is alive and computes nothing (`&mut self`).
        unsafe { sys::llama_memory_clear(sys::llama_get_memory(self.raw.as_ptr()), true) };
    }

    /// When rows are overwritten.
    #[must_use]
    pub fn wiping(&self) -> Wiping {
        self.wiping
    }

    /// The door for other threads to a running decode.
    #[must_use]
    pub fn signals(&self) -> Signals {
        self.signals.clone()
    }

    /// Sizes it was made with.
    #[must_use]
    pub fn options(&self) -> &ContextOptions {
        &self.options
    }

    #[cfg(test)]
    pub(crate) fn traces(&mut self, sequence: u32) -> usize {
        // SAFETY: alive and idle (`&mut self`); `rows` is the live box made in `new`.
        unsafe { (*self.rows).traces(sequence) }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.clear_cache();
        // SAFETY: made by llama_init_from_model, freed once, before the pool and the model (fields drop after this).
        unsafe { sys::llama_free(self.raw.as_ptr()) };
        // SAFETY: made by Box::into_raw in `new`; the only other user, the context, is gone.
        drop(unsafe { Box::from_raw(self.rows) });
    }
}

fn check(options: &ContextOptions) -> Result<u32, ContextError> {
    // SAFETY: reads a constant of llama.cpp.
    let most_sequences = unsafe { sys::llama_max_parallel_sequences() };
    if options.sequences == 0 || options.sequences as usize > most_sequences {
        return Err(ContextError::Size("number of sequences"));
    }
    if options.threads == 0 || options.threads > MAX_THREADS {
        return Err(ContextError::Size("number of threads"));
    }
    if options.batch_tokens < options.sequences || i32::try_from(options.batch_tokens).is_err() {
        return Err(ContextError::Size("batch"));
    }
    if options.context_tokens == 0 {
        return Err(ContextError::Size("context"));
    }
    // llama.cpp rounds each sequence's share up to 256 cells
    let share = options.context_tokens.checked_next_multiple_of(256).ok_or(ContextError::Size("context"))?;
    let total = share.checked_mul(options.sequences).ok_or(ContextError::Size("context"))?;
    i32::try_from(total).map_err(|_| ContextError::Size("context")).map(|_| total)
}

/// Called by ggml before each operation of a graph.
unsafe extern "C" fn stop_asked(shared: *mut c_void) -> bool {
    // SAFETY: the address of the state behind the context's Signals, which outlives the context; all of it is atomic.
    let shared = unsafe { &*shared.cast::<Shared>() };
    shared.steps.fetch_add(1, Ordering::Relaxed);
    shared.stop.load(Ordering::Relaxed)
}

#[cfg(test)]
#[path = "context_tests.rs"]
mod tests;
