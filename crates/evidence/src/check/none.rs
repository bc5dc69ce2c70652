//! The platform that has no evidence.

use serde_json::{Map, json};

use super::Verdict;
use crate::{Policy, Rule};

/// Judges a platform that says it has no hardware evidence: rule N1. An acceptance is marked loudly in its claims.
#[must_use]
pub fn none(policy: &Policy) -> Verdict {
    let line = &policy.platform.none_allowed;
    if line.is {
        let mut claims = Map::new();
        claims.insert("tee_type".to_owned(), json!("none"));
        claims.insert("warning".to_owned(), json!("DEVELOPMENT ONLY: nothing about this machine is proven"));
        Verdict::Accepted { claims }
    } else {
        Verdict::Refused(line.refuse(Rule::N1, "there is no hardware evidence"))
    }
}
