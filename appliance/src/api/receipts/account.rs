//! What inference did for one request, written down as it happens.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::Sha256Digest;
use protocol::receipt::event::{Sampling, Usage};

use crate::inference;

/// Longest model id that a receipt repeats, in bytes; the document's are shorter.
const MODEL_BYTES: usize = 128;

/// What is known so far.
#[derive(Debug, Default, Clone)]
pub(super) struct Facts {
    /// The model that was asked for.
    pub model: Option<String>,
    /// `id` of the answer.
    pub chat_id: Option<String>,
    /// Whether the chat template made the prompt.
    pub template: bool,
    /// Digest of the effective prompt.
    pub prompt: Option<Sha256Digest>,
    /// How tokens are chosen.
    pub sampling: Option<Sampling>,
    /// Whether inference began.
    pub forwarded: bool,
    /// Token counts and the reason of the end; only where the answer ended by itself.
    pub usage: Option<Usage>,
}

/// The record of one request.
#[derive(Default)]
pub(in super::super) struct Account(Mutex<Facts>);

impl Account {
    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The model that the request names, whether it is known or not.
    pub(in super::super) fn asks_for(&self, model: &str) {
        if model.len() <= MODEL_BYTES {
            self.facts().model = Some(model.to_owned());
        }
    }

    /// The `id` that the answer will have, and whether a chat template made the prompt.
    pub(in super::super) fn answers_as(&self, chat_id: &str, template: bool) {
        let mut facts = self.facts();
        (facts.chat_id, facts.template) = (Some(chat_id.to_owned()), template);
    }

    /// What the engine is asked.
    pub(in super::super) fn submits(&self, job: &inference::Job) {
        let mut facts = self.facts();
        facts.prompt = Some(Sha256Digest::of(job.prompt.as_bytes()));
        facts.sampling = Some(sampling(job));
    }

    /// The engine began.
    pub(in super::super) fn begins(&self) {
        self.facts().forwarded = true;
    }

    /// The answer ended by itself.
    pub(in super::super) fn ends(&self, usage: inference::Usage, finish: inference::Finish) {
        let finish = match finish {
            inference::Finish::Stop => "stop",
            // as the answer says it
            inference::Finish::Length | inference::Finish::Time => "length",
        };
        self.facts().usage = Some(Usage {
            prompt_tokens: usage.prompt_tokens.into(),
            completion_tokens: usage.completion_tokens.into(),
            finish_reason: finish.to_owned(),
        });
    }

    /// What is known now.
    pub(super) fn known(&self) -> Facts {
        self.facts().clone()
    }
}

/// The values really used. Texts of the client (`stop`) are counted: the request's hash covers what they are.
fn sampling(job: &inference::Job) -> Sampling {
    let from = &job.sampling;
    let mut parameters: BTreeMap<String, String> = [
        ("temperature", from.temperature),
        ("top_p", from.top_p),
        ("min_p", from.min_p),
        ("presence_penalty", from.presence_penalty),
        ("frequency_penalty", from.frequency_penalty),
        ("repeat_penalty", from.repeat_penalty),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_string()))
    .collect();
    parameters.insert("top_k".to_owned(), from.top_k.to_string());
    parameters.insert("ignore_eos".to_owned(), u8::from(job.ignore_eos).to_string());
    parameters.insert("stop".to_owned(), job.stop.len().to_string());
    parameters.insert("logit_bias".to_owned(), from.logit_bias.len().to_string());
    Sampling { seed: from.seed.to_string(), max_tokens: job.max_tokens.into(), parameters }
}
