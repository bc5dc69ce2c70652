//! `GET /v1/aci/attestation?nonce=`.

use std::sync::Arc;

use ::http::StatusCode;
use protocol::Nonce;

use super::answer::Answer;
use super::error::ApiError;
use super::state::State;
use crate::identity::ReportError;

/// The report for the client's nonce, or without one.
pub(super) async fn answer(state: &State, query: Option<&str>) -> Result<Answer, ApiError> {
    let nonce = match query {
        None | Some("") => None,
        Some(query) => match query.strip_prefix("nonce=") {
            Some(nonce) => Some(Nonce::parse(nonce).map_err(|_| ApiError::Nonce)?),
            None => return Err(ApiError::Query { expected: "nonce" }),
        },
    };
    let place = Arc::clone(state.evidence()).try_acquire_owned().map_err(|_| ApiError::EvidenceBusy)?;
    let identity = state.identity_handle();
    // The machine is asked on the one thread that may wait for it; the others go on serving.
    let report = tokio::task::spawn_blocking(move || {
        let _place = place;
        identity.report(nonce.as_ref())
    });
    let report = report.await.map_err(|_| ApiError::Internal)?.map_err(|error| match error {
        ReportError::Machine(_) => ApiError::NoEvidence,
        ReportError::Keyset(_) => ApiError::Internal,
    })?;
    Ok(Answer::of_json(StatusCode::OK, report.to_json().map_err(|_| ApiError::Internal)?.into()))
}
