//! What is known about a register before the machine boots: its value, or the reason why not.

use sha2::{Digest as _, Sha256, Sha384};

use crate::authenticode::{self, Digests};
use crate::event_log::EventType;
use crate::pe::PeError;

/// A digest, or one in each bank of a TPM, that a register is extended with; and the register itself.
pub trait Bank: Clone + PartialEq + std::fmt::Debug {
    /// A register at reset.
    const ZERO: Self;

    /// The digest of some parts in a row.
    fn of(parts: &[&[u8]]) -> Self;

    /// The Authenticode digest of a PE file.
    ///
    /// # Errors
    /// [`PeError`] as [`authenticode::digests`].
    fn of_pe(file: &[u8]) -> Result<Self, PeError>;

    /// A register of this value after an extension.
    #[must_use]
    fn extended(&self, digest: &Self) -> Self;
}

/// SHA-384 alone: the registers of TDX.
impl Bank for [u8; 48] {
    const ZERO: Self = [0; 48];

    fn of(parts: &[&[u8]]) -> Self {
        parts.iter().fold(Sha384::new(), |hash, part| hash.chain_update(part)).finalize().into()
    }

    fn of_pe(file: &[u8]) -> Result<Self, PeError> {
        authenticode::sha384(file)
    }

    fn extended(&self, digest: &Self) -> Self {
        Self::of(&[self, digest])
    }
}

/// SHA-256 and SHA-384: the banks of a TPM that are judged.
impl Bank for Digests {
    const ZERO: Self = Self { sha256: [0; 32], sha384: [0; 48] };

    fn of(parts: &[&[u8]]) -> Self {
        let sha256 = parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part));
        Self { sha256: sha256.finalize().into(), sha384: <[u8; 48]>::of(parts) }
    }

    fn of_pe(file: &[u8]) -> Result<Self, PeError> {
        authenticode::digests(file)
    }

    fn extended(&self, digest: &Self) -> Self {
        let sha256 = Sha256::new().chain_update(self.sha256).chain_update(digest.sha256).finalize().into();
        Self { sha256, sha384: self.sha384.extended(&digest.sha384) }
    }
}

/// One event that a register is extended with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected<D> {
    /// The kind a log gives it.
    pub kind: EventType,
    /// What it is, in one line.
    pub what: String,
    /// What the register is extended with.
    pub digest: D,
}

impl<D: Bank> Expected<D> {
    /// An event whose digest is that of `data`.
    #[must_use]
    pub fn of(kind: EventType, what: impl Into<String>, data: &[u8]) -> Self {
        Self::with(kind, what, D::of(&[data]))
    }

    /// An event of this digest.
    #[must_use]
    pub fn with(kind: EventType, what: impl Into<String>, digest: D) -> Self {
        Self { kind, what: what.into(), digest }
    }
}

/// One value that a register can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate<D> {
    /// Under which condition, in words.
    pub when: String,
    /// The value.
    pub value: D,
    /// The events that make it, in order.
    pub events: Vec<Expected<D>>,
}

impl<D: Bank> Candidate<D> {
    /// The value that these events make of a register at reset.
    #[must_use]
    pub fn of(when: impl Into<String>, events: Vec<Expected<D>>) -> Self {
        let value = events.iter().fold(D::ZERO, |value, event| value.extended(&event.digest));
        Self { when: when.into(), value, events }
    }
}

/// What is known about a register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prediction<D> {
    /// It has one of these values, each under its own condition.
    Values(Vec<Candidate<D>>),
    /// The inputs do not decide it.
    Unpredictable {
        /// Why.
        reason: String,
        /// How a verifier judges it instead.
        judge: String,
        /// Events that its log must have nevertheless.
        events: Vec<Expected<D>>,
    },
}

impl<D: Bank> Prediction<D> {
    /// A register of one value that does not depend on anything.
    #[must_use]
    pub fn always(events: Vec<Expected<D>>) -> Self {
        Self::Values(vec![Candidate::of("always", events)])
    }

    /// The values it can have; none where it is unpredictable.
    #[must_use]
    pub fn values(&self) -> Vec<&D> {
        match self {
            Self::Values(candidates) => candidates.iter().map(|candidate| &candidate.value).collect(),
            Self::Unpredictable { .. } => Vec::new(),
        }
    }
}
