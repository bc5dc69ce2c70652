//! From hyper's request to [`answer`] and back: the part of a request that knows the socket.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::header::CACHE_CONTROL;
use ::http::request::Parts;
use ::http::{HeaderName, HeaderValue, Version};
use hyper::body::{Body as _, Incoming};
use protocol::secrets::MAX_MESSAGE;
use protocol::{API_VERSION, KEYSET_DIGEST_HEADER, Sha256Digest, VERSION_HEADER};

use super::activity::{Activity, Running};
use super::answer::{Answer, Bodied, answer, refused};
use super::body::{ResponseBody, check_declared, check_length, read};
use super::call::{Body, Call, Wire};
use super::error::ApiError;
use super::event::{Event, Outcome, RequestId};
use super::route::route;
use super::state::State;

/// Header with the request's random id.
const REQUEST_ID_HEADER: &str = "x-request-id";

/// How long after its deadline a request's connection is closed: time to hand out an answer that says so.
const HANDOUT: Duration = Duration::from_secs(5);

/// How long a refused request's unread body is kept.
const UNREAD: Duration = Duration::from_secs(1);

/// Writes a request's event when the request ends, however it ends.
pub(super) struct Record {
    state: Arc<State>,
    id: RequestId,
    route: &'static str,
    status: Option<u16>,
    outcome: Outcome,
    received: Instant,
}

impl Record {
    /// The last byte was handed out.
    pub(super) fn complete(&mut self) {
        self.outcome = Outcome::Complete;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.state.events().event(Event::Request {
            id: self.id,
            route: self.route,
            status: self.status,
            outcome: self.outcome,
            ms: u64::try_from(self.received.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
    }
}

/// Answers one request of a connection.
pub(super) async fn handle(
    state: Arc<State>,
    activity: Activity,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<ResponseBody>, Infallible> {
    let received = Instant::now();
    let reading = Duration::from_millis(state.limits().body_timeout_ms);
    let running = activity.request(received + reading + HANDOUT);
    // without random bytes there is no id, no seed and no TLS: the zeros are never seen
    let id = RequestId::random().unwrap_or(RequestId([0; 16]));
    let mut record =
        Record { state: Arc::clone(&state), id, route: "none", status: None, outcome: Outcome::Aborted, received };
    let answer = match admit(&state, id, request, &mut record).await {
        Ok((call, kind, body)) => {
            running.extend(Instant::now() + state.request_budget() + HANDOUT);
            answer(&state, call, kind, body).await
        }
        Err(refused) => *refused,
    };
    record.status = Some(answer.status.as_u16());
    Ok(response(&state, answer, record, running))
}

/// A request that may be answered, or its refusal.
type Admitted = Result<(Call, Body, Bodied), Box<Answer>>;

/// Admits a request, or refuses it and lets its client read that.
async fn admit(state: &Arc<State>, id: RequestId, request: hyper::Request<Incoming>, record: &mut Record) -> Admitted {
    let (parts, mut body) = request.into_parts();
    let admitted = admit_parts(state, id, &parts, &mut body, record).await;
    if admitted.is_err() && parts.version == Version::HTTP_2 && !body.is_end_stream() {
        // To drop an unread body resets its stream. RFC 9113 section 8.1 allows that, and curl before 8 then forgets
        // the answer. The stream stays one of the connection's few until then, so this cannot pile up.
        tokio::spawn(async move {
            tokio::time::sleep(UNREAD).await;
            drop(body);
        });
    }
    admitted
}

/// Route, token and body of a request, in this order: nothing is read for a request that is refused anyway.
async fn admit_parts(
    state: &Arc<State>,
    id: RequestId,
    parts: &Parts,
    body: &mut Incoming,
    record: &mut Record,
) -> Admitted {
    let refuse = |error: ApiError| Box::new(Answer::from(error));
    let route = route(&parts.method, parts.uri.path()).map_err(refuse)?;
    record.route = route.name();
    let call = Call::admit(state, id, route, parts.uri.query(), &parts.headers, Wire::Tls).map_err(refuse)?;
    match admit_body(state, &call, parts, body).await {
        Ok((kind, body)) => Ok((call, kind, body)),
        Err(error) => Err(Box::new(refused(state, &call, Sha256Digest::of(b""), error))),
    }
}

/// The body of an admitted request, and what it is.
async fn admit_body(
    state: &State,
    call: &Call,
    parts: &Parts,
    body: &mut Incoming,
) -> Result<(Body, Bodied), ApiError> {
    let kind = call.body(&parts.headers, state.wires().ehbp)?;
    let operators = call.route.is_operators();
    let limit = if operators { MAX_MESSAGE as u64 } else { state.limits().body_bytes };
    let (limit, places) = match &kind {
        Body::None => return Ok((kind, Bodied::default())),
        Body::Json if operators => (limit, state.sealed_bodies()),
        Body::Json => (limit, state.bodies()),
        Body::Ehbp(_) | Body::Envelope | Body::Ohttp { .. } => (kind.sealed_limit(limit), state.sealed_bodies()),
    };
    match &kind {
        Body::Ohttp { .. } => check_length(&parts.headers, limit)?,
        _ => check_declared(&parts.headers, limit)?,
    }
    if !state.submit().status().ready && !operators && !matches!(kind, Body::Ohttp { .. }) {
        return Err(ApiError::NotReady);
    }
    let place = Arc::clone(places).try_acquire_owned().map_err(|_| ApiError::QueueFull { retry_after_s: 1 })?;
    let time = Duration::from_millis(state.limits().body_timeout_ms);
    let bytes = read(&parts.headers, body, limit, time).await?;
    Ok((kind, Bodied { bytes, place: Some(place) }))
}

/// The headers that every answer has, sealed or not.
pub(super) fn common_headers(state: &State, id: RequestId) -> [(HeaderName, HeaderValue); 4] {
    // hexadecimal text is always a header value
    let text = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
    [
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (HeaderName::from_static(VERSION_HEADER), HeaderValue::from_static(API_VERSION)),
        (HeaderName::from_static(REQUEST_ID_HEADER), text(id.to_string())),
        (HeaderName::from_static(KEYSET_DIGEST_HEADER), text(state.identity().keyset_digest().to_string())),
    ]
}

fn response(state: &State, answer: Answer, record: Record, running: Running) -> hyper::Response<ResponseBody> {
    let Answer { status, headers, body, .. } = answer;
    let common = common_headers(state, record.id);
    let mut response = hyper::Response::new(ResponseBody::new(body, record, running));
    *response.status_mut() = status;
    response.headers_mut().extend(headers);
    for (name, value) in common {
        response.headers_mut().insert(name, value);
    }
    response
}
