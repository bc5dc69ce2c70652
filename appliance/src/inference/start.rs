//! Loads a model and starts the threads that serve it.

use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{Builder, available_parallelism};
use std::time::{Duration, Instant};

use llama::{Backend, Context, ContextError, ContextOptions, LoadError, LoadOptions, Model};

use super::engine::{Engine, Pulse, Vocabulary};
use super::intake::{self, Submitted};
use super::job::{Job, ModelFacts, Status, Submit, SubmitError};
use super::llama_engine::{LlamaEngine, LlamaVocabulary};
use super::scheduler::{Ended, Scheduler as Work, Sizes};
use super::shared::Shared;
use super::stall::{EndProcess, Ending, StallLimits, watch};

/// Stack of the tokenizer's thread: regular expressions of some vocabularies recurse over long texts.
const INTAKE_STACK: usize = 64 * 1024 * 1024;

/// Stack of the engine's thread, as llama.cpp has on a main thread.
const ENGINE_STACK: usize = 8 * 1024 * 1024;

/// What the deployment document says about the engine, and what happens when it dies.
#[derive(Clone)]
pub struct Settings {
    /// `[engine]`.
    pub engine: deployment::Engine,
    /// `limits.queue_requests`.
    pub queue_requests: u32,
    /// Called when the engine stands still for too long or fails for good: [`super::end_process`].
    pub end: EndProcess,
}

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file could not be loaded.
    #[error("cannot load the model")]
    Load(#[from] LoadError),
    /// No memory or threads for the context.
    #[error("cannot make a context of {context_tokens} tokens for {sequences} sequences")]
    Context {
        /// Tokens of one sequence.
        context_tokens: u32,
        /// Sequences.
        sequences: u32,
        /// What failed.
        #[source]
        source: ContextError,
    },
    /// A thread did not start.
    #[error("cannot start the {name} thread")]
    Thread {
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl StartError {
    /// Refusal code for the console.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Load(_) => "model-load",
            Self::Context { .. } => "engine-context",
            Self::Thread { .. } => "engine-thread",
        }
    }
}

/// The door to the running scheduler. The threads end when the last clone is dropped and all work is done, or at
/// [`Scheduler::stop`].
#[derive(Clone)]
pub struct Scheduler {
    jobs: mpsc::Sender<Submitted>,
    shared: Arc<Shared>,
    pulse: Arc<dyn Pulse>,
}

/// Loads the model at `path` (`/proc/self/fd/N` for a memfd) and starts serving it. `progress` gets 0 to 1.
///
/// The context of a sequence is the document's, or the one the model was trained with if that is smaller; [`ModelFacts`] says
/// which. The file must have passed `crates/gguf`.
///
/// # Errors
/// [`StartError`]
pub fn start(
    backend: Backend,
    path: &Path,
    settings: &Settings,
    mut progress: impl FnMut(f32),
) -> Result<Scheduler, StartError> {
    let mut report = |share| {
        progress(share);
        true
    };
    let engine = &settings.engine;
    let model = Arc::new(Model::load(backend, path, &LoadOptions { repack: engine.repack }, &mut report)?);
    let trained = model.trained_context();
    let context_tokens = if trained == 0 { engine.context_tokens } else { engine.context_tokens.min(trained) };
    let sequences = engine.parallel_sequences;
    let threads = engine.threads.unwrap_or_else(cores);
    let options = ContextOptions {
        context_tokens,
        sequences,
        batch_tokens: engine.prefill_chunk_tokens.saturating_add(sequences),
        threads,
    };
    let context = Context::new(model.clone(), options).map_err(|source| StartError::Context {
        context_tokens,
        sequences,
        source,
    })?;
    let facts = facts(&model, context_tokens);
    let sizes = Sizes { sequences, context_tokens, prefill_chunk_tokens: engine.prefill_chunk_tokens };
    start_with(Box::new(LlamaEngine::new(context)), Arc::new(LlamaVocabulary(model)), facts, sizes, settings)
}

