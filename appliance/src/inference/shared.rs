//! What the scheduler's threads and its callers share: how many jobs there are, how long they take, whether the engine moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::job::{ModelFacts, Status, SubmitError};

/// Counters and flags of one scheduler.
pub struct Shared {
    facts: Arc<ModelFacts>,
    /// Sequences the engine has.
    sequences: u32,
    /// Jobs that may wait beside those that generate.
    queue: u32,
    /// Jobs that wait or generate.
    jobs: AtomicU32,
    active: AtomicU32,
    /// Steps of the scheduler.
    steps: AtomicU64,
    /// Moving average of the time a job holds its sequence, in milliseconds; 0 before the first.
    service_ms: AtomicU64,
    stalled: AtomicBool,
    ended: AtomicBool,
}

/// A job's place among those that wait or generate; given back on drop.
pub struct Place(Arc<Shared>);

impl Shared {
    pub(super) fn new(facts: Arc<ModelFacts>, sequences: u32, queue: u32) -> Self {
        Self {
            facts,
            sequences,
            queue,
            jobs: AtomicU32::new(0),
            active: AtomicU32::new(0),
            steps: AtomicU64::new(0),
            service_ms: AtomicU64::new(0),
            stalled: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    pub(super) fn facts(&self) -> Arc<ModelFacts> {
        self.facts.clone()
    }

    /// Takes a place, if the engine moves and the queue has one.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Place, SubmitError> {
        if !self.ready() {
            return Err(SubmitError::NotReady);
        }
        let most = self.sequences.saturating_add(self.queue);
        let taken = self
            .jobs
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |jobs| if jobs < most { Some(jobs + 1) } else { None });
        match taken {
            Ok(_) => Ok(Place(self.clone())),
            Err(jobs) => Err(SubmitError::QueueFull { retry_after_s: self.retry_after_s(jobs) }),
        }
    }

    /// Seconds until a place is likely: as long as one sequence of many takes to come free, 1 to 600.
    fn retry_after_s(&self, jobs: u32) -> u32 {
        let service_ms = self.service_ms.load(Ordering::Relaxed);
        let rounds = u64::from(jobs.saturating_sub(self.queue).max(1));
        let wait_ms = service_ms / rounds;
        u32::try_from(wait_ms.div_ceil(1000).clamp(1, 600)).unwrap_or(600)
    }

    pub(super) fn served(&self, took: Duration) {
        let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).min(3_600_000);
        let old = self.service_ms.load(Ordering::Relaxed);
        let new = if old == 0 { took } else { (old * 7 + took) / 8 };
        self.service_ms.store(new.max(1), Ordering::Relaxed);
    }

    pub(super) fn set_active(&self, active: usize) {
        self.active.store(u32::try_from(active).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    pub(super) fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    pub(super) fn has_work(&self) -> bool {
        self.jobs.load(Ordering::Acquire) > 0
    }

    pub(super) fn set_stalled(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Release);
    }

    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn ready(&self) -> bool {
        !self.stalled.load(Ordering::Acquire) && !self.has_ended()
    }

    pub(super) fn status(&self) -> Status {
        let active = self.active.load(Ordering::Relaxed);
        let queued = self.jobs.load(Ordering::Acquire).saturating_sub(active);
        Status { ready: self.ready(), active, queued }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.jobs.fetch_sub(1, Ordering::AcqRel);
    }
}
