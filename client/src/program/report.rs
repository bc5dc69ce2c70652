//! What an examination found, for people and for programs.

use serde_json::{Map, Value, json};

use super::look::Look;
use crate::{
    attestation::{Channel, Examination, Expectation, Labels, Outcome, Subject},
    error::Refusal,
};

/// The findings about one appliance.
pub struct Report {
    /// Where the report came from: an address or a file.
    source: String,
    policy: String,
    platform: Option<&'static str>,
    tls_key: Option<String>,
    keyset_digest: Option<String>,
    nonce: Option<String>,
    labels: Labels,
    claims: Map<String, Value>,
    refusal: Option<Refusal>,
}

impl Report {
    /// Of a report that came.
    #[must_use]
    pub fn of(source: String, policy: &str, examination: &Examination, expected: &Expectation) -> Self {
        Self {
            source,
            policy: policy.to_owned(),
            platform: examination.platform,
            tls_key: match &expected.channel {
                Channel::Tls { pin, .. } => Some(pin.to_string()),
                Channel::Local => None,
            },
            keyset_digest: examination.keyset_digest.map(|digest| digest.to_string()),
            nonce: Some(expected.nonce.to_string()),
            labels: examination.labels.clone(),
            claims: examination.claims.clone(),
            refusal: examination.verdict.as_ref().err().cloned(),
        }
    }

    /// Of a server that was refused before it could send one: it holds another TLS key.
    #[must_use]
    pub fn of_refused_key(source: String, policy: &str, refusal: &Refusal) -> Self {
        let mut labels = Labels::unexamined();
        labels.set(Subject::Keys, Outcome::Refused, refusal.to_string());
        Self {
            source,
            policy: policy.to_owned(),
            platform: None,
            tls_key: match refusal {
                Refusal::Pin(mismatch) => Some(mismatch.seen.to_string()),
                _ => None,
            },
            keyset_digest: None,
            nonce: None,
            labels,
            claims: Map::new(),
            refusal: Some(refusal.clone()),
        }
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "appliance": self.source,
            "policy": self.policy,
            "platform": self.platform,
            "tls_key": self.tls_key,
            "keyset_digest": self.keyset_digest,
            "nonce": self.nonce,
            "labels": self.labels,
            "verdict": if self.refusal.is_none() { "accepted" } else { "refused" },
            "rule": self.refusal.as_ref().and_then(Refusal::rule).map(evidence::Rule::name),
            "reason": self.refusal.as_ref().map(ToString::to_string),
            "claims": self.claims,
        })
    }

    /// For people. It drives no terminal but for the colours of `look`.
    #[must_use]
    pub fn text(&self, look: Look) -> String {
        self.text_without_verdict(look) + &verdict_line(look, self.refusal.is_none())
    }

    /// As [`Report::text`], for what has a verdict of its own.
    #[must_use]
    pub fn text_without_verdict(&self, look: Look) -> String {
        let facts = [
            ("appliance", Some(self.source.as_str())),
            ("policy", Some(self.policy.as_str())),
            ("platform", self.platform),
            ("TLS key", self.tls_key.as_deref()),
            ("keyset", self.keyset_digest.as_deref()),
            ("nonce", self.nonce.as_deref()),
        ];
        let facts = facts.into_iter().filter_map(|(name, fact)| Some(look.fact(name, fact?)));
        let mut lines: String = facts.collect();
        lines.push('\n');
        lines.extend(
            self.labels.iter().map(|label| look.label(&label.subject.to_string(), label.outcome, &label.reason)),
        );
        lines
    }
}

/// The last line.
#[must_use]
pub fn verdict_line(look: Look, accepted: bool) -> String {
    let outcome = if accepted { Outcome::Accepted } else { Outcome::Refused };
    format!("\n{}", look.label("verdict", outcome, ""))
}
