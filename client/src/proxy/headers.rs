//! Which headers pass, in each direction: lists of what does, so that a new header of somebody's does not.

use http::{HeaderMap, HeaderName, header};

use crate::{appliance::bearer, error::Error, token::Token};

/// Of a local program's request. What names the program, its libraries or its cookies stays here.
const REQUEST: [HeaderName; 2] = [header::ACCEPT, header::CONTENT_TYPE];

/// Of an appliance's answer.
const ANSWER: [&str; 9] = [
    "content-type",
    "content-length",
    "cache-control",
    "date",
    "retry-after",
    "x-request-id",
    "x-aci-version",
    "x-aci-keyset-digest",
    "x-receipt-id",
];

/// The headers that go to the appliance.
///
/// An `Authorization` passes if it carries a token of Lethe, and so does such a token in `x-api-key`, where Anthropic's programs put
/// theirs. Another service's key, which programs send when they are not told otherwise, stays here; in its place, or where there
/// is none, goes the configured token.
///
/// # Errors
/// As [`bearer`].
pub fn of_request(headers: &HeaderMap, token: Option<&Token>) -> Result<HeaderMap, Error> {
    let mut passed = HeaderMap::new();
    for name in REQUEST {
        if let Some(value) = headers.get(&name) {
            passed.insert(name, value.clone());
        }
    }
    let api_key = headers.get("x-api-key").and_then(|value| value.to_str().ok()?.parse::<Token>().ok());
    match (headers.get(header::AUTHORIZATION), api_key.as_ref().or(token)) {
        (Some(value), _) if Token::is_in_header(value.as_bytes()) => {
            passed.insert(header::AUTHORIZATION, value.clone());
        }
        (_, Some(token)) => {
            passed.insert(header::AUTHORIZATION, bearer(token)?);
        }
        (_, None) => {}
    }
    Ok(passed)
}

/// The headers that go to the local program.
#[must_use]
pub fn of_answer(headers: &HeaderMap) -> HeaderMap {
    let mut passed = HeaderMap::new();
    for name in ANSWER {
        if let Some(value) = headers.get(name) {
            passed.insert(HeaderName::from_static(name), value.clone());
        }
    }
    passed
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn map(headers: &[(&'static str, &str)]) -> HeaderMap {
        headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn what_identifies_the_caller_or_belongs_to_the_connection_does_not_pass() {
        let request = map(&[
            ("content-type", "application/json"),
            ("cookie", "a=b"),
            ("user-agent", "program/1"),
            ("x-stainless-os", "Linux"),
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("x-forwarded-for", "10.0.0.1"),
        ]);
        assert_eq!(of_request(&request, None).unwrap(), map(&[("content-type", "application/json")]));
        let answer = map(&[("content-type", "text/event-stream"), ("set-cookie", "a=b"), ("connection", "close")]);
        assert_eq!(of_answer(&answer), map(&[("content-type", "text/event-stream")]));
    }

    #[test]
    fn a_token_of_the_caller_wins_and_a_foreign_key_stays_here() {
        let own = Token::random().unwrap();
        let configured = Token::random().unwrap();
        let sent = |authorization: Option<&str>, token: Option<&Token>| {
            let headers = authorization.map_or_else(HeaderMap::new, |value| map(&[("authorization", value)]));
            of_request(&headers, token).unwrap().get(header::AUTHORIZATION).cloned()
        };
        let value = |token: &Token| Some(HeaderValue::from_str(&format!("Bearer {}", token.secret())).unwrap());
        let own_header = format!("Bearer {}", own.secret());
        assert_eq!(sent(Some(&own_header), Some(&configured)), value(&own));
        assert_eq!(sent(Some("Bearer sk-secret"), Some(&configured)), value(&configured));
        assert_eq!(sent(None, Some(&configured)), value(&configured));
        assert_eq!(sent(Some("Bearer sk-secret"), None), None);
        assert_eq!(sent(None, None), None);

        let keyed = |key: &str| of_request(&map(&[("x-api-key", key)]), Some(&configured)).unwrap();
        assert_eq!(keyed(own.secret()).get(header::AUTHORIZATION).cloned(), value(&own));
        assert_eq!(keyed("sk-ant-secret").get(header::AUTHORIZATION).cloned(), value(&configured));
        assert!(!keyed(own.secret()).contains_key("x-api-key"));
    }
}
