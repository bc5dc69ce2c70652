//! Watching a node: its `/health`, and its verification where that is due.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    node::{Health, Node},
    nodes::NodeSettings,
};
use crate::{
    error::{Error, Refusal},
    retry::RetryPolicy,
};

/// Waits between attempts to verify a node that is not.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// After how many intervals without a verification a node is not used, whatever keeps it from being verified. Its keys were proven
/// once, and a report that is late may be a network's doing; but a host that gives none must not be able to keep old proof alive.
const OVERDUE: u32 = 2;
/// Health checks in a row that have to fail before a node counts as gone.
const MISSES: u32 = 2;

/// Watches a node until the task is ended.
pub(super) async fn watch(node: Arc<Node>, settings: NodeSettings) {
    let patient = RetryPolicy { first: FIRST_WAIT, longest: LONGEST_WAIT, ..RetryPolicy::once() };
    let (mut failures, mut misses) = (0, 0);
    loop {
        let open = node.gate().is_open();
        let wait = if open { settings.health_interval } else { patient.own_wait(failures.max(1)) };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            // A failed verification is not repeated because somebody else noticed that it is due.
            () = node.due(), if failures == 0 => {}
        }
        if !node.gate().is_open() || node.gate().age() >= settings.verify_interval {
            failures = if node.gate().verify().await.is_ok() { 0 } else { failures + 1 };
            if failures > 0 && node.gate().age() >= settings.verify_interval.saturating_mul(OVERDUE) {
                node.gate().expire();
            }
            node.tell();
        }
        if node.gate().is_open() {
            failures = 0;
            misses = check(&node, settings.health_patience, misses).await;
        }
    }
}

/// Asks for `/health` once. Gives the number of times in a row that no answer came.
async fn check(node: &Node, patience: Duration, misses: u32) -> u32 {
    let Some(appliance) = node.gate().appliance() else { return misses };
    let health = match timeout(patience, appliance.health()).await {
        Ok(Ok(health)) if health.ready => Some(Health::Ready),
        Ok(Ok(_)) => Some(Health::NotReady),
        Ok(Err(Error::Refused(Refusal::Pin(_) | Refusal::KeysetChanged))) => {
            // Other keys: whether they may take the place of the verified ones is the gate's to say, and it remembers.
            let _ = node.gate().verify().await;
            None
        }
        Ok(Err(Error::Server(_))) => Some(Health::NotReady),
        Ok(Err(_)) | Err(_) => None,
    };
    match health {
        Some(health) => {
            node.heard_health(health);
            0
        }
        None => {
            if misses + 1 >= MISSES {
                node.heard_health(Health::Unreachable);
            }
            node.tell();
            misses.saturating_add(1)
        }
    }
}
