//! How often something is done, however often it is asked for: so many times at once, then one each interval. Time is monotonic.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A bound on how often (the generic cell rate algorithm, as a leaky bucket).
pub struct Rate {
    interval: Duration,
    /// How far ahead of now the bucket may be filled.
    ahead: Duration,
    /// When it will be empty; nothing while it never was filled.
    empty_at: Mutex<Option<Instant>>,
}

impl Rate {
    /// At most `burst` at once, and from then on one each `interval`. No burst is a burst of one.
    #[must_use]
    pub const fn new(burst: u32, interval: Duration) -> Self {
        Self { interval, ahead: interval.saturating_mul(burst.saturating_sub(1)), empty_at: Mutex::new(None) }
    }

    /// Counts one more, or says that it is too many.
    #[must_use]
    pub fn admits(&self, now: Instant) -> bool {
        let mut empty_at = self.empty_at.lock().unwrap_or_else(PoisonError::into_inner);
        let from = empty_at.map_or(now, |at| at.max(now));
        let admitted = from.saturating_duration_since(now) <= self.ahead;
        if admitted {
            *empty_at = from.checked_add(self.interval);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_admitted_and_then_one_each_interval() {
        let rate = Rate::new(3, Duration::from_millis(100));
        let start = Instant::now();
        let at = |milliseconds| rate.admits(start + Duration::from_millis(milliseconds));
        assert_eq!([at(0), at(0), at(0), at(0)], [true, true, true, false]);
        assert_eq!([at(99), at(100), at(100), at(199), at(200)], [false, true, false, false, true]);
        // What was refused costs nothing, and a long pause gives no more than one burst.
        assert_eq!([at(9000), at(9000), at(9000), at(9000)], [true, true, true, false]);
    }
}
