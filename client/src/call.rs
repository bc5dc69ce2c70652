//! A request to an appliance, before anything carries it.

use http::{HeaderMap, HeaderValue, Method, Request, header};
use http_body_util::Full;
use hyper::body::Bytes;

use crate::{address::Address, connection::RequestBody, error::NetworkError};

/// One request, without its body and what belongs to the connection.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Headers beside `Host`, `Content-Length` and `Transfer-Encoding`.
    pub headers: HeaderMap,
}

/// When a request may be sent a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Its answer depends on nothing but itself and leaves nothing behind: while no byte of an answer was passed on.
    Harmless,
    /// Only if nothing of it left this machine, or the node says that it did nothing. Such a request gets a connection of its
    /// own: one that was kept might be closing, and that would not show before it is sent.
    Unsent,
}

impl Call {
    /// `GET path`.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), headers: HeaderMap::new() }
    }

    /// `POST path` with a JSON body.
    #[must_use]
    pub fn post_json(path: &str) -> Self {
        let mut call = Self { method: Method::POST, ..Self::get(path) };
        call.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        call
    }

    /// The path without its query.
    #[must_use]
    pub fn route(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// Whether an answer to this request has a receipt, from an appliance that gives any.
    #[must_use]
    pub fn is_inference(&self) -> bool {
        const INFERENCE: [&str; 3] = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"];
        self.method == Method::POST && INFERENCE.contains(&self.route())
    }

    /// When it may be sent again.
    #[must_use]
    pub fn repeat(&self) -> Repeat {
        if self.method == Method::GET || self.is_inference() { Repeat::Harmless } else { Repeat::Unsent }
    }

    /// The request, with a body and what belongs to the address.
    pub(crate) fn with_body(&self, address: &Address, body: Bytes) -> Result<Request<RequestBody>, NetworkError> {
        let mut builder = Request::builder().method(self.method.clone()).uri(&self.path);
        if let Some(headers) = builder.headers_mut() {
            headers.clone_from(&self.headers);
            let host = HeaderValue::from_str(&address.authority()).map_err(|_| NetworkError::UnusableRequest)?;
            headers.insert(header::HOST, host);
        }
        builder.body(Full::new(body)).map_err(|_| NetworkError::UnusableRequest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leaves_nothing_behind_is_repeated_after_it_was_sent() {
        for harmless in
            [Call::get("/v1/models"), Call::post_json("/v1/completions"), Call::post_json("/v1/embeddings?x=1")]
        {
            assert_eq!(harmless.repeat(), Repeat::Harmless, "{}", harmless.path);
        }
        for other in [Call::post_json("/v1/secrets"), Call::post_json("/v1/chat/completions/"), Call::post_json("/")] {
            assert_eq!(other.repeat(), Repeat::Unsent, "{}", other.path);
        }
        assert!(!Call::get("/v1/chat/completions").is_inference());
    }
}
