//! `GET /health`.

use ::http::StatusCode;
use serde::Serialize;

use super::answer::{Answer, no_query};
use super::error::ApiError;
use super::state::State;

#[derive(Serialize)]
struct Health {
    /// True in every answer: the server answers.
    live: bool,
    /// Whether the engine makes progress.
    ready: bool,
    /// What it waits for before it can be ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_for: Option<&'static str>,
    /// Which hardware vouches.
    platform: &'static str,
    /// True for an ordinary program on somebody's machine.
    host_mode: bool,
    /// True where memory is not locked.
    insecure_host: bool,
}

/// 200 when ready, 503 when not.
pub(super) fn answer(state: &State, query: Option<&str>) -> Result<Answer, ApiError> {
    no_query(query)?;
    let origin = state.identity().origin();
    let waiting = state.secrets().are_awaited();
    let ready = state.submit().status().ready && !waiting;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let health = Health {
        live: true,
        ready,
        waiting_for: waiting.then_some("secrets"),
        platform: state.identity().tee_type().name(),
        host_mode: origin.host_mode,
        insecure_host: origin.insecure_host,
    };
    Ok(Answer::json(status, &health))
}
