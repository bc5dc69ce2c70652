//! What a connection is doing, and when it has to be closed for doing it too long.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Time limits of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeLimits {
    /// From a connection's start, or the first byte of a later request, to the end of its headers.
    pub headers: Duration,
    /// Without a request.
    pub idle: Duration,
}

/// Why a connection has to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Nothing is going on: the client may be told.
    Idle,
    /// A request did not end in its time: the client is not reading.
    Request,
}

/// Shared by a connection's socket, its requests and its watchdog.
#[derive(Clone)]
pub(super) struct Activity(Arc<Shared>);

struct Shared {
    limits: TimeLimits,
    /// Whether bytes between requests are the beginning of one. Not so in HTTP/2, which has frames of its own.
    bytes_begin_requests: bool,
    inner: Mutex<Inner>,
    changed: Notify,
}

struct Inner {
    next: u64,
    /// Running requests and when each has to be over.
    running: HashMap<u64, Instant>,
    /// Since when nothing has been going on.
    quiet_since: Instant,
    /// When the first byte of a request's headers came.
    headers_since: Option<Instant>,
}

impl Activity {
    /// A connection that has just been opened: its first request is expected within the limit for headers.
    pub(super) fn new(limits: TimeLimits, bytes_begin_requests: bool) -> Self {
        let now = Instant::now();
        let inner = Inner { next: 0, running: HashMap::new(), quiet_since: now, headers_since: Some(now) };
        Self(Arc::new(Shared { limits, bytes_begin_requests, inner: Mutex::new(inner), changed: Notify::new() }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes came in.
    pub(super) fn bytes(&self) {
        let mut inner = self.inner();
        if self.0.bytes_begin_requests && inner.running.is_empty() && inner.headers_since.is_none() {
            inner.headers_since = Some(Instant::now());
            drop(inner);
            self.0.changed.notify_one();
        }
    }

    /// The headers of a request are complete. It has to be over when `deadline` passes.
    pub(super) fn request(&self, deadline: Instant) -> Running {
        let mut inner = self.inner();
        inner.headers_since = None;
        let key = inner.next;
        inner.next += 1;
        inner.running.insert(key, deadline);
        drop(inner);
        self.0.changed.notify_one();
        Running { activity: self.clone(), key }
    }

    fn due(&self) -> (Instant, Overdue) {
        let inner = self.inner();
        match (inner.running.values().min(), inner.headers_since) {
            (Some(deadline), _) => (*deadline, Overdue::Request),
            (None, Some(since)) => (since + self.0.limits.headers, Overdue::Idle),
            (None, None) => (inner.quiet_since + self.0.limits.idle, Overdue::Idle),
        }
    }

    /// Waits until the connection has to be closed.
    pub(super) async fn overdue(&self) -> Overdue {
        loop {
            let (due, overdue) = self.due();
            if due <= Instant::now() {
                return overdue;
            }
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                () = self.0.changed.notified() => {}
            }
        }
    }
}

/// A running request of a connection; it is over when this is dropped.
pub(super) struct Running {
    activity: Activity,
    key: u64,
}

impl Running {
    /// Sets another deadline, for the next part of the request.
    pub(super) fn extend(&self, deadline: Instant) {
        self.activity.inner().running.insert(self.key, deadline);
        self.activity.0.changed.notify_one();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut inner = self.activity.inner();
        inner.running.remove(&self.key);
        inner.quiet_since = Instant::now();
        drop(inner);
        self.activity.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TimeLimits = TimeLimits { headers: Duration::from_millis(20), idle: Duration::from_millis(200) };

    fn wait(activity: &Activity) -> Duration {
        activity.due().0.saturating_duration_since(Instant::now())
    }

    #[test]
    fn the_first_request_is_expected_within_the_limit_for_headers_and_later_ones_within_the_idle_limit() {
        let activity = Activity::new(LIMITS, true);
        assert!(wait(&activity) <= LIMITS.headers);
        drop(activity.request(Instant::now()));
        assert!(wait(&activity) > LIMITS.headers);
        activity.bytes();
        assert!(wait(&activity) <= LIMITS.headers);
    }

    #[test]
    fn frames_between_requests_are_no_headers_in_http2() {
        let activity = Activity::new(LIMITS, false);
        drop(activity.request(Instant::now()));
        activity.bytes();
        assert!(wait(&activity) > LIMITS.headers);
    }

    #[test]
    fn a_running_request_has_its_own_deadline() {
        let activity = Activity::new(LIMITS, true);
        let running = activity.request(Instant::now() + Duration::from_secs(5));
        assert_eq!(activity.due().1, Overdue::Request);
        assert!(wait(&activity) > Duration::from_secs(4));
        running.extend(Instant::now() + Duration::from_secs(50));
        assert!(wait(&activity) > Duration::from_secs(40));
        drop(running);
        assert_eq!(activity.due().1, Overdue::Idle);
    }
}
