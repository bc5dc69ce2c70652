//! The surface on one screen.

use ::http::Method;

use super::error::ApiError;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `POST /v1/chat/completions`
    Chat,
    /// `POST /v1/completions`
    Completion,
    /// `GET /v1/models`
    Models,
    /// `GET /v1/models/{id}`; slashes of an id may be written as they are or as `%2F`.
    Model(String),
    /// `GET /health`
    Health,
    /// `GET /v1/aci/attestation`
    Attestation,
    /// `GET /v1/attestation/report`
    LegacyReport,
}

/// Finds the route of a request.
///
/// # Errors
/// [`ApiError::NoSuchRoute`] for an unknown path, [`ApiError::MethodNotAllowed`] for another method on a known one.
pub fn route(method: &Method, path: &str) -> Result<Route, ApiError> {
    let (allowed, route) = match path {
        "/v1/chat/completions" => (Method::POST, Route::Chat),
        "/v1/completions" => (Method::POST, Route::Completion),
        "/v1/models" => (Method::GET, Route::Models),
        "/health" => (Method::GET, Route::Health),
        "/v1/aci/attestation" => (Method::GET, Route::Attestation),
        "/v1/attestation/report" => (Method::GET, Route::LegacyReport),
        _ => match path.strip_prefix("/v1/models/") {
            Some(id) => (Method::GET, Route::Model(percent_decoded(id).ok_or(ApiError::ModelNotFound)?)),
            None => return Err(ApiError::NoSuchRoute),
        },
    };
    if *method == allowed { Ok(route) } else { Err(ApiError::MethodNotAllowed { allowed }) }
}

impl Route {
    /// The route's name in events; never the path, which a client chooses.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completion => "completion",
            Self::Models => "models",
            Self::Model(_) => "model",
            Self::Health => "health",
            Self::Attestation => "attestation",
            Self::LegacyReport => "legacy-report",
        }
    }

    /// Whether a token is needed where the document demands tokens. Evidence and health are for everyone: a client
    /// checks the one before it sends a token, and whatever balances load asks the other.
    #[must_use]
    pub const fn needs_token(&self) -> bool {
        match self {
            Self::Chat | Self::Completion | Self::Models | Self::Model(_) => true,
            Self::Health | Self::Attestation | Self::LegacyReport => false,
        }
    }

    /// Whether the request has a body that is read.
    #[must_use]
    pub const fn has_body(&self) -> bool {
        matches!(self, Self::Chat | Self::Completion)
    }
}

/// RFC 3986 percent-decoding; `None` for a broken escape or a result that is not UTF-8.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
            let (high, low) = (digit()?, digit()?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_its_route() {
        assert_eq!(route(&Method::POST, "/v1/chat/completions").expect("route"), Route::Chat);
        assert_eq!(route(&Method::POST, "/v1/completions").expect("route"), Route::Completion);
        assert_eq!(route(&Method::GET, "/v1/models").expect("route"), Route::Models);
        assert_eq!(route(&Method::GET, "/health").expect("route"), Route::Health);
        assert_eq!(route(&Method::GET, "/v1/aci/attestation").expect("route"), Route::Attestation);
        assert_eq!(route(&Method::GET, "/v1/attestation/report").expect("route"), Route::LegacyReport);
        for path in ["/", "", "/v1/chat/completions/", "//v1/models", "/v1/embeddings", "/v1/../health", "*"] {
            assert!(matches!(route(&Method::GET, path), Err(ApiError::NoSuchRoute)), "{path}");
        }
    }

    #[test]
    fn another_method_is_told_the_right_one() {
        for (method, path, right) in [
            (Method::GET, "/v1/chat/completions", Method::POST),
            (Method::POST, "/v1/models", Method::GET),
            (Method::DELETE, "/v1/models/a/b", Method::GET),
            (Method::HEAD, "/health", Method::GET),
        ] {
            let Err(ApiError::MethodNotAllowed { allowed }) = route(&method, path) else { panic!("{path}") };
            assert_eq!(allowed, right);
        }
    }

    #[test]
    fn a_model_id_may_have_slashes_in_either_spelling() {
        let of = |path: &str| route(&Method::GET, path);
        assert_eq!(of("/v1/models/Qwen/Qwen2.5").expect("route"), Route::Model("Qwen/Qwen2.5".to_owned()));
        assert_eq!(of("/v1/models/Qwen%2fQwen2%2E5").expect("route"), Route::Model("Qwen/Qwen2.5".to_owned()));
        for path in ["/v1/models/a%2", "/v1/models/a%zz", "/v1/models/%ff", "/v1/models/%+1"] {
            assert!(matches!(of(path), Err(ApiError::ModelNotFound)), "{path}");
        }
    }
}
