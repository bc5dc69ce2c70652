//! The task that begins epochs in time.

use std::sync::Arc;
use std::time::Instant;

use super::event::Event;
use super::state::State;
use crate::identity::{Due, Published};

/// Prepares and begins epochs and drops what is over, until it is aborted.
///
/// The evidence of an epoch is made before it begins, on the thread that may wait for the machine. An epoch never waits for its
/// evidence: keys that are due to go must go, and whoever asks for the evidence then has it made.
pub(super) async fn keep(state: Arc<State>) {
    let identity = state.identity_handle();
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
        if done.is_err() {
            // no random bytes, which a kernel that runs does not do: try again, and go on with what there is
            tokio::time::sleep(RETRY).await;
        }
    }
}

const RETRY: std::time::Duration = std::time::Duration::from_secs(1);

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
