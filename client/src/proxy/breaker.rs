//! A circuit breaker: after several failures in a row a node is left alone for a while, then tried with a single request.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open it; 0: it never opens.
    pub failures: u32,
    /// Time without requests before one is let through on trial.
    pub pause: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { failures: 5, pause: Duration::from_secs(30) }
    }
}

/// How a request was let through; its outcome counts accordingly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// The breaker was closed.
    Normal,
    /// The pause was over, and this request alone finds out whether the node is well again.
    Trial,
}

/// What a breaker does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Requests pass.
    Closed {
        /// Failures since the last success.
        failures: u32,
    },
    /// No request passes until then; from then on one does.
    Open {
        /// End of the pause.
        until: Instant,
    },
    /// A request is on trial.
    HalfOpen,
}

/// The breaker of one node.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: Mutex<BreakerState>,
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: Mutex::new(BreakerState::Closed { failures: 0 }) }
    }

    fn lock(&self) -> MutexGuard<'_, BreakerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it does now.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        *self.lock()
    }

    /// Whether [`Breaker::enter`] would let a request through.
    #[must_use]
    pub fn admits(&self, now: Instant) -> bool {
        match self.state() {
            BreakerState::Closed { .. } => true,
            BreakerState::Open { until } => now >= until,
            BreakerState::HalfOpen => false,
        }
    }

    /// Lets a request through, or not. Whoever gets an entry says later what became of it.
    pub fn enter(&self, now: Instant) -> Option<Entry> {
        let mut state = self.lock();
        match *state {
            BreakerState::Closed { .. } => Some(Entry::Normal),
            BreakerState::Open { until } if now >= until => {
                *state = BreakerState::HalfOpen;
                Some(Entry::Trial)
            }
            BreakerState::Open { .. } | BreakerState::HalfOpen => None,
        }
    }

    /// The request was answered.
    pub fn succeeded(&self, entry: Entry) {
        let mut state = self.lock();
        if matches!((*state, entry), (BreakerState::Closed { .. }, _) | (BreakerState::HalfOpen, Entry::Trial)) {
            *state = BreakerState::Closed { failures: 0 };
        }
    }

    /// The node failed. Says whether that opened the breaker. A request from before it opened changes nothing any more.
    pub fn failed(&self, entry: Entry, now: Instant) -> bool {
        let mut state = self.lock();
        let failures = match (*state, entry) {
            (BreakerState::Closed { failures }, _) => failures.saturating_add(1),
            (BreakerState::HalfOpen, Entry::Trial) => self.settings.failures,
            (BreakerState::HalfOpen, Entry::Normal) | (BreakerState::Open { .. }, _) => return false,
        };
        let opens = self.settings.failures > 0 && failures >= self.settings.failures;
        *state = if opens {
            BreakerState::Open { until: now + self.settings.pause }
        } else {
            BreakerState::Closed { failures }
        };
        opens
    }

    /// Nothing is known of the request's outcome: whoever asked went away. A trial may be made again at once.
    pub fn abandoned(&self, entry: Entry, now: Instant) {
        let mut state = self.lock();
        if entry == Entry::Trial && *state == BreakerState::HalfOpen {
            *state = BreakerState::Open { until: now };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(30);

    fn opened(now: Instant) -> Breaker {
        let breaker = Breaker::new(BreakerSettings { failures: 3, pause: PAUSE });
        let openings: Vec<_> = (0..3).map(|_| breaker.failed(breaker.enter(now).unwrap(), now)).collect();
        assert_eq!(openings, [false, false, true]);
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let now = Instant::now();
        assert_eq!(opened(now).enter(now), None);
        let breaker = Breaker::new(BreakerSettings { failures: 3, pause: PAUSE });
        for _ in 0..10 {
            breaker.failed(Entry::Normal, now);
            breaker.failed(Entry::Normal, now);
            breaker.succeeded(Entry::Normal);
        }
        assert_eq!(breaker.enter(now), Some(Entry::Normal));
    }

    #[test]
    fn after_the_pause_one_request_alone_is_let_through() {
        let now = Instant::now();
        let breaker = opened(now);
        assert_eq!(breaker.enter(now + PAUSE - Duration::from_millis(1)), None);
        assert_eq!(breaker.enter(now + PAUSE), Some(Entry::Trial));
        assert_eq!(breaker.enter(now + PAUSE), None);
        breaker.succeeded(Entry::Trial);
        assert_eq!(breaker.state(), BreakerState::Closed { failures: 0 });
    }

    #[test]
    fn a_failed_trial_opens_it_again_for_the_whole_pause() {
        let now = Instant::now();
        let breaker = opened(now);
        let later = now + PAUSE;
        assert!(breaker.failed(breaker.enter(later).unwrap(), later));
        assert_eq!(breaker.state(), BreakerState::Open { until: later + PAUSE });
    }

    #[test]
    fn requests_from_before_neither_close_it_nor_lengthen_the_pause() {
        let now = Instant::now();
        let breaker = opened(now);
        breaker.succeeded(Entry::Normal);
        assert!(!breaker.failed(Entry::Normal, now + Duration::from_secs(9)));
        assert_eq!(breaker.state(), BreakerState::Open { until: now + PAUSE });
        breaker.enter(now + PAUSE).unwrap();
        breaker.succeeded(Entry::Normal);
        breaker.failed(Entry::Normal, now + PAUSE);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    }

    #[test]
    fn a_trial_that_nobody_waited_for_is_made_again() {
        let now = Instant::now();
        let breaker = opened(now);
        let entry = breaker.enter(now + PAUSE).unwrap();
        breaker.abandoned(entry, now + PAUSE);
        assert_eq!(breaker.enter(now + PAUSE), Some(Entry::Trial));
    }

    #[test]
    fn zero_failures_never_open_it() {
        let breaker = Breaker::new(BreakerSettings { failures: 0, pause: PAUSE });
        let now = Instant::now();
        assert!((0..100).all(|_| !breaker.failed(Entry::Normal, now)));
        assert!(breaker.admits(now));
    }
}
