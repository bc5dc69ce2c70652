//! Requests and answers as bytes, without a socket.

use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::{HeaderName, HeaderValue, StatusCode, header};
use hyper::body::Bytes;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use zeroize::Zeroizing;

use super::error::ApiError;
use super::event::RequestId;
use super::route::Route;
use super::state::State;
use super::{attestation, chat, completion, health, models};

/// A request that has been routed and admitted, with its whole body.
pub struct Request {
    /// Random id, shown to the client and in events.
    pub id: RequestId,
    /// Where it goes.
    pub route: Route,
    /// What follows `?` in its target.
    pub query: Option<String>,
    /// The body; empty for routes without one.
    pub body: Zeroizing<Vec<u8>>,
    /// The body's place in memory (see [`State::bodies`]), given back when the body is dropped.
    pub place: Option<OwnedSemaphorePermit>,
}

/// What a request is answered with.
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers beside those that every answer has.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: AnswerBody,
}

/// The body of an answer.
pub enum AnswerBody {
    /// In one piece.
    Whole(Bytes),
    /// As it is made.
    Stream(Box<dyn AnswerStream>),
}

/// Pieces of a body, in order. Dropping it ends whatever makes them.
pub trait AnswerStream: Send {
    /// The next piece, or `None` at the end.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>>;
}

impl Answer {
    /// An answer with a JSON body.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Self {
        Self::of_json(status, json(body).into())
    }

    /// An answer whose JSON body is already written.
    #[must_use]
    pub fn of_json(status: StatusCode, body: Bytes) -> Self {
        let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self { status, headers: vec![kind], body: AnswerBody::Whole(body) }
    }

    /// A stream of server-sent events.
    #[must_use]
    pub fn events(stream: Box<dyn AnswerStream>) -> Self {
        let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        // for proxies that would gather the stream before they pass it on
        let unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        Self { status: StatusCode::OK, headers: vec![kind, unbuffered], body: AnswerBody::Stream(stream) }
    }
}

/// Writes one of our own types, which are strings, numbers and lists and so always become JSON.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Answers a request. The caller has found the route, checked the token and bounded the body.
pub async fn answer(state: &Arc<State>, request: Request) -> Answer {
    let answered = match &request.route {
        Route::Chat => chat::answer(state, request).await,
        Route::Completion => completion::answer(state, request).await,
        Route::Models => models::list(state, request.query.as_deref()),
        Route::Model(id) => models::one(state, id, request.query.as_deref()),
        Route::Health => health::answer(state, request.query.as_deref()),
        Route::Attestation => attestation::answer(state, request.query.as_deref()).await,
        Route::LegacyReport => attestation::legacy(state, request.query.as_deref()).await,
    };
    answered.unwrap_or_else(Answer::from)
}

/// Refuses a query string where none is taken.
pub(super) fn no_query(query: Option<&str>) -> Result<(), ApiError> {
    match query {
        None | Some("") => Ok(()),
        Some(_) => Err(ApiError::Query { expected: "none" }),
    }
}
