//! Why evidence was refused.

use std::borrow::Cow;

use crate::Rule;

/// Longest reason in bytes; what evidence says about itself is quoted in part at most.
const MAX_REASON_BYTES: usize = 400;

/// Why evidence was refused: the rule it broke, and what was seen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {reason}")]
pub struct Refusal {
    rule: Rule,
    reason: Cow<'static, str>,
}

impl Refusal {
    pub(crate) fn new(rule: Rule, reason: impl Into<Cow<'static, str>>) -> Self {
        let mut reason = reason.into();
        if reason.len() > MAX_REASON_BYTES {
            let mut end = MAX_REASON_BYTES;
            while !reason.is_char_boundary(end) {
                end -= 1;
            }
            reason.to_mut().truncate(end);
        }
        Self { rule, reason }
    }

    /// The rule that was broken.
    #[must_use]
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// What was seen, for people: lower case, no final period.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
