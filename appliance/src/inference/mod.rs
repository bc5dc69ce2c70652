//! From a typed job to a stream of text: the engine trait, the scheduler, and llama.cpp behind them.

mod job;

pub use job::{
    Candidate, Event, Failure, Finish, Job, Logprob, ModelFacts, Sampling, Status, Submit, SubmitError, Timings, Usage,
};
