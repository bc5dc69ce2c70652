//! Whether a receipt is of an answer.

use protocol::{
    Sha256Digest,
    receipt::{self, ReceiptError, event::Launch},
};

use crate::attestation::Verified;

/// Why a receipt does not speak for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptFault {
    /// It is no receipt of the keyset, of the request, or of the answer.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// It has another name than the answer says.
    #[error("the receipt has another name than the answer says")]
    OtherName,
    /// It is of another route.
    #[error("the receipt is of another route")]
    OtherRoute,
    /// It is of another kind of machine.
    #[error("the receipt is of another kind of machine than the one that was verified")]
    OtherPlatform,
    /// It is of another launch than the evidence.
    #[error("the receipt is of another launch than the evidence")]
    OtherLaunch,
    /// It names other weights than the document.
    #[error("the receipt names another model than the document")]
    OtherModel,
    /// It is of another boot.
    #[error("the receipt is of another boot than the one that was asked")]
    OtherBoot,
    /// It was promised and is not there.
    #[error("the receipt was promised, and the appliance answers {status} when asked for it")]
    Unavailable {
        /// The HTTP status.
        status: u16,
    },
}

/// A request and its answer, as the client saw them.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// Name of the receipt, where the answer had one.
    pub id: Option<&'a str>,
    /// Method and path of the request.
    pub route: (&'a str, &'a str),
    /// Digest of the request's body.
    pub request: Sha256Digest,
    /// Digest of the answer's body.
    pub response: Sha256Digest,
}

/// Checks that a receipt is signed by a key of the verified keyset, and is of this exchange.
///
/// # Errors
/// [`ReceiptFault`].
pub fn check(document: &[u8], verified: &Verified, exchange: Exchange<'_>) -> Result<receipt::Verified, ReceiptFault> {
    let checked = receipt::Verified::check(document, verified.keyset())?;
    checked.check_exchange(exchange.request, exchange.response)?;
    let head = checked.head();
    if exchange.id.is_some_and(|id| id != head.receipt_id) {
        return Err(ReceiptFault::OtherName);
    }
    if exchange.route != (head.method.as_str(), head.endpoint.as_str()) {
        return Err(ReceiptFault::OtherRoute);
    }
    if checked.event::<Launch>()?.is_some_and(|launch| launch.tee_type != verified.platform()) {
        return Err(ReceiptFault::OtherPlatform);
    }
    Ok(checked)
}
