//! From submission to a tokenized prompt, on a thread of its own: a long prompt is tokenized while others decode.

use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use super::engine::Vocabulary;
use super::generation::Prepared;
use super::job::{Event, Failure, Job};
use super::shared::{Place, Shared};

/// A job as it was handed over.
pub(super) struct Submitted {
    pub job: Job,
    pub at: Instant,
    pub place: Place,
}

/// Tokenizes until every submitter is gone or the scheduler ended.
pub(super) fn run(
    from: &Receiver<Submitted>,
    to: &Sender<Prepared>,
    vocabulary: &dyn Vocabulary,
    context_tokens: u32,
    shared: &Shared,
) {
    while let Ok(submitted) = from.recv() {
        let prepared = prepare(submitted, vocabulary, context_tokens);
        shared.step();
        if let Some(prepared) = prepared
            && to.send(prepared).is_err()
        {
            return;
        }
    }
}

fn prepare(submitted: Submitted, vocabulary: &dyn Vocabulary, context_tokens: u32) -> Option<Prepared> {
    let Submitted { mut job, at, place } = submitted;
    if job.events.is_closed() {
        return None;
    }
    match check(&mut job, vocabulary, context_tokens) {
        Ok(prompt) => Some(Prepared { job, prompt, submitted: at, place }),
        Err(failure) => {
            // a channel that is full before the first event has no reader worth waiting for
            let _ = job.events.try_send(Event::Failed(failure));
            None
        }
    }
}

fn check(
    job: &mut Job,
    vocabulary: &dyn Vocabulary,
    context_tokens: u32,
) -> Result<zeroize::Zeroizing<Vec<u32>>, Failure> {
    if Instant::now() >= job.deadline {
        return Err(Failure::Timeout);
    }
    let size = vocabulary.size();
    if let Some(&(token, _)) = job.sampling.logit_bias.iter().find(|&&(token, _)| token >= size) {
        return Err(Failure::NoSuchToken { token, vocabulary: size });
    }
    let tokens = vocabulary.tokenize(&job.prompt, job.parse_special).map_err(|_| Failure::Engine)?;
    // the text is not needed any more
    job.prompt = zeroize::Zeroizing::new(String::new());
    let prompt_tokens = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
    if prompt_tokens >= context_tokens {
        return Err(Failure::ContextExceeded { prompt_tokens, context_tokens });
    }
    Ok(tokens)
}
