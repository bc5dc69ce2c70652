//! Making receipts.

use serde_json::{Map, Value, json};

use super::event::{self, Event};
use super::key::ReceiptKey;
use crate::API_VERSION;
use crate::digest::Sha256Digest;
use crate::jcs::{self, JcsError};

/// What a receipt says beside its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Name of the receipt.
    pub receipt_id: String,
    /// `id` of the response, where it has one.
    pub chat_id: Option<String>,
    /// The model that was asked for, as it was asked for.
    pub model: Option<String>,
    /// Digest of the keyset that has the signing key.
    pub workload_keyset_digest: Sha256Digest,
    /// Path of the request.
    pub endpoint: String,
    /// Method of the request.
    pub method: String,
    /// Seconds since 1970, by a clock that nobody vouches for.
    pub served_at: u64,
}

/// A receipt that is being filled. Its hashes are of bytes that were seen, never of what a client says about them.
#[derive(Debug, Clone)]
pub struct Draft {
    head: Head,
    events: Vec<Value>,
}

impl Draft {
    /// Begins with the hash of the request's body.
    #[must_use]
    pub fn new(head: Head, request: Sha256Digest) -> Self {
        Self { head, events: vec![body(event::REQUEST_RECEIVED, request)] }
    }

    /// Adds the hash of the bytes that inference used. A refused request has none.
    pub fn forwarded(&mut self, request: Sha256Digest) {
        self.events.push(body(event::REQUEST_FORWARDED, request));
    }

    /// Adds an event of ours.
    pub fn push(&mut self, event: &impl Event) {
        self.events.push(event::to_value(event));
    }

    /// Adds the hash of the response's body and signs.
    ///
    /// # Errors
    /// [`JcsError`] where an event has a number that is no integer of 53 bits.
    pub fn sign(mut self, response: Sha256Digest, key: &ReceiptKey) -> Result<Receipt, JcsError> {
        self.events.push(body(event::RESPONSE_RETURNED, response));
        let document = json!({
            "api_version": API_VERSION,
            "receipt_id": self.head.receipt_id,
            "chat_id": self.head.chat_id,
            "model": self.head.model,
            "workload_keyset_digest": self.head.workload_keyset_digest,
            "endpoint": self.head.endpoint,
            "method": self.head.method,
            "served_at": self.head.served_at,
            "event_log": self.events,
            "key_id": key.id(),
        });
        let mut json = jcs::canonical(&document)?;
        let signature = hex::encode(key.sign(json.as_bytes()));
        // its place in the canonical form is before the last member, whose value needs no escape
        let last = format!(",\"workload_keyset_digest\":\"{}\"}}", self.head.workload_keyset_digest);
        json.truncate(json.len().saturating_sub(last.len()));
        json.push_str(&format!(",\"signature\":\"{signature}\"{last}"));
        Ok(Receipt { json })
    }
}

fn body(kind: &str, digest: Sha256Digest) -> Value {
    let mut members = Map::new();
    members.insert("type".to_owned(), kind.into());
    members.insert("body_hash".to_owned(), digest.to_string().into());
    Value::Object(members)
}

/// A signed receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    json: String,
}

impl Receipt {
    /// The document, in canonical form.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// SHA-256 of the canonical form, signature included: what the next receipt of the chain names.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(self.json.as_bytes())
    }
}
