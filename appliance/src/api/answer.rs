//! Requests and answers as bytes, without a socket.

use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::{HeaderName, HeaderValue, StatusCode, header};
use hyper::body::Bytes;
use protocol::Sha256Digest;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use zeroize::Zeroizing;

use super::call::{Body, Call, Wire};
use super::error::ApiError;
use super::receipts::{self, Account, Slip, witnessed};
use super::route::Route;
use super::shape::shaped;
use super::state::State;
use super::{attestation, auth, chat, completion, health, models, operator, sealed};

/// The whole body of a request.
#[derive(Default)]
pub struct Bodied {
    /// The bytes; none for routes without a body.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Their place in memory (see [`State::bodies`]), given back when they are dropped.
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
    /// The receipt, where it travels with the answer.
    pub slip: Slip,
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
        Self::whole(status, "application/json", body)
    }

    /// An answer in one piece, of a media type.
    #[must_use]
    pub fn whole(status: StatusCode, kind: &'static str, body: Bytes) -> Self {
        let kind = (header::CONTENT_TYPE, HeaderValue::from_static(kind));
        Self { status, headers: vec![kind], body: AnswerBody::Whole(body), slip: Slip::default() }
    }

    /// A stream of server-sent events.
    #[must_use]
    pub fn events(stream: Box<dyn AnswerStream>) -> Self {
        let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        // for proxies that would gather the stream before they pass it on
        let unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        let (status, slip) = (StatusCode::OK, Slip::default());
        Self { status, headers: vec![kind, unbuffered], body: AnswerBody::Stream(stream), slip }
    }
}

/// Writes one of our own types, which are strings, numbers and lists and so always become JSON.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Answers a request. The caller has found the route, checked the token and bounded the body.
pub async fn answer(state: &Arc<State>, call: Call, kind: Body, body: Bodied) -> Answer {
    match kind {
        Body::None | Body::Json => plain(state, call, body).await,
        Body::Ehbp(key) => sealed::answer_ehbp(state, call, &key, body).await,
        Body::Ohttp { chunked } => sealed::answer_ohttp(state, call, chunked, body).await,
        Body::Envelope => sealed::answer_envelope(state, call, body).await,
    }
}

/// Answers a request that is not sealed, or not any more.
pub(super) async fn plain(state: &Arc<State>, call: Call, body: Bodied) -> Answer {
    if call.route.is_operators() {
        return shaped_as(state, &call, operator::answer(state, &call.route, &body.bytes));
    }
    if !call.route.is_inference() {
        return match ask(state, &call).await {
            Ok(answer) => shaped_as(state, &call, answer),
            Err(error) => refused(state, &call, Sha256Digest::of(&body.bytes), error),
        };
    }
    let (request, account) = (Sha256Digest::of(&body.bytes), Arc::new(Account::default()));
    let answered = match &call.route {
        _ if !auth::is_still_good(state, &call) => Err(ApiError::Unauthorized),
        Route::Completion => completion::answer(state, &call, body, &account).await,
        _ => chat::answer(state, &call, body, &account).await,
    };
    // it may have waited for its turn, and its credential may have ended meanwhile
    let answered = if auth::is_still_good(state, &call) { answered } else { Err(ApiError::Unauthorized) };
    let answer = shaped_as(state, &call, answered.unwrap_or_else(Answer::from));
    witnessed(state, &call, &account, request, answer)
}

/// Everything that the engine is not asked for.
async fn ask(state: &State, call: &Call) -> Result<Answer, ApiError> {
    let query = call.query.as_deref();
    match &call.route {
        Route::Models => models::list(state, query),
        Route::Model(id) => models::one(state, id, query),
        Route::Health => health::answer(state, query),
        Route::Attestation => attestation::answer(state, query).await,
        Route::LegacyReport => attestation::legacy(state, query).await,
        Route::Receipt(id) => receipts::fetch(state, call, id),
        Route::Signature(id) => receipts::signature(state, call, id),
        Route::OhttpKeys => no_query(query).map(|()| sealed::ohttp_keys(state)),
        Route::EhbpKeys => no_query(query).map(|()| sealed::ehbp_keys(state)),
        Route::SecretsStanding => no_query(query).map(|()| operator::standing(state)),
        Route::TlsRequest => operator::tls_request(state, query),
        Route::EnvelopeKeys => sealed::envelope_keys(state, query),
        Route::EnvelopeJwks => sealed::jwks(state, query),
        // asked elsewhere, or opened before they come here
        Route::Chat
        | Route::Completion
        | Route::Ohttp
        | Route::EnvelopeChat
        | Route::ChangeSecrets
        | Route::SealSecrets => Err(ApiError::NoSuchRoute),
    }
}

/// Refuses a request that was admitted; `request` is the digest of what came of its body. Whoever showed a token gets a receipt.
pub(super) fn refused(state: &Arc<State>, call: &Call, request: Sha256Digest, error: ApiError) -> Answer {
    let account = Arc::new(Account::default());
    if let Route::Model(id) = &call.route {
        account.asks_for(id);
    }
    witnessed(state, call, &account, request, shaped_as(state, call, error.into()))
}

/// The answer in the shape of its wire.
fn shaped_as(state: &State, call: &Call, answer: Answer) -> Answer {
    match &call.wire {
        Wire::Tls => answer,
        Wire::Sealed { pads_body, .. } => shaped(state.wires(), *pads_body, answer),
    }
}

/// Refuses a query string where none is taken.
pub(super) fn no_query(query: Option<&str>) -> Result<(), ApiError> {
    match query {
        None | Some("") => Ok(()),
        Some(_) => Err(ApiError::Query { expected: "none" }),
    }
}
