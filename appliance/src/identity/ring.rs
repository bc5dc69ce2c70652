//! The epochs of this boot: the one before, the current, the next, and what is kept of those that are over.
//!
//! Every decision is by the monotonic clock, which a host can stop but not set.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use deployment::Wires;
use protocol::ratchet::Ratchet;
use protocol::{Keyset, Sha256Digest};

use super::epoch::Epoch;
use super::{IdentityError, PerBoot, drawn};

/// Least time between the beginnings of two epochs when the first is full: a flood of requests must not spin the wheel.
const SHORTEST: Duration = Duration::from_secs(60);

/// How long before its epoch the next keyset and its evidence are made; a quarter of short epochs.
const LEAD: Duration = Duration::from_secs(60);

/// Most bytes of what is kept about past epochs. A report repeats document and endorsements: with the largest ones it has half a
/// megabyte.
const PAST_BYTES: usize = 16 << 20;

/// A keyset and what was said about it.
pub struct Published {
    /// Number of the epoch in this boot, from 0.
    pub epoch: u64,
    /// The public keys.
    pub keyset: Keyset,
    /// The digest that evidence binds.
    pub digest: Sha256Digest,
    /// The report without a nonce as it is sent, once it was made.
    pub(super) report: OnceLock<Arc<[u8]>>,
    /// Bytes of the keyset in its canonical form: about what it takes in memory.
    keyset_bytes: usize,
}

impl Published {
    fn bytes(&self) -> usize {
        self.keyset_bytes.saturating_add(self.report.get().map_or(0, |report| report.len()))
    }
}

/// The epochs whose keys open requests.
#[derive(Clone)]
pub struct Live {
    /// In its grace.
    pub previous: Option<Arc<Epoch>>,
    /// The present one.
    pub current: Arc<Epoch>,
    /// Published and accepted already.
    pub next: Arc<Epoch>,
}

impl Live {
    /// All of them, the current one first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Epoch>> {
        [&self.current, &self.next].into_iter().chain(self.previous.as_ref())
    }
}

/// How long things live.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lives {
    pub epoch: Duration,
    pub grace: Duration,
    /// Of receipts, and so of the evidence that they need.
    pub receipts: Duration,
    /// Requests of an epoch.
    pub requests: usize,
}

/// What is due next, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// The keyset of the next epoch, and its evidence.
    Prepare,
    /// The next epoch.
    Begin,
    /// The end of something that was kept.
    Forget,
}

pub(super) struct Ring {
    lives: Lives,
    chain: Ratchet,
    first_id: u8,
    live: Live,
    /// When the grace of the previous epoch is over.
    grace_ends: Option<Instant>,
    began: Instant,
    published: Arc<Published>,
    /// The epoch after the next one, and the keyset with the next one's keys in front.
    prepared: Option<(Arc<Epoch>, Arc<Published>)>,
    past: VecDeque<(Instant, Arc<Published>)>,
    /// The current epoch is nearly full.
    pressed: bool,
}

impl Ring {
    pub(super) fn begin(boot: &PerBoot, lives: Lives, wires: &Wires, now: Instant) -> Result<Self, IdentityError> {
        let derived = boot.machine.derived_secret().map(|secret| &**secret);
        let chain = Ratchet::new(&*drawn()?, derived).map_err(IdentityError::Derive)?;
        let [first_id] = *drawn()?;
        let current = Arc::new(Epoch::draw(&chain, 0, first_id, lives.requests, wires)?);
        let mut chain = chain;
        chain.advance(&*drawn()?, derived).map_err(IdentityError::Derive)?;
        let next = Arc::new(Epoch::draw(&chain, 1, first_id, lives.requests, wires)?);
        let published = Arc::new(publish(boot, wires, &current, &next)?);
        let live = Live { previous: None, current, next };
        let (prepared, past) = (None, VecDeque::new());
        Ok(Self {
            lives,
            chain,
            first_id,
            live,
            grace_ends: None,
            began: now,
            published,
            prepared,
            past,
            pressed: false,
        })
    }

    pub(super) fn live(&self) -> Live {
        self.live.clone()
    }

    pub(super) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    /// The keyset with this digest: the present one, or that of a past epoch whose receipts may still be kept.
    pub(super) fn find(&self, digest: Sha256Digest) -> Option<Arc<Published>> {
        let past = self.past.iter().map(|(_, published)| published);
        std::iter::once(&self.published).chain(past).find(|published| published.digest == digest).cloned()
    }

