//! All nodes: verified at start, watched, and chosen one by one.

use std::{
    future::pending,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep_until},
};

use super::{
    breaker::{BreakerSettings, BreakerState},
    gate::Gate,
    node::{Lease, Node, NodeNotice},
    watch::watch,
};
use crate::{
    address::Address,
    appliance::Options,
    error::{Error, NetworkError},
    retry::RetryPolicy,
    token::Token,
};

/// How requests are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// To the node with the fewest answers under way; among equals, in turn.
    #[default]
    LeastBusy,
    /// In turn.
    RoundRobin,
}

impl FromStr for Balance {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "least-busy" => Ok(Self::LeastBusy),
            "round-robin" => Ok(Self::RoundRobin),
            _ => Err("least-busy or round-robin is expected"),
        }
    }
}

impl Balance {
    /// As on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeastBusy => "least-busy",
            Self::RoundRobin => "round-robin",
        }
    }
}

/// How nodes are used and watched.
#[derive(Clone)]
pub struct NodeSettings {
    /// How requests are spread.
    pub balance: Balance,
    /// When a node that fails is left alone. A single node never is: there is no other.
    pub breaker: BreakerSettings,
    /// Time for a request until the first byte of its answer, all attempts together.
    pub budget: Duration,
    /// Attempts for one request, on several nodes.
    pub attempts: u32,
    /// Wait before the second attempt; doubles with each further one.
    pub first_wait: Duration,
    /// Longest such wait.
    pub longest_wait: Duration,
    /// Time between two questions for `/health`.
    pub health_interval: Duration,
    /// Time for the answer to one.
    pub health_patience: Duration,
    /// Time after which a node is verified again, even if its keys have not changed.
    pub verify_interval: Duration,
    /// Whether every node has to be verified at start.
    pub all: bool,
    /// How long the others may take to be verified at start once one is.
    pub late: Duration,
    /// Told when a node's state changes.
    pub notice: Option<NodeNotice>,
}

impl Default for NodeSettings {
    fn default() -> Self {
        Self {
            balance: Balance::default(),
            breaker: BreakerSettings::default(),
            budget: Duration::from_secs(600),
            attempts: 4,
            first_wait: Duration::from_millis(50),
            longest_wait: Duration::from_secs(2),
            health_interval: Duration::from_secs(10),
            health_patience: Duration::from_secs(10),
            verify_interval: Duration::from_secs(3600),
            all: false,
            late: Duration::from_secs(15),
            notice: None,
        }
    }
}

impl NodeSettings {
    /// Waits of our own choice, as a policy.
    pub(super) fn waits(&self) -> RetryPolicy {
        RetryPolicy { first: self.first_wait, longest: self.longest_wait, ..RetryPolicy::once() }
    }
}

/// Ends the watching of nodes.
struct Watchers(Vec<AbortHandle>);

impl Drop for Watchers {
    fn drop(&mut self) {
        for watcher in &self.0 {
            watcher.abort();
        }
    }
}

/// The nodes of a proxy; at least one of them was verified.
pub struct Nodes {
    nodes: Vec<Arc<Node>>,
    settings: NodeSettings,
    /// Index of the node whose turn it is.
    turn: Mutex<usize>,
    _watchers: Watchers,
}

/// A node that is not used (yet), and why.
#[derive(Debug)]
pub struct Missing {
    /// Which one.
    pub address: Address,
    /// Why.
    pub error: Error,
}

/// Nobody can be asked: all nodes rest after failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoNode {
    /// When one of them is tried again.
    pub retry_after: Duration,
}

impl Nodes {
    /// Verifies the appliances, all at a time, and watches them from then on. With several, those that are not verified are
    /// named; they are tried again in the background. The second value is empty if all are well.
    ///
    /// # Errors
    /// Those that are not verified, refusals first, if that is all of them, or, with [`NodeSettings::all`], any.
    pub async fn open(options: Vec<Options>, settings: NodeSettings) -> Result<(Self, Vec<Missing>), Vec<Missing>> {
        let mut gates: Vec<Option<Gate>> = options.iter().map(|_| None).collect();
        let mut missing = verify_all(&options, &mut gates, &settings).await;
        if gates.iter().all(Option::is_none) || (settings.all && !missing.is_empty()) {
            missing.sort_by_key(|missing| !matches!(missing.error, Error::Refused(_)));
            return Err(missing);
        }
        let alone = options.len() == 1;
        let breaker = if alone { BreakerSettings { failures: 0, ..settings.breaker } } else { settings.breaker };
        let nodes: Vec<_> = gates
            .into_iter()
            .zip(options)
            .map(|(gate, options)| gate.unwrap_or_else(|| Gate::closed(options)))
            .map(|gate| Arc::new(Node::new(gate, breaker, settings.notice.clone())))
            .collect();
        let watchers = nodes.iter().map(|node| tokio::spawn(watch(node.clone(), settings.clone())).abort_handle());
        let watchers = Watchers(watchers.collect());
        Ok((Self { nodes, settings, turn: Mutex::new(0), _watchers: watchers }, missing))
    }

