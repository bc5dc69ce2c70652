//! Receipts: what the appliance signs about each answer, checked before the answer counts as one.
//!
//! An answer is hashed as it comes. Its last part, `[DONE]` of a stream or the whole of an answer in one piece, is held back until the
//! receipt has proved to be of exactly this request and this answer, signed by a key of the verified keyset. The receipt comes
//! with a sealed answer, or is fetched the same way as the answer.

mod archive;
mod check;
mod hold;
mod witnessed;

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

pub(crate) use protocol::receipt::{IN_TRAILER, RECEIPT_FIELD};
use serde_json::{Value, json};

pub use archive::{Archive, Transcript};
pub use check::{Exchange, ReceiptFault, check};
pub(crate) use witnessed::{Case, Witnessed};

use crate::error::Error;

/// Longest answer that is held back whole until its receipt is checked, in bytes.
pub(crate) const MAX_HELD_BYTES: usize = 16 * 1024 * 1024;

/// What is asked of receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Demand {
    /// An answer without a receipt is refused.
    Require,
    /// A receipt that was promised is checked; an answer without one is counted.
    #[default]
    Check,
    /// Receipts are not looked at.
    Off,
}

/// A text that names no [`Demand`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("receipts are asked for with require, check or off")]
pub struct NotADemand;

impl FromStr for Demand {
    type Err = NotADemand;

    fn from_str(text: &str) -> Result<Self, NotADemand> {
        match text {
            "require" => Ok(Self::Require),
            "check" => Ok(Self::Check),
            "off" => Ok(Self::Off),
            _ => Err(NotADemand),
        }
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Require => "require",
            Self::Check => "check",
            Self::Off => "off",
        })
    }
}

/// What is asked of receipts, and what became of them; copies share the counters.
#[derive(Debug, Clone, Default)]
pub struct Receipts {
    /// What is asked.
    pub demand: Demand,
    /// Where transcripts go.
    pub archive: Option<Arc<Archive>>,
    tally: Arc<Tally>,
}

/// Answers by what became of their receipts.
#[derive(Debug, Default)]
struct Tally {
    verified: AtomicU64,
    refused: AtomicU64,
    missing: AtomicU64,
}

impl Receipts {
    /// A demand, with nothing counted yet and nothing saved.
    #[must_use]
    pub fn demanding(demand: Demand) -> Self {
        Self { demand, ..Self::default() }
    }

    /// Whether anybody wants to see receipts, or to keep answers.
    pub(crate) fn are_wanted(&self) -> bool {
        self.demand != Demand::Off || self.archive.is_some()
    }

    pub(crate) fn count_missing(&self) {
        self.tally.missing.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a receipt by what was found; one that could not be had, because of the network, is missing.
    pub(crate) fn count(&self, judged: &Result<(), Error>) {
        match judged {
            Ok(()) => &self.tally.verified,
            Err(Error::Refused(_)) => &self.tally.refused,
            Err(_) => &self.tally.missing,
        }
        .fetch_add(1, Ordering::Relaxed);
    }

    /// How many answers had a receipt that was good.
    #[must_use]
    pub fn verified(&self) -> u64 {
        self.tally.verified.load(Ordering::Relaxed)
    }

    /// How many answers had none.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.tally.missing.load(Ordering::Relaxed)
    }

    /// The state, for people and programs.
    #[must_use]
    pub fn status(&self) -> Value {
        json!({
            "demand": self.demand.to_string(),
            "verified": self.verified(),
            "refused": self.tally.refused.load(Ordering::Relaxed),
            "missing": self.missing(),
            "saved_in": self.archive.as_ref().map(|archive| archive.folder().display().to_string()),
        })
    }
}