    /// The current epoch is nearly full.
    pub(super) fn press(&mut self) {
        self.pressed = true;
    }

    /// When the next epoch begins.
    pub(super) fn end(&self) -> Instant {
        let end = self.began + self.lives.epoch;
        if self.pressed { end.min(self.began + SHORTEST) } else { end }
    }

    /// What has to be done next, and when.
    pub(super) fn due(&self) -> (Instant, Due) {
        let end = self.end();
        let mut due = (end, Due::Begin);
        if self.prepared.is_none() {
            due = (end.checked_sub(LEAD.min(self.lives.epoch / 4)).unwrap_or(end), Due::Prepare);
        }
        let oldest = self.past.front().map(|(ended, _)| *ended + self.lives.receipts);
        for forget in self.grace_ends.into_iter().chain(oldest) {
            if forget < due.0 {
                due = (forget, Due::Forget);
            }
        }
        due
    }

    /// Seconds until a full epoch can be over.
    pub(super) fn relief(&self, now: Instant) -> u32 {
        let left = (self.began + SHORTEST.min(self.lives.epoch)).saturating_duration_since(now);
        u32::try_from(left.as_secs()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Makes the keys that come after the next epoch, and the next epoch's keyset.
    pub(super) fn prepare(&mut self, boot: &PerBoot, wires: &Wires) -> Result<Arc<Published>, IdentityError> {
        if let Some((_, published)) = &self.prepared {
            return Ok(Arc::clone(published));
        }
        let derived = boot.machine.derived_secret().map(|secret| &**secret);
        self.chain.advance(&*drawn()?, derived).map_err(IdentityError::Derive)?;
        let number = self.live.next.number().saturating_add(1);
        let after = Arc::new(Epoch::draw(&self.chain, number, self.first_id, self.lives.requests, wires)?);
        let published = Arc::new(publish(boot, wires, &self.live.next, &after)?);
        self.prepared = Some((after, Arc::clone(&published)));
        Ok(published)
    }

    /// Begins the next epoch. The current one goes into its grace; the one before it is wiped, were its grace over or not.
    pub(super) fn advance(
        &mut self,
        boot: &PerBoot,
        wires: &Wires,
        now: Instant,
    ) -> Result<Arc<Published>, IdentityError> {
        self.prepare(boot, wires)?;
        let Some((after, published)) = self.prepared.take() else { return Ok(self.published()) };
        let next = std::mem::replace(&mut self.live.next, after);
        let current = std::mem::replace(&mut self.live.current, next);
        self.live.previous = Some(current);
        self.grace_ends = Some(now + self.lives.grace);
        self.past.push_back((now, std::mem::replace(&mut self.published, Arc::clone(&published))));
        self.forget_oldest();
        // messages to the next key may have filled it already; then it is the wheel's turn again
        (self.began, self.pressed) = (now, self.live.current.is_nearly_full());
        Ok(published)
    }

    /// Drops what is over.
    pub(super) fn forget(&mut self, now: Instant) {
        if self.grace_ends.is_some_and(|end| end <= now) {
            (self.live.previous, self.grace_ends) = (None, None);
        }
        while self.past.front().is_some_and(|(ended, _)| *ended + self.lives.receipts <= now) {
            self.past.pop_front();
        }
        self.forget_oldest();
    }

    /// Drops the oldest of what is kept about past epochs, until the rest is few enough bytes.
    fn forget_oldest(&mut self) {
        let mut bytes: usize = self.past.iter().map(|(_, published)| published.bytes()).sum();
        while bytes > PAST_BYTES {
            let Some((_, oldest)) = self.past.pop_front() else { return };
            bytes = bytes.saturating_sub(oldest.bytes());
        }
    }
}

/// The keyset of an epoch: the keys of the boot, its own, and the next one's.
fn publish(boot: &PerBoot, wires: &Wires, current: &Epoch, next: &Epoch) -> Result<Published, IdentityError> {
    let mut keyset = boot.keyset();
    let keys = |epoch: &Epoch| epoch.public_keys(wires, boot.operators);
    keyset.e2ee_public_keys = keys(current).into_iter().chain(keys(next)).collect();
    let canonical = keyset.canonical().map_err(IdentityError::Keyset)?;
    let (digest, keyset_bytes) = (Sha256Digest::of(canonical.as_bytes()), canonical.len());
    Ok(Published { epoch: current.number(), keyset, digest, report: OnceLock::new(), keyset_bytes })
}
