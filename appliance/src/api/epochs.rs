//! The task that begins epochs in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::event::Event;
use super::state::State;
use crate::identity::{Due, Published};

/// Prepares and begins epochs and drops what is over, until it is aborted.
///
/// The evidence of an epoch is made before it begins, on the thread that may wait for the machine. An epoch never waits for its
/// evidence: keys that are due to go must go, and whoever asks for the evidence then has it made.
pub(super) async fn keep(state: Arc<State>) {
    let identity = state.identity_handle();
    let mut failures = Failures::default();
    loop {
        let (when, due) = identity.due();
        tokio::select! {
            () = tokio::time::sleep_until(when.into()) => {}
            () = identity.pressed() => continue,
        }
        let now = Instant::now();
        let done = match due {
            Due::Forget => {
                identity.forget(now);
                Ok(())
            }
            Due::Prepare => identity.prepare().map(|published| make_evidence(&state, published)),
            Due::Begin => identity.advance(now).map(|published| {
                identity.forget(now);
                state.events().event(Event::Epoch { number: published.epoch });
            }),
        };
        if let Some(event) = failures.note(done.is_ok(), identity.overdue(now)) {
            state.events().event(event);
        }
        if done.is_err() {
            // no random bytes, which a kernel that runs does not do: try again, and go on with what there is, but with no old keys
            identity.forget(now);
            tokio::time::sleep(RETRY).await;
        }
    }
}

const RETRY: Duration = Duration::from_secs(1);

/// Failures in a row. The first is told, and then one in a while: a log that fills up helps nobody.
#[derive(Default)]
struct Failures(u32);

impl Failures {
    /// One in so many is told: with [`RETRY`], one a minute.
    const TOLD: u32 = 60;

    /// Counts an attempt while the present epoch is `overdue`; gives what an operator has to hear of it.
    fn note(&mut self, done: bool, overdue: Duration) -> Option<Event> {
        if done {
            self.0 = 0;
            return None;
        }
        let told = self.0.is_multiple_of(Self::TOLD);
        self.0 = self.0.wrapping_add(1);
        told.then_some(Event::NoEpoch { late_s: overdue.as_secs() })
    }
}

fn make_evidence(state: &Arc<State>, published: Arc<Published>) {
    let state = Arc::clone(state);
    tokio::spawn(async move {
        // a closed semaphore is a server that is gone
        let Ok(place) = Arc::clone(state.evidence()).acquire_owned().await else { return };
        let identity = state.identity_handle();
        let made = tokio::task::spawn_blocking(move || {
            let _place = place;
            identity.report_of(&published).is_ok()
        });
        if !made.await.unwrap_or(false) {
            state.events().event(Event::NoEvidence);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_that_cannot_begin_is_told_at_once_and_then_once_a_minute() {
        let mut failures = Failures::default();
        let told: Vec<_> = (0..150).filter_map(|seconds| failures.note(false, Duration::from_secs(seconds))).collect();
        assert_eq!(told, [0, 60, 120].map(|late_s| Event::NoEpoch { late_s }));
        assert_eq!(failures.note(true, Duration::ZERO), None, "what is done is not told here");
        assert_eq!(failures.note(false, Duration::ZERO), Some(Event::NoEpoch { late_s: 0 }), "and begins anew");
        assert_eq!(Event::NoEpoch { late_s: 7 }.to_string(), "no-epoch late_s=7");
    }
}
