//! Receipts (ACI section 7): a signed log of what happened to one request.
//!
//! A server fills a [`Draft`] and signs it; anybody checks the [`Verified`] one against a keyset, years later and offline.
//! Our own events are in [`event`]; `docs/protocol.md` has vectors.

mod carried;
mod chain;
mod draft;
pub mod event;
mod key;
mod verify;

pub use carried::{IN_TRAILER, RECEIPT_BUCKET, RECEIPT_FIELD};
pub use chain::{Chain, ChainError, follows};
pub use draft::{Draft, Head, Receipt};
pub use key::ReceiptKey;
pub use verify::{ReceiptError, Verified};

/// Response header with the receipt's id.
pub const RECEIPT_ID_HEADER: &str = "x-receipt-id";

/// Most bytes of a receipt that are read.
pub const MAX_RECEIPT: usize = 64 << 10;
