//! Jobs and their outcomes, for the tests of this module.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::job::{Event, Failure, Finish, Job, Logprob, Sampling, Timings, Usage};

/// A greedy job and the end its events come out of.
pub fn ask(prompt: &str) -> (Job, mpsc::Receiver<Event>) {
    ask_through(prompt, 4096)
}

/// Likewise, with room for so many events.
pub fn ask_through(prompt: &str, room: usize) -> (Job, mpsc::Receiver<Event>) {
    let (events, receiver) = mpsc::channel(room);
    let sampling = Sampling {
        temperature: 0.0,
        top_p: 1.0,
        top_k: 0,
        min_p: 0.0,
        seed: 0,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        repeat_penalty: 1.0,
        logit_bias: Vec::new(),
        logprobs: None,
    };
    let job = Job {
        prompt: Zeroizing::new(prompt.to_owned()),
        parse_special: true,
        max_tokens: 1000,
        stop: Vec::new(),
        ignore_eos: false,
        sampling,
        deadline: Instant::now() + Duration::from_secs(120),
        events,
    };
    (job, receiver)
}

/// Everything a job sent.
#[derive(Default)]
pub struct Outcome {
    pub prompt_tokens: Option<u32>,
    pub text: String,
    pub pieces: usize,
    pub logprobs: Vec<Logprob>,
    pub done: Option<(Finish, Usage, Timings)>,
    pub failure: Option<Failure>,
}

impl Outcome {
    pub fn finish(&self) -> Option<Finish> {
        self.done.map(|(finish, ..)| finish)
    }

    pub fn tokens(&self) -> Vec<u32> {
        self.logprobs.iter().map(|logprob| logprob.chosen.token).collect()
    }
}

/// Waits for the end of a job.
pub fn outcome(mut receiver: mpsc::Receiver<Event>) -> Outcome {
    let mut outcome = Outcome::default();
    while let Some(event) = receiver.blocking_recv() {
        match event {
            Event::Started { prompt_tokens } => outcome.prompt_tokens = Some(prompt_tokens),
            Event::Text { text, mut logprobs } => {
                outcome.text.push_str(&text);
                outcome.pieces += 1;
                outcome.logprobs.append(&mut logprobs);
            }
            Event::Done { finish, usage, timings } => outcome.done = Some((finish, usage, timings)),
            Event::Failed(failure) => outcome.failure = Some(failure),
        }
    }
    outcome
}
