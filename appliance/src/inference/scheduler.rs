//! Continuous batching: every step decodes one batch with the next token of each answer and, from a fixed budget, chunks of the
//! prompts that are not read yet. A long prompt so delays the others' next token by one chunk at most.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use super::engine::{Engine, EngineError, Entry, Vocabulary};
use super::generation::{Generation, Prepared};
use super::job::{Event, Failure, Finish};
use super::outbox::{Delivery, Outbox};
use super::sampler::Scratch;
use super::shared::Shared;

/// After this long without work the engine overwrites activations and logits.
const IDLE: Duration = Duration::from_millis(200);

/// How often a finished answer is offered to a client that has no room for it.
const OFFER: Duration = Duration::from_millis(5);

/// Failures in a row after which the engine is given up.
const MOST_FAILURES: u32 = 3;

/// Sizes of the scheduler's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Sequences of the engine.
    pub sequences: u32,
    /// Tokens a sequence may hold.
    pub context_tokens: u32,
    /// Tokens of prompts in one batch.
    pub prefill_chunk_tokens: u32,
}

/// The state of the engine's thread.
pub(super) struct Scheduler {
    engine: Box<dyn Engine>,
    vocabulary: Arc<dyn Vocabulary>,
    shared: Arc<Shared>,
    sizes: Sizes,
    waiting: VecDeque<Prepared>,
    /// By sequence, ascending: llama.cpp computes neighbours together.
    active: Vec<Generation>,
    /// Ended answers whose clients have not taken everything, with the time they are given.
    leaving: Vec<(Outbox, Instant)>,
    batch: Vec<Entry>,
    scratch: Scratch,
    /// Whose prompt is fed first; turns, so that no prompt waits for all others.
    turn: u32,
    failures: u32,
    /// Something was computed since the engine last forgot.
    traces: bool,
}

/// How the engine's thread ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Every submitter is gone, or the engine was told to stop.
    Asked,
    /// The engine failed too often.
    Failed,
}

impl Scheduler {
    pub(super) fn new(
        engine: Box<dyn Engine>,
        vocabulary: Arc<dyn Vocabulary>,
        shared: Arc<Shared>,
        sizes: Sizes,
    ) -> Self {
        Self {
            engine,
            vocabulary,
            shared,
            sizes,
            waiting: VecDeque::new(),
            active: Vec::new(),
            leaving: Vec::new(),
            batch: Vec::new(),
            scratch: Scratch::default(),
            turn: 0,
            failures: 0,
            traces: false,
        }
    }

    /// Works until there are no submitters and no work, or the engine fails or is stopped.
    pub(super) fn run(mut self, jobs: &Receiver<Prepared>) -> Ended {
        loop {
            if self.take_jobs(jobs).is_none() {
                return Ended::Asked;
            }
            self.drop_dead();
            self.admit();
            self.shared.set_active(self.active.len());
            let stepped = self.step();
            self.shared.step();
            match stepped {
                Ok(()) => {}
                Err(EngineError::Stopped) => return self.give_up(Ended::Asked),
                Err(EngineError::Failed) => {
                    self.failures += 1;
                    self.fail_all();
                    if self.failures >= MOST_FAILURES {
                        return self.give_up(Ended::Failed);
                    }
                }
            }
            self.leaving.retain_mut(|(outbox, until)| outbox.deliver() == Delivery::Open && Instant::now() < *until);
        }
    }

    /// Takes what was submitted; waits when there is nothing else to do. `None`: nobody can submit any more, and nothing is left.
    fn take_jobs(&mut self, jobs: &Receiver<Prepared>) -> Option<()> {
        loop {
            match jobs.try_recv() {
                Ok(job) => self.waiting.push_back(job),
                Err(TryRecvError::Empty) if self.has_work() => return Some(()),
                Err(TryRecvError::Empty) => return self.wait_for_job(jobs),
                Err(TryRecvError::Disconnected) if self.has_work() => return Some(()),
                Err(TryRecvError::Disconnected) if self.leaving.is_empty() => {
                    self.forget();
                    return None;
                }
                Err(TryRecvError::Disconnected) => {
                    std::thread::sleep(OFFER);
                    return Some(());
                }
            }
        }
    }

    fn has_work(&self) -> bool {
        !self.active.is_empty() || !self.waiting.is_empty()
    }

