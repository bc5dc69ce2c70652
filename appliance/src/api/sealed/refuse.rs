//! Refusals of sealed messages in the forms that the wires demand.

use ::http::{HeaderValue, StatusCode, header};
use protocol::{Refusal, date, ohttp};
use serde_json::{Value, json};

use super::super::answer::Answer;
use super::super::error::ApiError;
use super::super::state::unix_seconds;

/// A problem document (RFC 9457).
fn problem(status: StatusCode, members: &Value) -> Answer {
    let mut answer = Answer::json(status, members);
    answer.headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))];
    answer
}

/// The key is none that is offered: fetch the keys again, and believe them only if evidence binds them.
pub(super) fn unknown_key() -> Answer {
    let title = "the key is not offered; fetch the keys again";
    problem(StatusCode::BAD_REQUEST, &json!({"type": ohttp::KEY_PROBLEM, "title": title}))
}

/// The date is too far from the machine's clock, which the answer shows.
pub(super) fn date() -> Answer {
    let now = unix_seconds();
    let title = "the date of the request is not acceptable; try again with the time of this answer";
    let mut answer =
        problem(StatusCode::BAD_REQUEST, &json!({"type": ohttp::DATE_PROBLEM, "title": title, "now": now}));
    answer.headers.extend(HeaderValue::try_from(date::write(now)).ok().map(|now| (header::DATE, now)));
    answer
}

/// EHBP's key-configuration problem.
pub(super) fn ehbp_key() -> Answer {
    let title = "the body does not open with the keys that are offered; fetch them again";
    problem(StatusCode::UNPROCESSABLE_ENTITY, &json!({"type": protocol::ehbp::KEY_PROBLEM, "title": title}))
}

/// The refusal of a message that did not open.
pub(super) fn unopened(refusal: Refusal, limit: u64) -> Answer {
    match refusal {
        Refusal::UnknownKey => unknown_key(),
        Refusal::TooLong => ApiError::TooLarge { limit }.into(),
        Refusal::Undecryptable | Refusal::Malformed | Refusal::Signature | Refusal::Rollback => {
            ApiError::Undecryptable.into()
        }
    }
}

/// The answer for an error outside of a sealed answer.
pub(super) fn of(error: ApiError) -> Answer {
    match error {
        ApiError::Date => date(),
        error => error.into(),
    }
}
