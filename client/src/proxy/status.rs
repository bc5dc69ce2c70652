//! `GET /lethe/status`: every node, what it proves and how it works.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    breaker::BreakerState,
    node::{Node, NodeState},
    nodes::Nodes,
};

impl Nodes {
    /// The state, for people and programs. With a single node its members stand at the top too.
    #[must_use]
    pub fn status(&self) -> Value {
        let nodes: Vec<_> = self.iter().map(|node| describe(node)).collect();
        let sum = |name: &str| nodes.iter().filter_map(|node| node.get(name)?.as_u64()).sum::<u64>();
        let is_open = self.iter().any(|node| node.gate().is_open());
        let mut status = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "state": if is_open { "open" } else { "closed" },
            "balance": self.settings().balance.name(),
            "budget_s": self.settings().budget.as_secs(),
            "forwarded": sum("forwarded"),
            "failed": sum("failed"),
        });
        let options = self.iter().next().map(|node| node.gate().options());
        if let (Some(options), Some(object)) = (options, status.as_object_mut()) {
            object.insert("policy".to_owned(), json!(options.trust.policy_name));
            object.insert("allow_no_tee".to_owned(), json!(options.trust.allow_no_tee));
            if let ([Value::Object(only)], true) = (nodes.as_slice(), self.is_single()) {
                for (name, value) in only {
                    object.entry(name.clone()).or_insert_with(|| value.clone());
                }
            }
            object.insert("nodes".to_owned(), nodes.into());
        }
        status
    }
}

fn describe(node: &Node) -> Value {
    let now = Instant::now();
    let gate = node.gate();
    let appliance = gate.appliance();
    let verified = appliance.as_ref().map(|appliance| appliance.verified());
    let state = node.state(now);
    json!({
        "appliance": gate.address().to_string(),
        "state": state.name(),
        "reason": gate.reason().filter(|_| state >= NodeState::Outdated),
        "platform": verified.map(|verified| verified.platform()),
        "tls_key": verified.and_then(|verified| verified.pin()).map(|pin| pin.to_string()),
        "tls_key_demanded": gate.options().pin.is_some(),
        "keyset_digest": verified.map(|verified| verified.keyset_digest().to_string()),
        "verified_s_ago": verified.map(|_| gate.age().as_secs()),
        "labels": gate.labels(),
        "transport": appliance.as_ref().map(|appliance| appliance.transport()),
        "health": node.health().name(),
        "breaker": breaker(node.breaker().state(), now),
        "in_flight": node.in_flight(),
        "forwarded": node.counters().forwarded.load(Ordering::Relaxed),
        "failed": node.counters().failed.load(Ordering::Relaxed),
        "broken": node.counters().broken.load(Ordering::Relaxed),
    })
}

fn breaker(state: BreakerState, now: Instant) -> Value {
    match state {
        BreakerState::Closed { failures } => json!({"state": "closed", "failures": failures}),
        BreakerState::Open { until } => {
            json!({"state": "open", "trial_in_s": until.saturating_duration_since(now).as_secs_f32().ceil()})
        }
        BreakerState::HalfOpen => json!({"state": "half_open"}),
    }
}
