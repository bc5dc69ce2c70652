//! The surface on one screen.

use ::http::Method;
use deployment::Wires;

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
    /// `GET /v1/aci/receipts/{id}`
    Receipt(String),
    /// `GET /v1/signature/{id}`
    Signature(String),
    /// `GET /.well-known/ohttp-gateway`
    OhttpKeys,
    /// `POST /.well-known/ohttp-gateway`
    Ohttp,
    /// `GET /.well-known/hpke-keys`
    EhbpKeys,
    /// `GET /api/pubkey`
    EnvelopeKeys,
    /// `GET /.well-known/jwks.json`
    EnvelopeJwks,
    /// `POST /api/chat`
    EnvelopeChat,
    /// `GET /v1/operator/secrets`
    SecretsStanding,
    /// `POST /v1/operator/secrets`
    ChangeSecrets,
    /// `GET /v1/operator/csr`
    TlsRequest,
    /// `POST /v1/operator/seal`
    SealSecrets,
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
        "/.well-known/ohttp-gateway" if *method == Method::GET => (Method::GET, Route::OhttpKeys),
        "/.well-known/ohttp-gateway" => (Method::POST, Route::Ohttp),
        "/.well-known/hpke-keys" => (Method::GET, Route::EhbpKeys),
        "/api/pubkey" => (Method::GET, Route::EnvelopeKeys),
        "/.well-known/jwks.json" => (Method::GET, Route::EnvelopeJwks),
        "/v1/operator/secrets" if *method == Method::GET => (Method::GET, Route::SecretsStanding),
        "/v1/operator/secrets" => (Method::POST, Route::ChangeSecrets),
        "/v1/operator/csr" => (Method::GET, Route::TlsRequest),
        "/v1/operator/seal" => (Method::POST, Route::SealSecrets),
        "/api/chat" => (Method::POST, Route::EnvelopeChat),
        _ => (Method::GET, named(path)?),
    };
    if *method == allowed { Ok(route) } else { Err(ApiError::MethodNotAllowed { allowed }) }
}

/// The routes that end in a name.
fn named(path: &str) -> Result<Route, ApiError> {
    let name = |prefix| path.strip_prefix(prefix);
    if let Some(id) = name("/v1/models/") {
        return percent_decoded(id).map(Route::Model).ok_or(ApiError::ModelNotFound);
    }
    if let Some(id) = name("/v1/aci/receipts/") {
        return percent_decoded(id).map(Route::Receipt).ok_or(ApiError::NoSuchReceipt);
    }
    if let Some(id) = name("/v1/signature/") {
        return percent_decoded(id).map(Route::Signature).ok_or(ApiError::NoSuchReceipt);
    }
    Err(ApiError::NoSuchRoute)
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
            Self::Receipt(_) => "receipt",
            Self::Signature(_) => "signature",
            Self::OhttpKeys => "ohttp-keys",
            Self::Ohttp => "ohttp",
            Self::EhbpKeys => "ehbp-keys",
            Self::EnvelopeKeys => "envelope-keys",
            Self::EnvelopeJwks => "envelope-jwks",
            Self::EnvelopeChat => "envelope",
            Self::SecretsStanding => "secrets-standing",
            Self::ChangeSecrets => "secrets",
            Self::SealSecrets => "seal",
            Self::TlsRequest => "csr",
        }
    }

    /// Whether a token is needed where the document demands tokens. Evidence, keys and health are for everyone: a client
    /// checks the one before it sends a token, and whatever balances load asks the other. A sealed request has its token inside.
    #[must_use]
    pub const fn needs_token(&self) -> bool {
        matches!(self, Self::Chat | Self::Completion | Self::Models | Self::Model(_) | Self::EnvelopeChat)
    }

    /// Whether the request has a body that is read.
    #[must_use]
    pub const fn has_body(&self) -> bool {
        self.is_operators() || matches!(self, Self::Chat | Self::Completion | Self::Ohttp | Self::EnvelopeChat)
    }

    /// Whether the body is an operator's message, sealed and signed by itself.
    #[must_use]
    pub const fn is_operators(&self) -> bool {
        matches!(self, Self::ChangeSecrets | Self::SealSecrets)
    }

    /// Whether the engine is asked.
    #[must_use]
    pub const fn is_inference(&self) -> bool {
        matches!(self, Self::Chat | Self::Completion)
    }

    /// Whether the route takes or serves a sealed wire of its own, which no sealed request goes to.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        matches!(self, Self::Ohttp | Self::EnvelopeChat)
    }

    /// Whether the document switches the route on.
    #[must_use]
    pub const fn is_served(&self, wires: &Wires, operators: bool) -> bool {
        match self {
            Self::Ohttp | Self::OhttpKeys => wires.ohttp,
            Self::EhbpKeys => wires.ehbp,
            Self::EnvelopeKeys | Self::EnvelopeJwks | Self::EnvelopeChat => wires.envelope,
            Self::SecretsStanding | Self::ChangeSecrets | Self::SealSecrets | Self::TlsRequest => operators,
            _ => true,
        }
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
        assert_eq!(route(&Method::GET, "/.well-known/ohttp-gateway").expect("route"), Route::OhttpKeys);
        assert_eq!(route(&Method::POST, "/.well-known/ohttp-gateway").expect("route"), Route::Ohttp);
        assert_eq!(route(&Method::GET, "/.well-known/hpke-keys").expect("route"), Route::EhbpKeys);
        assert_eq!(route(&Method::GET, "/v1/aci/receipts/r").expect("route"), Route::Receipt("r".to_owned()));
        assert_eq!(route(&Method::GET, "/v1/signature/c").expect("route"), Route::Signature("c".to_owned()));
        assert_eq!(route(&Method::GET, "/api/pubkey").expect("route"), Route::EnvelopeKeys);
        assert_eq!(route(&Method::GET, "/.well-known/jwks.json").expect("route"), Route::EnvelopeJwks);
        assert_eq!(route(&Method::POST, "/api/chat").expect("route"), Route::EnvelopeChat);
        let secrets = "/v1/operator/secrets";
        assert_eq!(route(&Method::GET, secrets).expect("route"), Route::SecretsStanding);
        assert_eq!(route(&Method::POST, secrets).expect("route"), Route::ChangeSecrets);
        assert_eq!(route(&Method::GET, "/v1/operator/csr").expect("route"), Route::TlsRequest);
        assert_eq!(route(&Method::POST, "/v1/operator/seal").expect("route"), Route::SealSecrets);
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
