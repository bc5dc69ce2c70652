//! Every answer that is not a success, and the one place where it gets its status and its words.

use ::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use openai::{ErrorBody, ErrorObject, Refusal};

use super::answer::Answer;
use super::template::RenderFailure;
use crate::identity::ChainError;
use crate::inference::{Failure, SubmitError};

/// Why a request is not answered as it asks. The texts never carry what a client sent, but for safe field names.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The body is refused; the text names the field.
    #[error("{0}")]
    Body(#[source] Refusal),
    /// A sealed message that does not open, is malformed, or was accepted before: one form for all.
    #[error("the message cannot be opened")]
    Undecryptable,
    /// A sealed message opened, and what is inside is no request.
    #[error("the message holds no request in binary HTTP")]
    Undecodable,
    /// The date of a sealed request is too far from the machine's clock.
    #[error("the date of the request is not acceptable")]
    Date,
    /// A body is sealed for a wire that is not served.
    #[error("this wire is not served here; see service_capabilities of the attestation report")]
    NoSuchWire,
    /// The keys that the message is for have opened as many messages as they may.
    #[error("the key has opened as many messages as it may; fetch the keys again")]
    EpochFull {
        /// Seconds after which there will be another key.
        retry_after_s: u32,
    },
    /// The query string has something this path does not take.
    #[error("this path takes no other query parameter than {expected}")]
    Query {
        /// What it takes.
        expected: &'static str,
    },
    /// A parameter of the query has a value it cannot have.
    #[error("the query parameter '{name}' is not as it must be")]
    QueryValue {
        /// The parameter.
        name: &'static str,
    },
    /// No report about such a keyset is kept.
    #[error("nothing is kept about a keyset with this digest")]
    NoSuchKeyset,
    /// No such receipt, or somebody else's: nobody learns which.
    #[error("there is no receipt with this id, or its time is over")]
    NoSuchReceipt,
    /// A receipt of a request with a credential is asked for without one.
    #[error("the receipt belongs to a credential: show it")]
    ReceiptCredential,
    /// Another signer than this server's is asked for.
    #[error("this is not a signing address of this server")]
    NoSuchSigner,
    /// `nonce` is not 64 lower-case hexadecimal digits.
    #[error("'nonce' must be exactly 64 lower-case hexadecimal digits")]
    Nonce,
    /// The model's chat template refuses the messages.
    #[error("the model's chat template does not take these messages{}", .words.as_ref().map_or(String::new(), |words| format!(": {words}")))]
    TemplateRefuses {
        /// The template's own reason, where it holds nothing of a client.
        words: Option<String>,
    },
    /// The model has no chat template.
    #[error("this model has no chat template: use /v1/completions")]
    NoChatTemplate,
    /// The prompt does not fit.
    #[error(
        "the prompt has {prompt_tokens} tokens and the context of this model has {context_tokens}, of which at least \
         one is needed for the answer"
    )]
    ContextExceeded {
        /// Tokens of the prompt.
        prompt_tokens: u32,
        /// Tokens of the context.
        context_tokens: u32,
    },
    /// A biased token is not in the vocabulary.
    #[error("'logit_bias.{token}' must be a token id below {vocabulary}")]
    NoSuchToken {
        /// The id.
        token: u32,
        /// Size of the vocabulary.
        vocabulary: u32,
    },
    /// No token, or a wrong one.
    #[error("a valid bearer token is required")]
    Unauthorized,
    /// No device, an unknown one, a wrong signature, or a wrong enrolment token: one form for all.
    #[error("the signature of an accepted device is required")]
    DeviceRefused,
    /// The message is of none of the document's operators.
    #[error("the signature is not one of the operators'")]
    OperatorRefused,
    /// The counter of an operator's message is not above the last one.
    #[error("the counter is not above that of the last message")]
    Rollback,
    /// No use for a secret of that name.
    #[error(
        "there is no use for a secret of this name: TOKEN, TOKEN_… and ENROLMENT, ENROLMENT_…, where the document takes such clients, and TLS_CHAIN"
    )]
    SecretName,
    /// A value of the wrong form.
    #[error("a value is not what its name needs: `lethe token new` makes tokens")]
    SecretValue,
    /// A chain of certificates, or a request for one.
    #[error("{0}")]
    Chain(#[source] ChainError),
    /// A secret is to be forgotten that is not there.
    #[error("there is no secret of this name")]
    NoSuchSecret,
    /// More secrets than are held.
    #[error("more than {most} secrets")]
    SecretsFull {
        /// The most.
        most: usize,
    },
    /// The machine has no key to seal with.
    #[error("this machine does not seal: after a restart secrets have to be brought again")]
    CannotSeal,
    /// Nobody is served until an operator has brought secrets.
    #[error("waiting for secrets")]
    WaitingForSecrets,
    /// Unknown path.
    #[error("there is nothing at this path")]
    NoSuchRoute,
    /// Unknown model.
    #[error("the model does not exist here; see /v1/models")]
    ModelNotFound,
    /// Known path, other method.
    #[error("this path takes {allowed} only")]
    MethodNotAllowed {
        /// The method it takes.
        allowed: Method,
    },
    /// The body took too long.
    #[error("the request body did not arrive in time")]
    BodyTimeout,
    /// The body did not arrive.
    #[error("the request body could not be read")]
    BodyBroken,
    /// The body is larger than the document allows.
    #[error("the request body is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The body is not declared as JSON.
    #[error("the request body must have content-type application/json and no content-encoding")]
    MediaType,
    /// The queue is full.
    #[error("too many requests are waiting")]
    QueueFull {
        /// Seconds after which a place is likely.
        retry_after_s: u32,
    },
    /// Too many requests for evidence are waiting, or too many were answered just now.
    #[error("too many requests for evidence")]
    EvidenceBusy,
    /// The machine gives no evidence.
    #[error("the machine gives no evidence")]
    NoEvidence,
    /// The engine makes no progress.
    #[error("the engine is not ready")]
    NotReady,
    /// The time budget ended before the answer began.
    #[error("the time budget of the request is used up")]
    TimeBudget,
    /// The engine failed.
    #[error("the engine failed")]
    Engine,
    /// Something that is the machine's fault.
    #[error("internal error")]
    Internal,
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::Body(refusal)
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::ContextExceeded { prompt_tokens, context_tokens } => {
                Self::ContextExceeded { prompt_tokens, context_tokens }
            }
            Failure::NoSuchToken { token, vocabulary } => Self::NoSuchToken { token, vocabulary },
            Failure::Timeout => Self::TimeBudget,
            Failure::Engine => Self::Engine,
        }
    }
}

