//! What a check says.

use serde_json::{Map, Value, json};

use crate::{Refusal, Rule};

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Everything that the policy asks holds.
    Accepted {
        /// What was verified, by name.
        claims: Map<String, Value>,
    },
    /// Something does not hold. There are no claims then: nothing was verified.
    Refused(Refusal),
}

impl Verdict {
    pub(crate) fn of(result: Result<Map<String, Value>, Refusal>) -> Self {
        match result {
            Ok(claims) => Self::Accepted { claims },
            Err(refusal) => Self::Refused(refusal),
        }
    }

    /// Whether everything holds.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted { .. })
    }

    /// The broken rule of a refusal.
    #[must_use]
    pub fn rule(&self) -> Option<Rule> {
        match self {
            Self::Accepted { .. } => None,
            Self::Refused(refusal) => Some(refusal.rule()),
        }
    }

    /// The stable JSON form: `{"verdict", "rule", "reason", "claims"}`; rule and reason are null when accepted, claims are
    /// empty when refused.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Accepted { claims } => json!({"verdict": "accepted", "rule": null, "reason": null, "claims": claims}),
            Self::Refused(refusal) => {
                json!({"verdict": "refused", "rule": refusal.rule().name(), "reason": refusal.reason(), "claims": {}})
            }
        }
    }
}
