//! What the API hands to the scheduler, and what comes back. No socket and no llama.cpp type in here.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use zeroize::Zeroizing;

/// Text and vocabulary facts of the loaded model that the API needs.
#[derive(Debug, Clone)]
pub struct ModelFacts {
    /// `general.architecture` of the GGUF.
    pub architecture: String,
    /// Jinja source of `tokenizer.chat_template`, where the model has one.
    pub chat_template: Option<String>,
    /// Text of the beginning-of-sequence token, or the empty string.
    pub bos_token: String,
    /// Text of the end-of-sequence token, or the empty string.
    pub eos_token: String,
    /// Number of tokens of the vocabulary.
    pub vocabulary: u32,
    /// Context window of one sequence, in tokens.
    pub context_tokens: u32,
}

/// Sampling parameters, already checked against their ranges.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// 0 is greedy.
    pub temperature: f32,
    /// Nucleus; 1 switches it off.
    pub top_p: f32,
    /// 0 switches it off.
    pub top_k: u32,
    /// 0 switches it off.
    pub min_p: f32,
    /// Seed of the sampler; drawn at random by the API where the request has none.
    pub seed: u64,
    /// Added once for a token that occurred (OpenAI's definition: over the answer's tokens).
    pub presence_penalty: f32,
    /// Added for each occurrence of a token.
    pub frequency_penalty: f32,
    /// llama.cpp's repeat penalty over the last 64 tokens of prompt and answer; 1 switches it off.
    pub repeat_penalty: f32,
    /// Token id and bias.
    pub logit_bias: Vec<(u32, f32)>,
    /// Alternatives to report for each token; `None`: no log probabilities at all.
    pub logprobs: Option<u32>,
}

/// One generation.
pub struct Job {
    /// The effective prompt as text; special tokens in it are parsed as such when `parse_special`.
    pub prompt: Zeroizing<String>,
    /// True for a rendered chat template, false for the raw prompt of `/v1/completions`.
    pub parse_special: bool,
    /// Most tokens of the answer; cut to what the context leaves.
    pub max_tokens: u32,
    /// Strings that end the answer and are not part of it.
    pub stop: Vec<Zeroizing<String>>,
    /// Go on after an end-of-generation token.
    pub ignore_eos: bool,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The job ends with [`Finish::Time`] when this moment passes, queue time included.
    pub deadline: Instant,
    /// Where the events go. A closed receiver ends the generation within one token.
    pub events: mpsc::Sender<Event>,
}

impl fmt::Debug for Job {
    /// Shows sizes only: a job holds a client's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("prompt_bytes", &self.prompt.len()).field("max_tokens", &self.max_tokens).finish()
    }
}

/// What a generation sends, in order: `Started`, any number of `Text`, then `Done` or `Failed` once.
pub enum Event {
    /// The prompt was tokenized and a sequence is free for it; prefill begins.
    Started {
        /// Tokens of the prompt.
        prompt_tokens: u32,
    },
    /// A piece of the answer: whole UTF-8, never part of a stop string.
    Text {
        /// The text; may be empty when only log probabilities are ready.
        text: Zeroizing<String>,
        /// One entry a token, where the job asked for them.
        logprobs: Vec<Logprob>,
    },
    /// The answer is complete.
    Done {
        /// Why it ended.
        finish: Finish,
        /// Token counts.
        usage: Usage,
        /// How long the parts took.
        timings: Timings,
    },
    /// No answer, or no more of it.
    Failed(Failure),
}

/// Log probability of one answered token.
pub struct Logprob {
    /// The token and its log probability.
    pub chosen: Candidate,
    /// The most likely tokens, best first.
    pub top: Vec<Candidate>,
}

/// A token as OpenAI's `logprobs` shows it.
pub struct Candidate {
    /// Token id.
    pub token: u32,
    /// Bytes of its text; may be part of a UTF-8 character.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Natural logarithm of its probability at temperature 1.
    pub logprob: f32,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// End-of-generation token or a stop string.
    Stop,
    /// `max_tokens` or the context is used up.
    Length,
    /// The time budget is used up.
    Time,
}

/// Token counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens of the answer, the end token not counted.
    pub completion_tokens: u32,
}

/// Durations of the parts of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// From submission to the start of prefill.
    pub queued: Duration,
    /// Prefill.
    pub prefill: Duration,
    /// From the first token to the last.
    pub decode: Duration,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The prompt does not leave room for one token.
    #[error("prompt of {prompt_tokens} tokens does not fit the context of {context_tokens}")]
    ContextExceeded {
        /// Tokens of the prompt.
        prompt_tokens: u32,
        /// Tokens of the context window.
        context_tokens: u32,
    },
    /// A biased token id is outside the vocabulary.
    #[error("logit_bias names token {token}, the vocabulary has {vocabulary}")]
    NoSuchToken {
        /// The id.
        token: u32,
        /// Size of the vocabulary.
        vocabulary: u32,
    },
    /// The time budget ended before the first token.
    #[error("time budget used up while waiting")]
    Timeout,
    /// The engine failed.
    #[error("engine failed")]
    Engine,
}

/// Why a job was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The queue is full.
    #[error("queue is full")]
    QueueFull {
        /// Seconds after which a place is likely.
        retry_after_s: u32,
    },
    /// The engine stopped making progress or ended.
    #[error("engine is not ready")]
    NotReady,
}

/// Whether the engine makes progress, and how much it has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// False when work waits and nothing moved for the document's `stall_unready_s`.
    pub ready: bool,
    /// Sequences that generate.
    pub active: u32,
    /// Jobs that wait.
    pub queued: u32,
}

/// The door to the scheduler that the API holds; tests put a fake behind it.
pub trait Submit: Send + Sync + 'static {
    /// Hands a job over. Its events come through [`Job::events`].
    ///
    /// # Errors
    /// [`SubmitError`] when the queue is full or the engine stands still; the job is dropped and wiped.
    fn submit(&self, job: Job) -> Result<(), SubmitError>;

    /// What the engine is doing.
    fn status(&self) -> Status;

    /// Facts of the loaded model.
    fn facts(&self) -> Arc<ModelFacts>;
}
