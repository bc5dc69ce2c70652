//! What the proxy answers itself: errors in the shape OpenAI programs expect, and its state.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::{guard::Stranger, relay::Failure};
use crate::{
    connection::BoxError,
    error::{Error, NetworkError, Refusal},
    exit,
    translate::Problem,
};

/// The body of an answer to a local program.
pub type LocalBody = UnsyncBoxBody<Bytes, BoxError>;

/// A JSON answer.
#[must_use]
pub fn json_answer(status: StatusCode, value: &Value) -> Response<LocalBody> {
    let body = Full::new(Bytes::from(value.to_string())).map_err(|never| match never {}).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// An error object.
#[must_use]
pub fn error_answer(status: StatusCode, kind: &str, code: &str, message: &str) -> Response<LocalBody> {
    let error = json!({"message": message, "type": kind, "param": null, "code": code});
    json_answer(status, &json!({ "error": error }))
}

/// The answer to a request that is turned away.
#[must_use]
pub fn stranger(stranger: Stranger) -> Response<LocalBody> {
    let (status, code) = match stranger {
        Stranger::NoHost => (StatusCode::BAD_REQUEST, "host_missing"),
        Stranger::Host => (StatusCode::MISDIRECTED_REQUEST, "host_not_allowed"),
        Stranger::Origin => (StatusCode::FORBIDDEN, "origin_not_allowed"),
    };
    error_answer(status, "invalid_request_error", code, &stranger.to_string())
}

/// The answer to a request that no node answered.
#[must_use]
pub fn failure(failure: &Failure) -> Response<LocalBody> {
    let (problem, headers) = describe(failure);
    let mut answer = self::problem(&problem, "upstream_error");
    answer.headers_mut().extend(headers);
    answer
}

/// A problem as an error object.
#[must_use]
pub fn problem(problem: &Problem, kind: &str) -> Response<LocalBody> {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_GATEWAY);
    error_answer(status, kind, problem.code.as_deref().unwrap_or_default(), &problem.message)
}

/// Why no node answered, and the headers that go with it. Nothing here comes from an appliance's own words.
#[must_use]
pub fn describe(failure: &Failure) -> (Problem, HeaderMap) {
    let ours = |status, code| Problem::ours(status, code, &format!("lethe proxy: {failure}"));
    let mut headers = HeaderMap::new();
    let problem = match failure {
        Failure::Node(error) => unreachable(error),
        Failure::NoNode(nobody) => {
            let seconds = nobody.retry_after.as_secs_f32().ceil().max(1.0);
            if let Ok(value) = HeaderValue::try_from(seconds.to_string()) {
                headers.insert(header::RETRY_AFTER, value);
            }
            ours(503, "no_node_available")
        }
        Failure::Budget { .. } => ours(504, "budget_exceeded"),
    };
    (problem, headers)
}

fn unreachable(error: &Error) -> Problem {
    let (status, code) = match error {
        Error::Refused(Refusal::Pin(_)) => (502, "appliance_key_changed"),
        Error::Refused(Refusal::Receipt(_) | Refusal::NoReceipt) => (502, "receipt_refused"),
        Error::Refused(_) => (502, "appliance_not_verified"),
        Error::Network(NetworkError::TimedOut { .. }) => (504, "appliance_timeout"),
        Error::Network(_) | Error::Server(_) => (502, "appliance_unreachable"),
        Error::Usage(_) => (500, "proxy_error"),
    };
    let help = match error {
        Error::Refused(Refusal::Pin(mismatch)) => Some(format!(
            "{mismatch}; no hardware proves the new key, so nothing was sent to it; if the appliance was restarted, restart \
             lethe proxy too"
        )),
        Error::Refused(_) => exit::help(error).map(str::to_owned),
        // What helps otherwise are options of the command line, and who reads this did not write it.
        _ => None,
    };
    let help = help.map_or_else(String::new, |help| format!(" ({help})"));
    Problem::ours(status, code, &format!("lethe proxy: {error}{help}"))
}

/// Adds what a browser wants to see before it shows an answer to a page of an allowed origin.
pub fn allow_origin(headers: &mut HeaderMap, origin: &HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
}
