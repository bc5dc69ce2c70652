//! What an examination found, for people and for programs.

use serde_json::{Value, json};

use crate::{
    address::Address,
    appliance::Attested,
    attestation::{Labels, Outcome, Subject},
    connection::Peer,
    error::Refusal,
};

/// The findings about one appliance.
pub struct Report {
    address: String,
    platform: Option<String>,
    tls_key: Option<String>,
    keyset_digest: Option<String>,
    nonce: Option<String>,
    labels: Labels,
    refusal: Option<Refusal>,
}

impl Report {
    /// Of a report that came.
    #[must_use]
    pub fn of(address: &Address, attested: &Attested) -> Self {
        let examination = &attested.examination;
        Self {
            address: address.to_string(),
            platform: examination.platform.clone(),
            tls_key: match &attested.peer {
                Peer::Tls { pin, .. } => Some(pin.to_string()),
                Peer::Local => None,
            },
            keyset_digest: examination.keyset_digest.map(|digest| digest.to_string()),
            nonce: Some(attested.nonce.to_string()),
            labels: examination.labels.clone(),
            refusal: examination.verdict.as_ref().err().cloned(),
        }
    }

    /// Of a server that was refused before it could send one: it holds another TLS key.
    #[must_use]
    pub fn of_refused_key(address: &Address, refusal: &Refusal) -> Self {
        let mut labels = Labels::unexamined();
        labels.set(Subject::Keys, Outcome::Refused, refusal.to_string());
        Self {
            address: address.to_string(),
            platform: None,
            tls_key: match refusal {
                Refusal::Pin(mismatch) => Some(mismatch.seen.to_string()),
                _ => None,
            },
            keyset_digest: None,
            nonce: None,
            labels,
            refusal: Some(refusal.clone()),
        }
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "appliance": self.address,
            "platform": self.platform,
            "tls_key": self.tls_key,
            "keyset_digest": self.keyset_digest,
            "nonce": self.nonce,
            "labels": self.labels,
            "verdict": if self.refusal.is_none() { "accepted" } else { "refused" },
            "reason": self.refusal.as_ref().map(ToString::to_string),
        })
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = format!("{:<15}{}\n", "appliance", self.address);
        let facts = [
            ("platform", &self.platform),
            ("TLS key", &self.tls_key),
            ("keyset", &self.keyset_digest),
            ("nonce", &self.nonce),
        ];
        for (name, fact) in facts {
            if let Some(fact) = fact {
                lines += &format!("{name:<15}{fact}\n");
            }
        }
        lines.push('\n');
        for label in self.labels.iter() {
            lines += &format!("{:<15}{:<12}{}\n", label.subject, label.outcome, label.reason);
        }
        lines += match &self.refusal {
            None => "\nverdict        accepted\n",
            Some(_) => "\nverdict        refused\n",
        };
        lines
    }
}
