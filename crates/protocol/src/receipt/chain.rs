//! The chain of a tenant's receipts in one epoch: a receipt that was withheld shows as a gap.

use super::draft::Receipt;
use super::event::Place;
use super::verify::Verified;
use crate::digest::Sha256Digest;

/// Where a tenant's chain stands. It starts anew with each epoch and says nothing of other tenants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    next: u64,
    previous: Option<Sha256Digest>,
}

impl Chain {
    /// The place of the next receipt. Receipts of one tenant are made one after the other: the place is to be signed, and
    /// [`Chain::advance`] called, before the next place is asked for.
    #[must_use]
    pub const fn place(&self) -> Place {
        Place { counter: self.next, previous: self.previous }
    }

    /// Goes on behind `receipt`, which has the place.
    pub fn advance(&mut self, receipt: &Receipt) {
        self.next = self.next.saturating_add(1);
        self.previous = Some(receipt.digest());
    }
}

/// Why one receipt does not follow another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A receipt has no place, or one that is malformed.
    #[error("a receipt has no place in a chain")]
    NoPlace,
    /// Another epoch or another boot: there the chain starts anew.
    #[error("the receipts are of different keysets")]
    OtherEpoch,
    /// Receipts are missing between the two, or the order is another.
    #[error("receipts are missing between the two")]
    Gap,
    /// The counters follow each other, and the receipt before is another one.
    #[error("the receipt before was another one")]
    Fork,
}

/// Checks that `later` is the receipt right after `earlier`.
///
/// # Errors
/// [`ChainError`].
pub fn follows(earlier: &Verified, later: &Verified) -> Result<(), ChainError> {
    let place = |receipt: &Verified| receipt.event::<Place>().ok().flatten().ok_or(ChainError::NoPlace);
    let (before, after) = (place(earlier)?, place(later)?);
    if earlier.head().workload_keyset_digest != later.head().workload_keyset_digest {
        return Err(ChainError::OtherEpoch);
    }
    if before.counter.checked_add(1) != Some(after.counter) {
        return Err(ChainError::Gap);
    }
    if after.previous == Some(earlier.digest()) { Ok(()) } else { Err(ChainError::Fork) }
}
