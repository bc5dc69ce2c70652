//! `GET /v1/aci/attestation?nonce=`.

use ::http::StatusCode;
use protocol::Nonce;

use super::answer::Answer;
use super::error::ApiError;
use super::state::State;

/// The report for the client's nonce, or without one.
pub(super) fn answer(state: &State, query: Option<&str>) -> Result<Answer, ApiError> {
    let nonce = match query {
        None | Some("") => None,
        Some(query) => match query.strip_prefix("nonce=") {
            Some(nonce) => Some(Nonce::parse(nonce).map_err(|_| ApiError::Nonce)?),
            None => return Err(ApiError::Query { expected: "nonce" }),
        },
    };
    let report = state.identity().report(nonce.as_ref()).and_then(|report| report.to_json());
    Ok(Answer::of_json(StatusCode::OK, report.map_err(|_| ApiError::Internal)?.into()))
}
