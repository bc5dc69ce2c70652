//! `GET /v1/aci/attestation`, and `GET /v1/attestation/report` for the older verifiers.

use std::sync::Arc;
use std::time::Instant;

use ::http::StatusCode;
use hyper::body::Bytes;
use protocol::legacy::SigningAlgorithm;
use protocol::{Nonce, Sha256Digest};

use super::answer::Answer;
use super::error::ApiError;
use super::query::parameters;
use super::state::State;
use crate::identity::{Identity, ReportError};

/// The report for the client's nonce, the one without a nonce, or the kept one about a keyset. What is kept asks no machine and waits
/// for nobody who does.
pub(super) async fn answer(state: &State, query: Option<&str>) -> Result<Answer, ApiError> {
    let [nonce, keyset] = parameters(query, ["nonce", "keyset"], "nonce or keyset")?;
    let nonce = nonce.map(|nonce| Nonce::parse(&nonce).map_err(|_| ApiError::Nonce)).transpose()?;
    let report = match (nonce, keyset) {
        (Some(_), Some(_)) => return Err(ApiError::QueryValue { name: "keyset" }),
        (None, Some(keyset)) => {
            let digest = keyset.parse::<Sha256Digest>().map_err(|_| ApiError::QueryValue { name: "keyset" })?;
            state.identity().report_kept(digest).ok_or(ApiError::NoSuchKeyset)?
        }
        (nonce, None) => match state.identity().report_made().filter(|_| nonce.is_none()) {
            Some(report) => report,
            None => ask(state, move |identity| identity.report(nonce.as_ref())).await?,
        },
    };
    Ok(Answer::of_json(StatusCode::OK, Bytes::from_owner(report)))
}

/// The report of the older verifiers, for the client's nonce or a random one.
pub(super) async fn legacy(state: &State, query: Option<&str>) -> Result<Answer, ApiError> {
    let known = ["nonce", "signing_algo", "signing_address", "model"];
    let [nonce, algorithm, address, model] = parameters(query, known, "nonce, signing_algo, signing_address or model")?;
    let algorithm = signing_algorithm(algorithm.as_deref())?;
    if address.is_some_and(|address| !address.eq_ignore_ascii_case(&state.identity().legacy().address(algorithm))) {
        return Err(ApiError::NoSuchSigner);
    }
    if model.is_some_and(|model| state.find_model(&model).is_none()) {
        return Err(ApiError::ModelNotFound);
    }
    let mut bytes = [0; 32];
    match nonce {
        Some(nonce) => hex::decode_to_slice(&nonce, &mut bytes).map_err(|_| ApiError::QueryValue { name: "nonce" })?,
        None => getrandom::fill(&mut bytes).map_err(|_| ApiError::Internal)?,
    }
    let report = ask(state, move |identity| identity.legacy_report(algorithm, &bytes)).await?;
    Ok(Answer::json(StatusCode::OK, &report))
}

/// The parameter `signing_algo`, whose default the older verifiers rely on.
pub(super) fn signing_algorithm(name: Option<&str>) -> Result<SigningAlgorithm, ApiError> {
    name.map_or(Ok(SigningAlgorithm::default()), |name| {
        SigningAlgorithm::from_name(name).ok_or(ApiError::QueryValue { name: "signing_algo" })
    })
}

/// Asks the machine on the one thread that may wait for it; the others go on serving.
async fn ask<T: Send + 'static>(
    state: &State,
    question: impl FnOnce(&Identity) -> Result<T, ReportError> + Send + 'static,
) -> Result<T, ApiError> {
    let place = Arc::clone(state.evidence()).try_acquire_owned().map_err(|_| ApiError::EvidenceBusy)?;
    if !state.evidence_rate().admits(Instant::now()) {
        return Err(ApiError::EvidenceBusy);
    }
    let identity = state.identity_handle();
    let answer = tokio::task::spawn_blocking(move || {
        let _place = place;
        question(&identity)
    });
    answer.await.map_err(|_| ApiError::Internal)?.map_err(|error| match error {
        ReportError::Machine(_) => ApiError::NoEvidence,
        ReportError::Form(_) => ApiError::Internal,
    })
}
