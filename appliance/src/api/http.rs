//! From hyper's request to [`answer`] and back: the part of a request that knows the socket.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::header::CACHE_CONTROL;
use ::http::request::Parts;
use ::http::{HeaderName, HeaderValue, Version};
use hyper::body::{Body as _, Incoming};
use protocol::{API_VERSION, KEYSET_DIGEST_HEADER, VERSION_HEADER};
use zeroize::Zeroizing;

use super::activity::{Activity, Running};
use super::answer::{Answer, Request, answer};
use super::auth;
use super::body::{ResponseBody, check_declared, read};
use super::error::ApiError;
use super::event::{Event, Outcome, RequestId};
use super::route::{Route, route};
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
        Ok(request) => {
            running.extend(Instant::now() + state.request_budget() + HANDOUT);
            answer(&state, request).await
        }
        Err(error) => error.into(),
    };
    record.status = Some(answer.status.as_u16());
    Ok(response(&state, answer, record, running))
}

/// Admits a request, or refuses it and lets its client read that.
async fn admit(
    state: &State,
    id: RequestId,
    request: hyper::Request<Incoming>,
    record: &mut Record,
) -> Result<Request, ApiError> {
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
    state: &State,
    id: RequestId,
    parts: &Parts,
    body: &mut Incoming,
    record: &mut Record,
) -> Result<Request, ApiError> {
    let route: Route = route(&parts.method, parts.uri.path())?;
    record.route = route.name();
    if route.needs_token() {
        auth::admit(&parts.headers, state.clients())?;
    }
    let query = parts.uri.query().map(str::to_owned);
    if !route.has_body() {
        return Ok(Request { id, route, query, body: Zeroizing::default(), place: None });
    }
    let limits = state.limits();
    check_declared(&parts.headers, limits.body_bytes)?;
    if !state.submit().status().ready {
        return Err(ApiError::NotReady);
    }
    let place = Arc::clone(state.bodies()).try_acquire_owned().map_err(|_| ApiError::QueueFull { retry_after_s: 1 })?;
    let time = Duration::from_millis(limits.body_timeout_ms);
    let body = read(&parts.headers, body, limits.body_bytes, time).await?;
    Ok(Request { id, route, query, body, place: Some(place) })
}

fn response(state: &State, answer: Answer, record: Record, running: Running) -> hyper::Response<ResponseBody> {
    let Answer { status, headers, body } = answer;
    let id = record.id;
    let mut response = hyper::Response::new(ResponseBody::new(body, record, running));
    *response.status_mut() = status;
    let map = response.headers_mut();
    map.extend(headers);
    map.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    map.insert(HeaderName::from_static(VERSION_HEADER), HeaderValue::from_static(API_VERSION));
    // hexadecimal text is always a header value
    let text = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
    map.insert(HeaderName::from_static(REQUEST_ID_HEADER), text(id.to_string()));
    let digest = state.identity().keyset_digest().to_string();
    map.insert(HeaderName::from_static(KEYSET_DIGEST_HEADER), text(digest));
    response
}
