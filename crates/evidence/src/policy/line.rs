//! One line of a policy: a value and why it is so.

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{Refusal, Rule};

/// A value and the reason for it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line<T> {
    /// What the policy says.
    pub is: T,
    /// Why it says so. Never empty.
    #[serde(deserialize_with = "reason")]
    pub because: String,
}

fn reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.trim().is_empty() { Err(D::Error::custom("a policy line needs a reason")) } else { Ok(text) }
}

impl<T> Line<T> {
    /// A refusal by this line, with its reason.
    pub(crate) fn refuse(&self, rule: Rule, seen: impl AsRef<str>) -> Refusal {
        rule.refuse(format!("{}; the policy refuses it: {}", seen.as_ref(), self.because))
    }
}

impl Line<bool> {
    /// Refuses what was seen and is not allowed.
    pub(crate) fn forbid(&self, rule: Rule, seen: bool, what: &str) -> Result<(), Refusal> {
        if seen && !self.is { Err(self.refuse(rule, what)) } else { Ok(()) }
    }
}

/// Whether something must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Demand {
    /// Its absence is a refusal.
    Required,
    /// It is judged where it is given; a given one that does not hold is a refusal.
    IfGiven,
}

/// A list of what is allowed, or the word `any`. An empty list allows nothing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Allowed {
    /// Everything is allowed; written `"any"`.
    Any(Anything),
    /// Exactly these are allowed, in lower-case hexadecimal.
    Listed(Vec<String>),
}

/// The word `any`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anything {
    /// No restriction.
    Any,
}

impl Allowed {
    /// Whether these bytes are on a list; `any` lists nothing.
    #[must_use]
    pub fn lists(&self, bytes: &[u8]) -> bool {
        matches!(self, Self::Listed(_)) && self.allows(bytes)
    }

    /// Whether these bytes are allowed.
    #[must_use]
    pub fn allows(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Any(_) => true,
            Self::Listed(list) => {
                let value = hex::encode(bytes);
                list.contains(&value)
            }
        }
    }
}
