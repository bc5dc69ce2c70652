//! `GET /v1/models` and `GET /v1/models/{id}`.

use ::http::StatusCode;
use openai::{Model, ModelList};

use super::answer::{Answer, no_query};
use super::error::ApiError;
use super::state::State;

const OWNER: &str = "lethe";

/// The model under its name and its aliases.
pub(super) fn list(state: &State, query: Option<&str>) -> Result<Answer, ApiError> {
    no_query(query)?;
    let models = state.model_ids().map(|id| Model::new(id, state.started(), OWNER)).collect();
    Ok(Answer::json(StatusCode::OK, &ModelList::new(models)))
}

/// One of them.
pub(super) fn one(state: &State, id: &str, query: Option<&str>) -> Result<Answer, ApiError> {
    no_query(query)?;
    let id = state.find_model(id).ok_or(ApiError::ModelNotFound)?;
    Ok(Answer::json(StatusCode::OK, &Model::new(id, state.started(), OWNER)))
}
