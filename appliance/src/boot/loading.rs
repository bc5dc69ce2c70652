//! From sealed bytes to a running engine: our own reader first, then llama.cpp, then the chat template.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deployment::Document;

use super::Refused;
use super::available::Available;
use super::model::{ModelError, Stored};
use crate::api::{Render, TemplateError, model_template};
use crate::boot::console;
use crate::inference::{self, EXIT_ENGINE, Ending, Scheduler, Settings, StartError, Submit as _};
use crate::process;

/// A model that answers.
pub struct Loaded {
    /// The door to its scheduler.
    pub scheduler: Scheduler,
    /// Its chat template, if it has one.
    pub template: Option<Arc<dyn Render>>,
    /// Its architecture.
    pub architecture: &'static str,
    /// The compilation of ggml that computes.
    pub kernels: llama::Kernels,
    /// How long our own reader took.
    pub checked_in: Duration,
}

/// Why the model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadingError {
    /// Its tables are not those of a sound GGUF file.
    #[error("the model file is not usable")]
    Gguf(#[source] gguf::Refused),
    /// The engine's cache does not fit into memory.
    #[error(transparent)]
    Memory(ModelError),
    /// The document names kernels that the processor does not run.
    #[error("this processor does not run the {0} kernels")]
    Kernels(llama::Kernels),
    /// The sealed bytes cannot be read.
    #[error("cannot read the stored model")]
    Stored(#[source] io::Error),
    /// Its chat template does not compile.
    #[error(transparent)]
    Template(TemplateError),
    /// llama.cpp or the scheduler did not start.
    #[error("the engine did not start")]
    Engine(#[source] StartError),
}

impl From<LoadingError> for Refused {
    fn from(error: LoadingError) -> Self {
        let code = match &error {
            LoadingError::Gguf(refused) => refused.code(),
            LoadingError::Memory(error) => error.code(),
            LoadingError::Kernels(_) => "engine-kernels",
            LoadingError::Stored(_) => "model-read",
            LoadingError::Template(TemplateError::Date(_)) => "document-invalid",
            LoadingError::Template(TemplateError::Compile(_)) => "model-template",
            LoadingError::Engine(error) => error.code(),
        };
        Self::new(code, &error)
    }
}

/// Checks the stored file's tables, starts the engine over it, and compiles its template. `end` ends the process when
/// llama.cpp gives up.
///
/// # Errors
/// [`LoadingError`]
pub fn load(mut stored: Stored, document: &Document, end: llama::EndHook) -> Result<Loaded, LoadingError> {
    let started = Instant::now();
    let header = gguf::check_reader(stored.reader().map_err(LoadingError::Stored)?).map_err(LoadingError::Gguf)?;
    let checked_in = started.elapsed();
    let settings = Settings {
        engine: document.engine.clone(),
        queue_requests: document.limits.queue_requests,
        end: Arc::new(engine_ended),
    };
    let kernels = kernels(document.engine.kernels)?;
    let repacks = document.engine.repack && kernels.repacks();
    Available::now()
        .require_engine(&document.model, &header, &document.engine, repacks)
        .map_err(LoadingError::Memory)?;
    let backend = llama::Backend::init_with(end, kernels);
    // A mapping outlives the descriptor, which ends with `stored`: nothing can open the bytes again.
    let scheduler = inference::start(backend, &stored.path(), &settings, |_| ()).map_err(LoadingError::Engine)?;
    let template = model_template(&scheduler.facts(), &document.template.date).map_err(LoadingError::Template)?;
    Ok(Loaded { scheduler, template, architecture: header.architecture.name(), kernels: backend.kernels(), checked_in })
}

/// The kernels that a document asks for.
///
/// # Errors
/// [`LoadingError::Kernels`] if the processor does not run them.
pub(super) fn kernels(wanted: deployment::Kernels) -> Result<llama::Kernels, LoadingError> {
    let kernels = match wanted {
        deployment::Kernels::Auto => llama::Kernels::best(),
        deployment::Kernels::Baseline => llama::Kernels::Baseline,
        deployment::Kernels::Avx2 => llama::Kernels::Avx2,
        deployment::Kernels::Avx512 => llama::Kernels::Avx512,
    };
    if kernels.runs_here() { Ok(kernels) } else { Err(LoadingError::Kernels(kernels)) }
}

/// The engine stands still or failed for good: the process ends, and a virtual machine starts again clean.
fn engine_ended(ending: Ending) {
    console::of_process().event(match ending {
        Ending::Stalled => console::Event::EngineStalled,
        Ending::Failed => console::Event::EngineFailed,
    });
    process::end(EXIT_ENGINE)
}
