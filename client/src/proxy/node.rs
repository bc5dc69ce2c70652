//! A node: a gate, and what is known of how well the appliance behind it works.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    breaker::{Breaker, BreakerSettings, BreakerState, Entry},
    gate::Gate,
};
use crate::address::Address;

/// Longest `Retry-After` that is believed.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Told when a node's state changes, so that a program can say it.
pub type NodeNotice = Arc<dyn Fn(&Address, NodeState, Option<&str>) + Send + Sync>;

/// What a node's `/health` said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Nothing yet.
    Unknown,
    /// It answers questions.
    Ready,
    /// It runs and does not answer questions.
    NotReady,
    /// It does not answer.
    Unreachable,
}

impl Health {
    /// For programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ready => "ready",
            Self::NotReady => "not_ready",
            Self::Unreachable => "unreachable",
        }
    }
}

/// What a node can be used for, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeState {
    /// It takes its share of the requests.
    InRotation,
    /// It asked to be left alone for a while (`Retry-After`).
    Busy,
    /// Its `/health` says that it is not ready.
    NotReady,
    /// Its `/health` does not answer.
    Unreachable,
    /// Its keys have changed, and it has to be verified before the next request.
    Outdated,
    /// It failed too often; its breaker is open.
    Resting,
    /// It was never verified.
    Unverified,
    /// It did not prove what is asked of it.
    Refused,
}

impl NodeState {
    /// For programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InRotation => "in_rotation",
            Self::Busy => "busy",
            Self::NotReady => "not_ready",
            Self::Unreachable => "unreachable",
            Self::Outdated => "outdated",
            Self::Resting => "resting",
            Self::Unverified => "unverified",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::InRotation => "takes requests",
            Self::Busy => "is busy",
            Self::NotReady => "is not ready",
            Self::Unreachable => "does not answer",
            Self::Outdated => "has other keys and has to be verified again",
            Self::Resting => "failed too often and is left alone for a while",
            Self::Unverified => "is not verified",
            Self::Refused => "is refused",
        })
    }
}

/// Counters of a node.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests that it answered, whatever the status.
    pub forwarded: AtomicU64,
    /// Requests that it did not answer.
    pub failed: AtomicU64,
    /// Answers that broke in the middle.
    pub broken: AtomicU64,
}

/// An appliance that requests may go to.
pub struct Node {
    gate: Gate,
    breaker: Breaker,
    health: Mutex<Health>,
    busy_until: Mutex<Option<Instant>>,
    in_flight: AtomicUsize,
    counters: Counters,
    told: Mutex<NodeState>,
    notice: Option<NodeNotice>,
    /// Its keys have changed: verify now.
    due: Notify,
    /// It does not answer any more: whoever waits for a first byte may go elsewhere.
    lost: Notify,
}

impl Node {
    /// A node behind a gate.
    #[must_use]
    pub fn new(gate: Gate, breaker: BreakerSettings, notice: Option<NodeNotice>) -> Self {
        let node = Self {
            gate,
            breaker: Breaker::new(breaker),
            health: Mutex::new(Health::Unknown),
            busy_until: Mutex::new(None),
            in_flight: AtomicUsize::new(0),
            counters: Counters::default(),
            told: Mutex::new(NodeState::InRotation),
            notice,
            due: Notify::new(),
            lost: Notify::new(),
        };
        *lock(&node.told) = node.state(Instant::now());
        node
    }

    /// Its gate.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Its breaker.
    #[must_use]
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Its counters.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Requests whose answers have not ended.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// What its `/health` said last.
    #[must_use]
    pub fn health(&self) -> Health {
        *lock(&self.health)
    }

    /// What it can be used for.
    #[must_use]
    pub fn state(&self, now: Instant) -> NodeState {
        let standing = self.standing(now);
        let breaks = matches!(self.breaker.state(), BreakerState::Open { .. } | BreakerState::HalfOpen);
        if breaks { standing.max(NodeState::Resting) } else { standing }
    }