    fn wait_for_job(&mut self, jobs: &Receiver<Prepared>) -> Option<()> {
        self.shared.set_active(0);
        let received = if !self.leaving.is_empty() {
            jobs.recv_timeout(OFFER)
        } else if self.traces {
            jobs.recv_timeout(IDLE)
        } else {
            jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        match received {
            Ok(job) => self.waiting.push_back(job),
            Err(RecvTimeoutError::Timeout) if self.leaving.is_empty() => self.forget(),
            Err(_) => {}
        }
        Some(())
    }

    /// Overwrites what the last answers left in the engine and here.
    fn forget(&mut self) {
        if self.traces {
            self.engine.forget();
            self.scratch.wipe();
            self.batch.iter_mut().for_each(|entry| entry.token = 0);
            self.batch.clear();
            self.traces = false;
        }
    }

    /// Ends what hung up or is out of time.
    fn drop_dead(&mut self) {
        let now = Instant::now();
        self.waiting.retain(|prepared| {
            let late = now >= prepared.job.deadline;
            if late {
                let _ = prepared.job.events.try_send(Event::Failed(Failure::Timeout));
            }
            !late && !prepared.job.events.is_closed()
        });
        let mut at = 0;
        while let Some(generation) = self.active.get(at) {
            if generation.outbox.is_closed() {
                drop(self.remove(at));
            } else if now >= generation.deadline {
                self.finish(at, Finish::Time);
            } else {
                at += 1;
            }
        }
    }

    fn admit(&mut self) {
        while self.active.len() < self.sizes.sequences as usize {
            let Some(prepared) = self.waiting.pop_front() else { return };
            // the lowest free one, so that those in use stay neighbours
            let taken = |sequence: &u32| self.active.iter().any(|generation| generation.sequence == *sequence);
            let Some(sequence) = (0..self.sizes.sequences).find(|sequence| !taken(sequence)) else { return };
            let prompt_tokens = u32::try_from(prepared.prompt.len()).unwrap_or(u32::MAX);
            let room = self.sizes.context_tokens.saturating_sub(prompt_tokens);
            let mut generation = Generation::new(prepared, sequence, room);
            generation.outbox.deliver();
            let at = self.active.partition_point(|other| other.sequence < sequence);
            let nothing = generation.wants_nothing();
            self.active.insert(at, generation);
            if nothing {
                self.finish(at, Finish::Length);
            }
        }
    }

    /// Decodes one batch and hands out its tokens.
    fn step(&mut self) -> Result<(), EngineError> {
        self.fill_batch();
        if self.batch.is_empty() {
            return Ok(());
        }
        self.traces = true;
        self.engine.decode(&self.batch)?;
        self.failures = 0;
        let mut at = 0;
        while let Some(generation) = self.active.get_mut(at) {
            let Some(entry) = generation.entry() else {
                at += 1;
                continue;
            };
            let logits = self.engine.logits(entry);
            let advanced = logits.map(|logits| generation.advance(logits, self.vocabulary.as_ref(), &mut self.scratch));
            match advanced {
                Some(Ok(None)) => match generation.outbox.deliver() {
                    Delivery::Closed => drop(self.remove(at)),
                    Delivery::Open | Delivery::Complete => at += 1,
                },
                Some(Ok(Some(finish))) => self.finish(at, finish),
                Some(Err(_)) | None => self.fail(at),
            }
        }
        Ok(())
    }

    /// One token of every answer, and prompts for the budget: equal shares, what one leaves over for the next, another first each time.
    fn fill_batch(&mut self) {
        self.batch.clear();
        let mut shares = vec![0; self.active.len()];
        let reading: Vec<usize> = (0..self.active.len()).filter(|&at| self.prefills(at)).collect();
        let mut budget = self.sizes.prefill_chunk_tokens as usize;
        if !reading.is_empty() {
            self.turn = self.turn.wrapping_add(1);
            let first = self.turn as usize % reading.len();
            for (done, &at) in reading.iter().cycle().skip(first).take(reading.len()).enumerate() {
                let share = budget.div_ceil(reading.len() - done);
                let taken = share.min(self.active.get(at).map_or(0, Generation::unread));
                budget -= taken;
                if let Some(slot) = shares.get_mut(at) {
                    *slot = taken;
                }
            }
        }
        for (generation, share) in self.active.iter_mut().zip(shares) {
            generation.feed(share, &mut self.batch);
        }
    }

    fn prefills(&self, at: usize) -> bool {
        self.active.get(at).is_some_and(Generation::prefills)
    }

    /// Takes a generation out and wipes its sequence.
    fn remove(&mut self, at: usize) -> Generation {
        let generation = self.active.remove(at);
        self.engine.release(generation.sequence);
        self.shared.served(generation.started.elapsed());
        generation
    }

    fn finish(&mut self, at: usize, finish: Finish) {
        let generation = self.remove(at);
        let until = generation.deadline.max(Instant::now() + Duration::from_secs(1));
        let outbox = generation.finish(finish);
        self.leave(outbox, until);
    }

    fn fail(&mut self, at: usize) {
        let generation = self.remove(at);
        let until = Instant::now() + Duration::from_secs(1);
        let outbox = generation.fail(Failure::Engine);
        self.leave(outbox, until);
    }

    fn leave(&mut self, mut outbox: Outbox, until: Instant) {
        if outbox.deliver() == Delivery::Open {
            self.leaving.push((outbox, until));
        }
    }

    /// The engine's state is unknown: every answer fails, and everything is overwritten.
    fn fail_all(&mut self) {
        while !self.active.is_empty() {
            self.fail(0);
        }
        self.engine.forget();
    }

    fn give_up(&mut self, ended: Ended) -> Ended {
        self.shared.end();
        while !self.active.is_empty() {
            self.fail(0);
        }
        for prepared in self.waiting.drain(..) {
            let _ = prepared.job.events.try_send(Event::Failed(Failure::Engine));
        }
        ended
    }
}
