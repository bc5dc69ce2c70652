//! From a typed job to a stream of text: the engine trait, the scheduler, and llama.cpp behind them.
//!
//! Three threads: *intake* tokenizes, *engine* decodes batches and chooses tokens, *watch* sees that the engine moves. What
//! outlives an answer: its keys and values until its sequence is released (at once, in the same step), the activations and logits
//! of the last batch until 200 ms without work ([`Engine::forget`]).

mod answer;
#[cfg(test)]
mod asking;
mod candidates;
mod engine;
#[cfg(test)]
mod fake;
mod generation;
mod intake;
mod job;
mod llama_engine;
#[cfg(test)]
mod llama_tests;
mod outbox;
mod random;
mod sampler;
mod scheduler;
#[cfg(test)]
mod scheduler_tests;
mod shared;
mod stall;
mod start;

pub use engine::{Engine, EngineError, Entry, Pulse, Vocabulary};
pub use job::{
    Candidate, Event, Failure, Finish, Job, Logprob, ModelFacts, Sampling, Status, Submit, SubmitError, Timings, Usage,
};
pub use llama_engine::{LlamaEngine, LlamaVocabulary};
pub use scheduler::Sizes;
pub use stall::{EXIT_ENGINE, EndProcess, Ending, StallLimits, end_process};
pub use start::{Scheduler, Settings, StartError, start, start_with};