    /// The same without regard to its breaker.
    #[must_use]
    pub fn standing(&self, now: Instant) -> NodeState {
        if !self.gate.is_open() {
            return match (self.gate.is_refused(), self.gate.appliance()) {
                (true, None) => NodeState::Unverified,
                (true, Some(_)) => NodeState::Refused,
                (false, _) => NodeState::Outdated,
            };
        }
        match self.health() {
            Health::Unreachable => NodeState::Unreachable,
            Health::NotReady => NodeState::NotReady,
            _ if lock(&self.busy_until).is_some_and(|until| now < until) => NodeState::Busy,
            Health::Ready | Health::Unknown => NodeState::InRotation,
        }
    }

    /// Notes what its `/health` said.
    pub fn heard_health(&self, health: Health) {
        *lock(&self.health) = health;
        if health == Health::Unreachable {
            self.lost.notify_waiters();
        }
        self.tell();
    }

    /// Leaves it alone for as long as it asks, where there are others.
    pub fn rest(&self, wait: Duration) {
        *lock(&self.busy_until) = Some(Instant::now() + wait.min(LONGEST_REST));
    }

    /// Ends when the node has stopped answering its health checks.
    pub async fn lost(&self) {
        self.lost.notified().await;
    }

    /// Ends when the node has to be verified.
    pub async fn due(&self) {
        self.due.notified().await;
    }

    /// Looks at the gate after a request: whoever watches the node verifies it if that is due.
    pub fn after_request(&self) {
        if !self.gate.is_open() {
            self.due.notify_one();
        }
        self.tell();
    }

    /// Says so if the node's state has changed. What passes by itself in a moment is not worth a word.
    pub fn tell(&self) {
        let state = self.state(Instant::now());
        if matches!(state, NodeState::Busy | NodeState::Outdated) {
            return;
        }
        let before = std::mem::replace(&mut *lock(&self.told), state);
        if let Some(notice) = self.notice.as_ref().filter(|_| before != state) {
            notice(self.gate.address(), state, self.gate.reason().as_deref());
        }
    }
}

/// A request's place at a node. Dropped without a word about the outcome, nothing is known of it.
pub struct Lease {
    node: Arc<Node>,
    entry: Option<Entry>,
}

impl Lease {
    /// Takes a place, if the breaker gives one.
    #[must_use]
    pub fn take(node: &Arc<Node>, now: Instant) -> Option<Self> {
        let entry = node.breaker.enter(now)?;
        node.in_flight.fetch_add(1, Ordering::AcqRel);
        Some(Self { node: node.clone(), entry: Some(entry) })
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// An answer begins. That is all that a trial has to show, unless the answer says that the node is at fault.
    pub fn answered(&mut self, at_fault: bool) {
        self.node.counters.forwarded.fetch_add(1, Ordering::Relaxed);
        if at_fault {
            self.count_failure();
        } else if self.entry == Some(Entry::Trial) {
            self.entry = None;
            self.node.breaker.succeeded(Entry::Trial);
        }
        self.node.after_request();
    }

    /// The answer came to its end.
    pub fn completed(&mut self) {
        if let Some(entry) = self.entry.take() {
            self.node.breaker.succeeded(entry);
        }
    }

    /// The answer broke in the middle.
    pub fn broke(&mut self) {
        self.node.counters.broken.fetch_add(1, Ordering::Relaxed);
        self.count_failure();
    }

    /// No answer came.
    pub fn failed(&mut self) {
        self.node.counters.failed.fetch_add(1, Ordering::Relaxed);
        self.count_failure();
    }

    /// The node could not be used, but that says nothing about how well it works.
    pub fn refused(&mut self) {
        self.node.counters.failed.fetch_add(1, Ordering::Relaxed);
        self.node.tell();
    }

    fn count_failure(&mut self) {
        let entry = self.entry.take().unwrap_or(Entry::Normal);
        self.node.breaker.failed(entry, Instant::now());
        self.node.tell();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.node.in_flight.fetch_sub(1, Ordering::AcqRel);
        if let Some(entry) = self.entry {
            self.node.breaker.abandoned(entry, Instant::now());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
