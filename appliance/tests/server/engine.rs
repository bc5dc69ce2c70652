//! A scripted engine.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lethe_appliance::inference::{
    Candidate, Event, Failure, Finish, Job, Logprob, ModelFacts, Sampling, Status, Submit, SubmitError, Timings, Usage,
};
use zeroize::Zeroizing;

/// What the engine does with every job.
#[derive(Clone)]
pub enum Script {
    /// Says these pieces and ends.
    Say(Vec<&'static str>, Finish),
    /// Says these pieces, each after a wait in milliseconds, and ends.
    SayWithPauses(Vec<(u64, &'static str)>),
    /// Says one token with log probabilities.
    SayWithLogprobs,
    /// Says a piece every few milliseconds until nobody listens.
    Endless,
    /// Says large pieces as fast as they are taken.
    Flood,
    /// Starts after so many milliseconds, and says a word.
    Late(u64),
    /// Starts and says nothing.
    Silent,
    /// Fails before it starts.
    Fail(Failure),
    /// Says a piece and fails.
    FailMidway,
    /// Says a piece and vanishes.
    Vanish,
    /// Does not take the job.
    Refuse(SubmitError),
}

/// What was asked of the engine.
pub struct Seen {
    pub prompt: String,
    pub parse_special: bool,
    pub max_tokens: u32,
    pub stop: Vec<String>,
    pub ignore_eos: bool,
    pub sampling: Sampling,
}

pub struct Engine {
    pub script: Mutex<Script>,
    pub seen: Mutex<Vec<Seen>>,
    pub ready: AtomicBool,
    /// The chat template's source, as the model has it.
    source: Option<&'static str>,
    /// Jobs whose receiver was dropped while they ran.
    pub abandoned: Arc<AtomicUsize>,
}

impl Engine {
    pub fn new(script: Script, source: Option<&'static str>) -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::new(script),
            seen: Mutex::default(),
            ready: AtomicBool::new(true),
            source,
            abandoned: Arc::default(),
        })
    }

    /// Waits until `count` jobs were abandoned.
    pub async fn abandoned(&self, count: usize) -> bool {
        for _ in 0..200 {
            if self.abandoned.load(Ordering::SeqCst) >= count {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

const USAGE: Usage = Usage { prompt_tokens: 3, completion_tokens: 2 };

fn text(text: &str) -> Event {
    Event::Text { text: Zeroizing::new(text.to_owned()), logprobs: Vec::new() }
}

fn done(finish: Finish) -> Event {
    Event::Done { finish, usage: USAGE, timings: Timings::default() }
}

fn candidate(bytes: &[u8], logprob: f32) -> Candidate {
    Candidate { token: 1, bytes: Zeroizing::new(bytes.to_vec()), logprob }
}

async fn play(script: Script, job: Job, abandoned: Arc<AtomicUsize>) {
    let send = async |event: Event| job.events.send(event).await.is_ok();
    if let Script::Fail(failure) = script {
        send(Event::Failed(failure)).await;
        return;
    }
    if let Script::Late(wait) = script {
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
    send(Event::Started { prompt_tokens: USAGE.prompt_tokens }).await;
    match script {
        Script::Say(pieces, finish) => {
            for piece in pieces {
                send(text(piece)).await;
            }
            send(done(finish)).await;
        }
        Script::Late(_) => {
            send(text("late")).await;
            send(done(Finish::Stop)).await;
        }
        Script::SayWithPauses(pieces) => {
            for (wait, piece) in pieces {
                tokio::time::sleep(Duration::from_millis(wait)).await;
                send(text(piece)).await;
            }
            send(done(Finish::Stop)).await;
        }
        Script::SayWithLogprobs => {
            let logprobs = vec![Logprob {
                chosen: candidate("é".as_bytes(), -0.25),
                top: vec![candidate("é".as_bytes(), -0.25), candidate(b"e", f32::NEG_INFINITY)],
            }];
            send(Event::Text { text: Zeroizing::new("é".to_owned()), logprobs }).await;
            send(done(Finish::Stop)).await;
        }
        Script::Endless => {
            while send(text("more ")).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            abandoned.fetch_add(1, Ordering::SeqCst);
        }
        Script::Flood => {
            let piece = Box::leak("x".repeat(16 * 1024).into_boxed_str());
            for _ in 0..4000 {
                if !send(text(piece)).await {
                    break;
                }
            }
            job.events.closed().await;
            abandoned.fetch_add(1, Ordering::SeqCst);
        }
        Script::Silent => {
            job.events.closed().await;
            abandoned.fetch_add(1, Ordering::SeqCst);
        }
        Script::FailMidway => {
            send(text("begun")).await;
            send(Event::Failed(Failure::Engine)).await;
        }
        Script::Vanish => {
            send(text("begun")).await;
        }
        Script::Fail(_) | Script::Refuse(_) => unreachable!(),
    }
}

impl Submit for Engine {
    fn submit(&self, job: Job) -> Result<(), SubmitError> {
        let script = self.script.lock().unwrap().clone();
        if let Script::Refuse(error) = script {
            return Err(error);
        }
        self.seen.lock().unwrap().push(Seen {
            prompt: job.prompt.to_string(),
            parse_special: job.parse_special,
            max_tokens: job.max_tokens,
            stop: job.stop.iter().map(|stop| stop.to_string()).collect(),
            ignore_eos: job.ignore_eos,
            sampling: job.sampling.clone(),
        });
        tokio::spawn(play(script, job, Arc::clone(&self.abandoned)));
        Ok(())
    }

    fn status(&self) -> Status {
        Status { ready: self.ready.load(Ordering::SeqCst), active: 0, queued: 0 }
    }

    fn facts(&self) -> Arc<ModelFacts> {
        Arc::new(ModelFacts {
            architecture: "llama".to_owned(),
            chat_template: self.source.map(str::to_owned),
            bos_token: String::new(),
            eos_token: String::new(),
            vocabulary: 1000,
            context_tokens: 100,
        })
    }
}
