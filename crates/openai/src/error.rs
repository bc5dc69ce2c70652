//! Refusals of a request, and the error object they are answered with.

use serde::{Deserialize, Serialize};

/// Why a request was refused. All of these are answered with status 400, but [`Refusal::Session`] with 412.
///
/// The texts name the field and never quote a value. Field names come from the client too, so a path keeps only
/// letters, digits, `_` and `-` of them, and only so many (see [`Refusal::param`]).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The body is not JSON, or a number in it cannot be represented.
    #[error("the body is not valid JSON (line {line}, column {column})")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 0.
        column: usize,
    },
    /// Arrays and objects are nested too deeply.
    #[error("the body is nested more than {limit} levels deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// The body has too many values.
    #[error("the body has more than {limit} values")]
    TooManyValues {
        /// The limit.
        limit: usize,
    },
    /// A field occurs twice in one object.
    #[error("'{param}' is given twice")]
    Duplicate {
        /// Path of the field.
        param: String,
    },
    /// A required field is absent.
    #[error("'{param}' is required")]
    Missing {
        /// Path of the field.
        param: String,
    },
    /// A field that this API does not know.
    #[error("'{param}' is not a known field")]
    Unknown {
        /// Path of the field.
        param: String,
    },
    /// A field that OpenAI's API has and this server does not honour.
    #[error("'{param}' is not supported by this server")]
    Unsupported {
        /// Path of the field.
        param: String,
    },
    /// A field that is supported with certain values only.
    #[error("'{param}' is supported only as {only}")]
    UnsupportedValue {
        /// Path of the field.
        param: String,
        /// The values that are accepted.
        only: &'static str,
    },
    /// A value of another JSON type.
    #[error("'{param}' must be {expected}")]
    WrongType {
        /// Path of the field.
        param: String,
        /// The type that is expected.
        expected: &'static str,
    },
    /// A value outside its range.
    #[error("'{param}' must be {expected}")]
    OutOfRange {
        /// Path of the field.
        param: String,
        /// The range that is expected.
        expected: String,
    },
    /// Two fields that contradict each other.
    #[error("'{param}' {rule}")]
    Conflict {
        /// Path of the field.
        param: String,
        /// What it needs.
        rule: &'static str,
    },
    /// A demand to be served by a certain session behind this server.
    #[error("'{param}': this server answers by itself and has no sessions behind it")]
    Session {
        /// Path of the field.
        param: String,
    },
}

impl Refusal {
    /// Path of the field at fault, as in `messages[0].role`; `None` where the body as a whole is at fault.
    #[must_use]
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::Syntax { .. } | Self::TooDeep { .. } | Self::TooManyValues { .. } => None,
            Self::Duplicate { param }
            | Self::Missing { param }
            | Self::Unknown { param }
            | Self::Unsupported { param }
            | Self::UnsupportedValue { param, .. }
            | Self::WrongType { param, .. }
            | Self::OutOfRange { param, .. }
            | Self::Conflict { param, .. }
            | Self::Session { param } => Some(param),
        }
    }

    /// The error object's `code`, in the words of OpenAI's API where it has one.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "invalid_json",
            Self::TooDeep { .. } | Self::TooManyValues { .. } => "body_too_complex",
            Self::Duplicate { .. } => "duplicate_parameter",
            Self::Missing { .. } => "missing_required_parameter",
            Self::Unknown { .. } => "unknown_parameter",
            Self::Unsupported { .. } => "unsupported_parameter",
            Self::UnsupportedValue { .. } => "unsupported_value",
            Self::WrongType { .. } => "invalid_type",
            Self::OutOfRange { .. } | Self::Conflict { .. } => "invalid_value",
            Self::Session { .. } => "session_not_accepted",
        }
    }

    /// The error object's `type`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Session { .. } => "session_not_accepted",
            _ => "invalid_request_error",
        }
    }
}

/// The body of every answer that is not a success: `{"error": {…}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorObject,
}

/// OpenAI's error object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorObject {
    /// For people.
    pub message: String,
    /// Family of the error: `invalid_request_error`, `authentication_error`, `rate_limit_error`, `server_error`, or one of ACI's.
    #[serde(rename = "type")]
    pub kind: String,
    /// Path of the field at fault.
    pub param: Option<String>,
    /// For programs.
    pub code: Option<String>,
}

impl From<&Refusal> for ErrorBody {
    fn from(refusal: &Refusal) -> Self {
        Self {
            error: ErrorObject {
                message: refusal.to_string(),
                kind: refusal.kind().to_owned(),
                param: refusal.param().map(str::to_owned),
                code: Some(refusal.code().to_owned()),
            },
        }
    }
}
