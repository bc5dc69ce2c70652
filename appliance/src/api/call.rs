//! What is known of a request before its body.

use ::http::HeaderMap;
use ::http::header::CONTENT_TYPE;
use deployment::token;
use protocol::{Sha256Digest, ehbp, ohttp};

use super::auth;
use super::error::ApiError;
use super::event::RequestId;
use super::route::Route;
use super::state::State;

/// Who asks, as far as a request proves it: the digest of its credential, or nobody in particular.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tenant(pub Option<[u8; 32]>);

/// How a request came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wire {
    /// As plain HTTP in TLS.
    Tls,
    /// As a sealed message with this digest.
    Sealed {
        /// The wire's name in capabilities and receipts.
        name: &'static str,
        /// Of the encrypted body.
        message: Sha256Digest,
        /// Whether an answer in one piece is padded itself, and not the frame around it.
        pads_body: bool,
        /// Path of the request, where the wire has one of its own.
        path: Option<&'static str>,
        /// Whether the answer carries its receipt.
        carries_receipt: bool,
    },
}

/// What the body of a request is, by its route and headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// JSON.
    Json,
    /// Sealed chunks around JSON, with the encapsulated key of the header.
    Ehbp(String),
    /// An encapsulated request.
    Ohttp {
        /// Whether it is of the chunked form.
        chunked: bool,
    },
    /// An envelope.
    Envelope,
}

impl Body {
    /// Most bytes of a sealed body around a body of `limit` bytes: base64 adds a third, chunks and header fields their share.
    #[must_use]
    pub const fn sealed_limit(&self, limit: u64) -> u64 {
        const FRAME: u64 = 64 * 1024;
        match self {
            Self::Envelope => limit / 3 * 4 + FRAME,
            Self::None | Self::Json | Self::Ehbp(_) | Self::Ohttp { .. } => limit + limit / 8 + FRAME,
        }
    }
}

/// A request that has been routed and admitted.
#[derive(Debug, Clone)]
pub struct Call {
    /// Random id, shown to the client and in events.
    pub id: RequestId,
    /// Where it goes.
    pub route: Route,
    /// What follows `?` in its target.
    pub query: Option<String>,
    /// Who asks.
    pub tenant: Tenant,
    /// Digest of the token that it carries, good or not: what a receipt's owner shows.
    pub presented: Option<[u8; 32]>,
    /// How it came.
    pub wire: Wire,
}

impl Call {
    /// Path of a request that needs a token, as its receipt has it: of this program's making, so that a receipt is bounded.
    #[must_use]
    pub(super) const fn path(&self) -> &'static str {
        match (&self.wire, &self.route) {
            (Wire::Sealed { path: Some(path), .. }, _) => path,
            (_, Route::EnvelopeChat) => "/api/chat",
            (_, Route::Completion) => "/v1/completions",
            (_, Route::Models) => "/v1/models",
            (_, Route::Model(_)) => "/v1/models/{id}",
            (_, _) => "/v1/chat/completions",
        }
    }

    /// Its method, likewise.
    #[must_use]
    pub(super) const fn method(&self) -> &'static str {
        if self.route.has_body() { "POST" } else { "GET" }
    }

    /// Lets a request pass that may use its route. An envelope may have a device instead of a token, which is looked at when it
    /// is read.
    ///
    /// # Errors
    /// [`ApiError::NoSuchRoute`] for a wire that is switched off, [`ApiError::Unauthorized`].
    pub(super) fn admit(
        state: &State,
        id: RequestId,
        route: Route,
        query: Option<&str>,
        headers: &HeaderMap,
        wire: Wire,
    ) -> Result<Self, ApiError> {
        if !route.is_served(state.wires(), state.secrets().are_taken()) {
            return Err(ApiError::NoSuchRoute);
        }
        if route.needs_token() && state.secrets().are_awaited() {
            return Err(ApiError::WaitingForSecrets);
        }
        let clients = state.clients();
        let tenant = match &route {
            Route::EnvelopeChat if auth::waits_for_device(headers, &clients) => Tenant(None),
            route if route.needs_token() => auth::admit(headers, &clients)?,
            _ => Tenant(None),
        };
        let presented = auth::bearer(headers).and_then(|token| token::digest(token).ok());
        Ok(Self { id, route, query: query.map(str::to_owned), tenant, presented, wire })
    }

    /// What the body is.
    ///
    /// # Errors
    /// [`ApiError::MediaType`] for a type that the route does not take.
    pub(super) fn body(&self, headers: &HeaderMap, ehbp: bool) -> Result<Body, ApiError> {
        match &self.route {
            Route::Ohttp => match headers.get(CONTENT_TYPE).map(::http::HeaderValue::as_bytes) {
                Some(kind) if kind == ohttp::REQUEST_TYPE.as_bytes() => Ok(Body::Ohttp { chunked: false }),
                Some(kind) if kind == ohttp::CHUNKED_REQUEST_TYPE.as_bytes() => Ok(Body::Ohttp { chunked: true }),
                _ => Err(ApiError::MediaType),
            },
            Route::EnvelopeChat => Ok(Body::Envelope),
            // sealed by itself, whatever the wire
            route if route.is_operators() => Ok(Body::Json),
            route if !route.has_body() => Ok(Body::None),
            _ => match headers.get(ehbp::ENCAPSULATED_KEY_HEADER) {
                None => Ok(Body::Json),
                // without the wire a sealed body would be read as JSON and refused as such: say what is wrong
                Some(_) if !ehbp => Err(ApiError::NoSuchWire),
                Some(key) => Ok(Body::Ehbp(key.to_str().unwrap_or_default().to_owned())),
            },
        }
    }
}
