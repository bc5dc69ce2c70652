//! Trying again: only while no byte of an answer came, after growing and jittered waits, and as the server asks.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderMap, header};
use tokio::time::Instant;

use crate::error::Error;

/// Told before each wait, so that a program can say why it waits.
pub type Notice = Arc<dyn Fn(&Error, Duration) + Send + Sync>;

/// When to try again and how often.
#[derive(Clone)]
pub struct RetryPolicy {
    /// Attempts altogether, where no deadline says otherwise.
    pub attempts: u32,
    /// Wait before the second attempt; doubles with each further one.
    pub first: Duration,
    /// Longest wait of our own choice.
    pub longest: Duration,
    /// Longest `Retry-After` that is waited for; a longer one is an error at once.
    pub longest_asked: Duration,
    /// Until when attempts go on, however many (`--wait`).
    pub until: Option<Instant>,
    /// Who is told.
    pub notice: Option<Notice>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 4,
            first: Duration::from_millis(250),
            longest: Duration::from_secs(5),
            longest_asked: Duration::from_secs(60),
            until: None,
            notice: None,
        }
    }
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RetryPolicy").field("attempts", &self.attempts).field("until", &self.until).finish()
    }
}

/// The wait that an answer asks for (`Retry-After` in seconds; its form as a date needs a clock that both sides have).
pub(crate) fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

impl RetryPolicy {
    /// A policy that never tries again.
    #[must_use]
    pub fn once() -> Self {
        Self { attempts: 1, ..Self::default() }
    }

    /// Does the work until it succeeds, fails for good, or the policy has had enough. The work must not have shown a byte
    /// of an answer to anyone when it fails.
    ///
    /// # Errors
    /// The last attempt's.
    pub async fn run<T, W>(&self, mut work: impl FnMut(u32) -> W) -> Result<T, Error>
    where
        W: Future<Output = Result<T, Error>>,
    {
        let mut attempt = 0;
        loop {
            let error = match work(attempt).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            attempt += 1;
            let Some(wait) = self.wait_after(&error, attempt) else { return Err(error) };
            if let Some(notice) = &self.notice {
                notice(&error, wait);
            }
            tokio::time::sleep(wait).await;
        }
    }

    fn wait_after(&self, error: &Error, attempts_made: u32) -> Option<Duration> {
        let asked = error.retry()?;
        let wait = match asked {
            Some(asked) if asked > self.longest_asked => return None,
            Some(asked) => asked + self.own_wait(0),
            None => self.own_wait(attempts_made),
        };
        let before_deadline = self.until.is_some_and(|until| Instant::now() + wait < until);
        (before_deadline || attempts_made < self.attempts).then_some(wait)
    }

    /// Between half and all of `first · 2^(attempts made - 1)`, capped: a crowd of clients spreads.
    #[must_use]
    pub fn own_wait(&self, attempts_made: u32) -> Duration {
        let exponent = attempts_made.saturating_sub(1).min(16);
        let full = self.first.saturating_mul(1 << exponent).min(self.longest);
        full.mul_f64(0.5 + 0.5 * random_fraction())
    }
}

/// A number in 0..1. Without random numbers the jitter is lost, not the wait.
fn random_fraction() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Refusal, ServerError};
    use std::sync::atomic::{AtomicU32, Ordering};

    fn busy(retry_after: Option<u64>) -> Error {
        let retry_after = retry_after.map(Duration::from_secs);
        ServerError::Status { status: 429, message: String::new(), code: None, retry_after }.into()
    }

    async fn attempts(policy: &RetryPolicy, error: impl Fn() -> Error) -> u32 {
        let count = AtomicU32::new(0);
        let result = policy
            .run(|_| {
                count.fetch_add(1, Ordering::Relaxed);
                let error = error();
                async { Err::<(), _>(error) }
            })
            .await;
        assert!(result.is_err());
        count.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_server_is_asked_again_and_a_refusal_is_not() {
        assert_eq!(attempts(&RetryPolicy::default(), || busy(None)).await, 4);
        assert_eq!(attempts(&RetryPolicy::default(), || Refusal::NoTee.into()).await, 1);
        assert_eq!(attempts(&RetryPolicy::default(), || ServerError::Truncated.into()).await, 1);
        assert_eq!(attempts(&RetryPolicy::once(), || busy(None)).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_is_at_least_what_the_server_asks() {
        let began = Instant::now();
        let policy = RetryPolicy { attempts: 2, ..RetryPolicy::default() };
        assert_eq!(attempts(&policy, || busy(Some(7))).await, 2);
        assert!(began.elapsed() >= Duration::from_secs(7));
        assert!(began.elapsed() < Duration::from_secs(8));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_asks_for_an_hour_is_not_waited_for() {
        assert_eq!(attempts(&RetryPolicy::default(), || busy(Some(3600))).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_means_attempts_until_then() {
        let began = Instant::now();
        let policy = RetryPolicy { until: Some(began + Duration::from_secs(60)), ..RetryPolicy::default() };
        assert!(attempts(&policy, || busy(None)).await > 10);
        assert!(began.elapsed() > Duration::from_secs(50) && began.elapsed() <= Duration::from_secs(60));
    }

    #[test]
    fn waits_grow_and_are_capped_and_differ() {
        let policy = RetryPolicy::default();
        for attempt in 1..40 {
            let wait = policy.own_wait(attempt);
            assert!(wait <= policy.longest && wait >= policy.first / 2);
        }
        assert!(policy.own_wait(10) >= policy.longest / 2);
        assert!((0..20).any(|_| policy.own_wait(1) != policy.own_wait(1)));
    }
}
