//! Refusals of sealed messages in the forms that the wires demand.

use std::sync::Arc;

use ::http::{HeaderValue, StatusCode, header};
use protocol::{Refusal, Sha256Digest, date, ohttp};
use serde_json::{Value, json as object};

use super::super::answer::{Answer, json};
use super::super::call::{Call, Wire};
use super::super::error::ApiError;
use super::super::receipts::witnessed;
use super::super::state::{State, unix_seconds};

/// A problem document (RFC 9457).
fn problem(status: StatusCode, members: &Value) -> Answer {
    Answer::whole(status, "application/problem+json", json(members).into())
}

/// The key is none that is offered: fetch the keys again, and believe them only if evidence binds them.
pub(in super::super) fn unknown_key() -> Answer {
    let title = "the key is not offered; fetch the keys again";
    problem(StatusCode::BAD_REQUEST, &object!({"type": ohttp::KEY_PROBLEM, "title": title}))
}

/// The date is too far from the machine's clock, which the answer shows.
pub(super) fn date() -> Answer {
    let now = unix_seconds();
    let title = "the date of the request is not acceptable; try again with the time of this answer";
    let mut answer =
        problem(StatusCode::BAD_REQUEST, &object!({"type": ohttp::DATE_PROBLEM, "title": title, "now": now}));
    answer.headers.extend(HeaderValue::try_from(date::write(now)).ok().map(|now| (header::DATE, now)));
    answer
}

/// EHBP's key-configuration problem.
pub(super) fn ehbp_key() -> Answer {
    let title = "the body does not open with the keys that are offered; fetch them again";
    problem(StatusCode::UNPROCESSABLE_ENTITY, &object!({"type": protocol::ehbp::KEY_PROBLEM, "title": title}))
}

/// The refusal of a message that did not open.
pub(super) fn unopened(refusal: Refusal, limit: u64) -> Answer {
    match refusal {
        Refusal::UnknownKey => unknown_key(),
        Refusal::TooLong => ApiError::TooLarge { limit }.into(),
        Refusal::Signature => ApiError::DeviceRefused.into(),
        Refusal::Undecryptable | Refusal::Malformed | Refusal::Rollback => ApiError::Undecryptable.into(),
    }
}

/// A refusal in the clear with its receipt, where the sender showed a token beside the message `message` of the wire `name`. Why the
/// message is refused is not in the receipt, which is the same for all.
///
/// A device gets none: it has nothing to fetch it with, and a message that it signed once can be sent again by whoever saw it.
pub(super) fn outside(
    state: &Arc<State>,
    call: &Call,
    (name, message): (&'static str, Sha256Digest),
    answer: Answer,
) -> Answer {
    if call.presented != call.tenant.0 {
        return answer;
    }
    let wire = Wire::Sealed { name, message, pads_body: false, path: None, carries_receipt: false };
    witnessed(state, &Call { wire, ..call.clone() }, &Arc::default(), message, answer)
}

/// The answer for an error outside of a sealed answer.
pub(super) fn of(error: ApiError) -> Answer {
    match error {
        ApiError::Date => date(),
        error => error.into(),
    }
}