    /// The nodes, in the order of the command line.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.iter()
    }

    /// How they are used.
    #[must_use]
    pub fn settings(&self) -> &NodeSettings {
        &self.settings
    }

    /// Whether there is no choice.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.nodes.len() == 1
    }

    /// The token for requests that bring none.
    #[must_use]
    pub fn token(&self) -> Option<&Token> {
        self.nodes.first().and_then(|node| node.gate().token())
    }

    /// A place at the best node: one that was not tried before those that were, then by state, then by balance.
    ///
    /// # Errors
    /// [`NoNode`] if the breakers of all are open.
    pub fn choose(&self, tried: &[Arc<Node>]) -> Result<Lease, NoNode> {
        let now = Instant::now();
        // Held until the place is taken, so that requests that come together do not all find the same node idle.
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let count = self.nodes.len().max(1);
        let in_turn = self.nodes.iter().enumerate().cycle().skip(*turn % count).take(self.nodes.len());
        let best = in_turn.filter(|(_, node)| node.breaker().admits(now)).min_by_key(|(_, node)| {
            let busy = if self.settings.balance == Balance::LeastBusy { node.in_flight() } else { 0 };
            (attempts_on(node, tried), node.standing(now), busy)
        });
        let lease = best.and_then(|(index, node)| Lease::take(node, now).map(|lease| (index, lease)));
        let Some((index, lease)) = lease else { return Err(self.nobody(now)) };
        *turn = index + 1;
        Ok(lease)
    }

    /// Whether there is a verified node that was not tried.
    #[must_use]
    pub fn has_other(&self, tried: &[Arc<Node>]) -> bool {
        let now = Instant::now();
        let usable = |node: &&Arc<Node>| node.gate().is_open() && node.breaker().admits(now);
        self.nodes.iter().filter(usable).any(|node| attempts_on(node, tried) == 0)
    }

    fn nobody(&self, now: Instant) -> NoNode {
        let ends = self.nodes.iter().filter_map(|node| match node.breaker().state() {
            BreakerState::Open { until } => Some(until.saturating_duration_since(now)),
            BreakerState::Closed { .. } | BreakerState::HalfOpen => None,
        });
        NoNode { retry_after: ends.min().unwrap_or(Duration::from_secs(1)) }
    }
}

fn attempts_on(node: &Arc<Node>, tried: &[Arc<Node>]) -> usize {
    tried.iter().filter(|other| Arc::ptr_eq(node, other)).count()
}

/// Verifies all at a time. Once one is verified the others get [`NodeSettings::late`].
async fn verify_all(options: &[Options], gates: &mut [Option<Gate>], settings: &NodeSettings) -> Vec<Missing> {
    let mut running = JoinSet::new();
    for (index, options) in options.iter().cloned().enumerate() {
        running.spawn(async move { (index, Gate::open(options).await) });
    }
    let mut errors: Vec<Option<Error>> = options.iter().map(|_| None).collect();
    let mut deadline = None;
    loop {
        let done = tokio::select! {
            done = running.join_next() => done,
            () = at(deadline) => None,
        };
        let Some(done) = done else { break };
        let Ok((index, result)) = done else { continue };
        match result {
            Ok(gate) => {
                if let Some(slot) = gates.get_mut(index) {
                    *slot = Some(gate);
                }
                if !settings.all {
                    deadline.get_or_insert(Instant::now() + settings.late);
                }
            }
            Err(error) => {
                if let Some(slot) = errors.get_mut(index) {
                    *slot = Some(error);
                }
            }
        }
    }
    let late = || NetworkError::TimedOut { what: "verify the node", limit: settings.late }.into();
    let unverified = options.iter().zip(gates.iter()).zip(errors).filter(|((_, gate), _)| gate.is_none());
    unverified
        .map(|((options, _), error)| Missing { address: options.address.clone(), error: error.unwrap_or_else(late) })
        .collect()
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}
