//! One answer in the making.

use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::answer::Answer;
use super::candidates::NotFinite;
use super::engine::{Entry, Vocabulary};
use super::job::{Candidate, Event, Finish, Job, Logprob, Timings, Usage};
use super::outbox::Outbox;
use super::sampler::{Likelihood, Sampler, Scratch};
use super::shared::Place;

/// A job whose prompt is tokenized.
pub(super) struct Prepared {
    pub job: Job,
    pub prompt: Zeroizing<Vec<u32>>,
    pub submitted: Instant,
    pub place: Place,
}

/// A job that holds a sequence.
pub(super) struct Generation {
    pub sequence: u32,
    pub outbox: Outbox,
    pub deadline: Instant,
    pub started: Instant,
    prompt: Zeroizing<Vec<u32>>,
    /// Tokens of the prompt that are in batches or done.
    fed: usize,
    /// The last token chosen; not in a batch yet.
    next: Option<u32>,
    /// Entry of the running batch that yields the next token.
    entry: Option<usize>,
    sampler: Sampler,
    answer: Answer,
    ignore_eos: bool,
    max_tokens: u32,
    produced: u32,
    queued: Duration,
    first_token: Option<Instant>,
    _place: Place,
}

impl Generation {
    /// Gives a job its sequence. `room` is the most tokens its answer may have.
    pub(super) fn new(prepared: Prepared, sequence: u32, room: u32) -> Self {
        let Prepared { job, prompt, submitted, place } = prepared;
        let started = Instant::now();
        let mut outbox = Outbox::new(job.events);
        outbox.start(u32::try_from(prompt.len()).unwrap_or(u32::MAX));
        Self {
            sequence,
            outbox,
            deadline: job.deadline,
            started,
            fed: 0,
            next: None,
            entry: None,
            sampler: Sampler::new(job.sampling, &prompt),
            answer: Answer::new(job.stop),
            ignore_eos: job.ignore_eos,
            max_tokens: job.max_tokens.min(room),
            produced: 0,
            queued: started.duration_since(submitted),
            first_token: None,
            prompt,
            _place: place,
        }
    }

    /// True while tokens of the prompt are left.
    pub(super) fn prefills(&self) -> bool {
        self.fed < self.prompt.len()
    }

    /// Tokens of the prompt that are left.
    pub(super) fn unread(&self) -> usize {
        self.prompt.len() - self.fed
    }

    /// True when the answer may have no token at all.
    pub(super) fn wants_nothing(&self) -> bool {
        self.max_tokens == 0
    }

    /// Adds its next token, or up to `chunk` tokens of its prompt, to a batch.
    pub(super) fn feed(&mut self, chunk: usize, batch: &mut Vec<Entry>) {
        self.entry = None;
        if let Some(token) = self.next.take() {
            let position = u32::try_from(self.prompt.len()).unwrap_or(u32::MAX) + self.produced - 1;
            self.entry = Some(batch.len());
            batch.push(Entry { sequence: self.sequence, position, token, wants_logits: true });
            return;
        }
        let end = self.prompt.len().min(self.fed.saturating_add(chunk));
        let tokens = self.prompt.get(self.fed..end).unwrap_or_default();
        for (position, &token) in (u32::try_from(self.fed).unwrap_or(u32::MAX)..).zip(tokens) {
            let wants_logits = position as usize + 1 == self.prompt.len();
            if wants_logits {
                self.entry = Some(batch.len());
            }
            batch.push(Entry { sequence: self.sequence, position, token, wants_logits });
        }
        self.fed = end;
    }

    /// The entry of the batch that yields its next token.
    pub(super) fn entry(&self) -> Option<usize> {
        self.entry
    }

    /// Chooses a token from the logits and adds it to the answer. Answers why the generation ends, if it does.
    pub(super) fn advance(
        &mut self,
        logits: &[f32],
        vocabulary: &dyn Vocabulary,
        scratch: &mut Scratch,
    ) -> Result<Option<Finish>, NotFinite> {
        let token = self.sampler.choose(logits, scratch)?;
        self.first_token.get_or_insert_with(Instant::now);
        if !self.ignore_eos && vocabulary.ends_generation(token) {
            return Ok(Some(Finish::Stop));
        }
        self.produced += 1;
        let likelihood = self.sampler.likelihood(logits, token, scratch)?;
        let logprob = likelihood.map(|likelihood| shown(token, &likelihood, vocabulary));
        let piece = self.answer.push(&vocabulary.answer_bytes(token), logprob);
        let stopped = piece.stopped;
        self.outbox.add(piece);
        if stopped {
            return Ok(Some(Finish::Stop));
        }
        if self.produced >= self.max_tokens {
            return Ok(Some(Finish::Length));
        }
        self.next = Some(token);
        Ok(None)
    }

    /// Writes the last event and gives up everything but the undelivered rest.
    pub(super) fn finish(mut self, finish: Finish) -> Outbox {
        // after a stop string nothing is held any more, so this is empty then
        self.outbox.add(self.answer.finish());
        let prompt_tokens = u32::try_from(self.prompt.len()).unwrap_or(u32::MAX);
        let now = Instant::now();
        let timings = Timings {
            queued: self.queued,
            prefill: self.first_token.unwrap_or(now).duration_since(self.started),
            decode: self.first_token.map_or(Duration::ZERO, |first| now.duration_since(first)),
        };
        let usage = Usage { prompt_tokens, completion_tokens: self.produced };
        self.outbox.end(Event::Done { finish, usage, timings });
        self.outbox
    }

    /// Ends without an answer.
    pub(super) fn fail(mut self, failure: super::job::Failure) -> Outbox {
        self.outbox.end(Event::Failed(failure));
        self.outbox
    }
}

fn shown(token: u32, likelihood: &Likelihood, vocabulary: &dyn Vocabulary) -> Logprob {
    let candidate = |token, logprob| Candidate { token, bytes: vocabulary.shown_bytes(token), logprob };
    Logprob {
        chosen: candidate(token, likelihood.chosen),
        top: likelihood.top.iter().map(|&(token, logprob)| candidate(token, logprob)).collect(),
    }
}