/// Starts the threads over any engine.
///
/// # Errors
/// [`StartError::Thread`]
pub fn start_with(
    engine: Box<dyn Engine>,
    vocabulary: Arc<dyn Vocabulary>,
    facts: ModelFacts,
    sizes: Sizes,
    settings: &Settings,
) -> Result<Scheduler, StartError> {
    let limits = StallLimits {
        unready: Duration::from_secs(settings.engine.stall_unready_s.into()),
        exit: Duration::from_secs(settings.engine.stall_exit_s.into()),
    };
    start_limited(engine, vocabulary, facts, sizes, settings, limits)
}

pub(super) fn start_limited(
    engine: Box<dyn Engine>,
    vocabulary: Arc<dyn Vocabulary>,
    facts: ModelFacts,
    sizes: Sizes,
    settings: &Settings,
    limits: StallLimits,
) -> Result<Scheduler, StartError> {
    let shared = Arc::new(Shared::new(Arc::new(facts), sizes.sequences, settings.queue_requests));
    let pulse = engine.pulse();
    let (jobs, submitted) = mpsc::channel();
    let (to_work, prepared) = mpsc::channel();

    let (for_intake, words) = (shared.clone(), vocabulary.clone());
    spawn("lethe-intake", INTAKE_STACK, move || {
        intake::run(&submitted, &to_work, words.as_ref(), sizes.context_tokens, &for_intake);
    })?;
    let (for_watch, watched, end) = (Arc::downgrade(&shared), pulse.clone(), settings.end.clone());
    spawn("lethe-watch", 128 * 1024, move || watch(&for_watch, watched.as_ref(), limits, &end))?;
    let (for_work, end) = (shared.clone(), settings.end.clone());
    spawn("lethe-engine", ENGINE_STACK, move || {
        // tells of a panic too: the thread's end without a word would leave clients waiting
        let guard = EndGuard { shared: for_work.clone(), end, asked: false };
        let ended = Work::new(engine, vocabulary, for_work, sizes).run(&prepared);
        guard.close(ended);
    })?;
    Ok(Scheduler { jobs, shared, pulse })
}

struct EndGuard {
    shared: Arc<Shared>,
    end: EndProcess,
    asked: bool,
}

impl EndGuard {
    fn close(mut self, ended: Ended) {
        self.asked = ended == Ended::Asked;
    }
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.shared.end();
        if !self.asked {
            (self.end)(Ending::Failed);
        }
    }
}

impl Scheduler {
    /// Ends the running decode and the threads; every unfinished job fails. For an orderly exit of the process.
    pub fn stop(&self) {
        self.shared.end();
        self.pulse.stop();
    }
}

impl Submit for Scheduler {
    fn submit(&self, job: Job) -> Result<(), SubmitError> {
        let place = self.shared.enter()?;
        let submitted = Submitted { job, at: Instant::now(), place };
        self.jobs.send(submitted).map_err(|_| SubmitError::NotReady)
    }

    fn status(&self) -> Status {
        self.shared.status()
    }

    fn facts(&self) -> Arc<ModelFacts> {
        self.shared.facts()
    }
}

fn facts(model: &Model, context_tokens: u32) -> ModelFacts {
    let vocabulary = model.vocabulary();
    let text = |token: Option<u32>| token.map(|token| vocabulary.text(token)).unwrap_or_default();
    ModelFacts {
        architecture: model.architecture(),
        chat_template: model.chat_template(),
        bos_token: text(vocabulary.bos()),
        eos_token: text(vocabulary.eos()),
        vocabulary: vocabulary.size(),
        context_tokens,
    }
}

fn cores() -> u32 {
    available_parallelism().map_or(1, |cores| u32::try_from(NonZeroUsize::get(cores)).unwrap_or(1))
}

fn spawn(name: &'static str, stack: usize, work: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
    let thread = Builder::new().name(name.to_owned()).stack_size(stack).spawn(work);
    thread.map(drop).map_err(|source| StartError::Thread { name, source })
}