impl From<RenderFailure> for ApiError {
    fn from(failure: RenderFailure) -> Self {
        match failure {
            RenderFailure::Refused { words } => Self::TemplateRefuses { words },
            RenderFailure::Failed => Self::TemplateRefuses { words: None },
        }
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::QueueFull { retry_after_s } => Self::QueueFull { retry_after_s },
            SubmitError::NotReady => Self::NotReady,
        }
    }
}

/// Family of an error, as OpenAI's clients know them.
const INVALID: &str = "invalid_request_error";
const AUTHENTICATION: &str = "authentication_error";
const RATE: &str = "rate_limit_error";
const SERVER: &str = "server_error";

impl ApiError {
    /// Status, family and code.
    const fn classify(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Body(refusal @ Refusal::Session { .. }) => {
                (StatusCode::PRECONDITION_FAILED, refusal.kind(), refusal.code())
            }
            Self::Body(refusal) => (StatusCode::BAD_REQUEST, refusal.kind(), refusal.code()),
            Self::Undecryptable => (StatusCode::BAD_REQUEST, INVALID, "undecryptable"),
            Self::Undecodable => (StatusCode::BAD_REQUEST, INVALID, "undecodable"),
            Self::Date => (StatusCode::BAD_REQUEST, INVALID, "date"),
            Self::NoSuchWire => (StatusCode::BAD_REQUEST, INVALID, "no_such_wire"),
            Self::EpochFull { .. } => (StatusCode::TOO_MANY_REQUESTS, RATE, "epoch_full"),
            Self::Query { .. } => (StatusCode::BAD_REQUEST, INVALID, "unknown_parameter"),
            Self::Nonce | Self::NoSuchToken { .. } | Self::QueryValue { .. } => {
                (StatusCode::BAD_REQUEST, INVALID, "invalid_value")
            }
            Self::TemplateRefuses { .. } => (StatusCode::BAD_REQUEST, INVALID, "chat_template_refused"),
            Self::NoChatTemplate => (StatusCode::BAD_REQUEST, INVALID, "no_chat_template"),
            Self::ContextExceeded { .. } => (StatusCode::BAD_REQUEST, INVALID, "context_length_exceeded"),
            Self::BodyBroken => (StatusCode::BAD_REQUEST, INVALID, "incomplete_body"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, AUTHENTICATION, "invalid_api_key"),
            Self::DeviceRefused => (StatusCode::UNAUTHORIZED, AUTHENTICATION, "invalid_device"),
            Self::OperatorRefused => (StatusCode::UNAUTHORIZED, AUTHENTICATION, "invalid_operator"),
            Self::Rollback => (StatusCode::CONFLICT, INVALID, "rollback"),
            Self::SecretName => (StatusCode::BAD_REQUEST, INVALID, "secret_name"),
            Self::SecretValue => (StatusCode::BAD_REQUEST, INVALID, "secret_value"),
            Self::Chain(ChainError::Names) => (StatusCode::BAD_REQUEST, INVALID, "tls_names"),
            Self::Chain(ChainError::BroughtKey) => (StatusCode::NOT_IMPLEMENTED, SERVER, "brought_key"),
            Self::Chain(ChainError::Malformed | ChainError::OtherKey) => {
                (StatusCode::BAD_REQUEST, INVALID, "tls_chain")
            }
            Self::SecretsFull { .. } => (StatusCode::BAD_REQUEST, INVALID, "secrets_full"),
            Self::NoSuchSecret => (StatusCode::NOT_FOUND, INVALID, "no_such_secret"),
            Self::CannotSeal => (StatusCode::NOT_IMPLEMENTED, SERVER, "cannot_seal"),
            Self::WaitingForSecrets => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "waiting_for_secrets"),
            Self::NoSuchRoute => (StatusCode::NOT_FOUND, INVALID, "unknown_url"),
            Self::ReceiptCredential => (StatusCode::UNAUTHORIZED, "unauthorized", "unauthorized"),
            Self::NoSuchReceipt | Self::NoSuchKeyset | Self::NoSuchSigner => {
                (StatusCode::NOT_FOUND, "not_found", "not_found")
            }
            Self::ModelNotFound => (StatusCode::NOT_FOUND, INVALID, "model_not_found"),
            Self::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, INVALID, "method_not_allowed"),
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, INVALID, "body_timeout"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, INVALID, "body_too_large"),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID, "unsupported_media_type"),
            Self::QueueFull { .. } => (StatusCode::TOO_MANY_REQUESTS, RATE, "queue_full"),
            Self::EvidenceBusy => (StatusCode::TOO_MANY_REQUESTS, RATE, "queue_full"),
            Self::NoEvidence => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "no_evidence"),
            Self::NotReady => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "not_ready"),
            Self::TimeBudget => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "time_budget_exceeded"),
            Self::Engine => (StatusCode::INTERNAL_SERVER_ERROR, SERVER, "engine_failed"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, SERVER, "internal_error"),
        }
    }

    /// Path of the field at fault.
    fn param(&self) -> Option<String> {
        match self {
            Self::Body(refusal) => refusal.param().map(str::to_owned),
            Self::Nonce => Some("nonce".to_owned()),
            Self::QueryValue { name } => Some((*name).to_owned()),
            Self::TemplateRefuses { .. } => Some("messages".to_owned()),
            Self::NoSuchToken { token, .. } => Some(format!("logit_bias.{token}")),
            Self::ModelNotFound => Some("model".to_owned()),
            _ => None,
        }
    }

    /// The header that some statuses need.
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        /// After an engine that stands still the machine restarts or recovers; sooner makes no sense.
        const NOT_READY_S: u32 = 10;
        /// By then a queue of requests for evidence has moved.
        const EVIDENCE_S: u32 = 1;
        match self {
            Self::Unauthorized => Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Self::MethodNotAllowed { allowed } => {
                HeaderValue::from_str(allowed.as_str()).ok().map(|allowed| (header::ALLOW, allowed))
            }
            Self::QueueFull { retry_after_s } | Self::EpochFull { retry_after_s } => {
                Some((header::RETRY_AFTER, HeaderValue::from(*retry_after_s)))
            }
            Self::EvidenceBusy => Some((header::RETRY_AFTER, HeaderValue::from(EVIDENCE_S))),
            Self::NotReady | Self::WaitingForSecrets => Some((header::RETRY_AFTER, HeaderValue::from(NOT_READY_S))),
            _ => None,
        }
    }

    /// The error object, for an answer's body and for an event in a stream.
    #[must_use]
    pub fn body(&self) -> ErrorBody {
        let (_, kind, code) = self.classify();
        ErrorBody {
            error: ErrorObject {
                message: self.to_string(),
                kind: kind.to_owned(),
                param: self.param(),
                code: Some(code.to_owned()),
            },
        }
    }
}

impl From<ApiError> for Answer {
    fn from(error: ApiError) -> Self {
        let (status, _, _) = error.classify();
        let mut answer = Self::json(status, &error.body());
        answer.headers.extend(error.header());
        answer
    }
}
