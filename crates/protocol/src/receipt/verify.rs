//! Checking receipts.

use ed25519_dalek::{Signature, VerifyingKey};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::MAX_RECEIPT;
use super::draft::Head;
use super::event::{Event, REQUEST_FORWARDED, REQUEST_RECEIVED, RESPONSE_RETURNED};
use crate::API_VERSION;
use crate::digest::Sha256Digest;
use crate::keyset::Keyset;
use crate::{jcs, json};

/// A receipt whose signature and form were checked. There is no other way to read one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    head: Head,
    events: Vec<Map<String, Value>>,
    digest: Sha256Digest,
}

/// A receipt that proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not the JSON of a receipt, or a longer one than is read.
    #[error("the receipt is malformed")]
    Malformed,
    /// Another version of the protocol.
    #[error("the receipt is not of version aci/1")]
    Version,
    /// It names another keyset.
    #[error("the receipt is of another keyset")]
    Keyset,
    /// The keyset has no Ed25519 receipt key of that name.
    #[error("the keyset does not have the receipt's key")]
    UnknownKey,
    /// The signature is not the key's over this document.
    #[error("the receipt's signature does not verify")]
    Signature,
    /// The events are not in the order that the protocol demands.
    #[error("the receipt's events are not those of one request")]
    Events,
    /// The receipt is of another request.
    #[error("the receipt is of another request")]
    OtherRequest,
    /// The receipt is of another response.
    #[error("the receipt is of another response")]
    OtherResponse,
}

/// The members of the document.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    api_version: String,
    receipt_id: String,
    chat_id: Option<String>,
    model: Option<String>,
    workload_keyset_digest: Sha256Digest,
    endpoint: String,
    method: String,
    served_at: u64,
    event_log: Vec<Map<String, Value>>,
    key_id: String,
    signature: String,
}

impl Verified {
    /// Checks a receipt against the keyset that the caller has established (ACI section 9.3, 1 and 2).
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn check(receipt: &[u8], keyset: &Keyset) -> Result<Self, ReceiptError> {
        if receipt.len() > MAX_RECEIPT {
            return Err(ReceiptError::Malformed);
        }
        let mut value = json::parse(receipt).map_err(|_| ReceiptError::Malformed)?;
        let document = Document::deserialize(&value).map_err(|_| ReceiptError::Malformed)?;
        if document.api_version != API_VERSION {
            return Err(ReceiptError::Version);
        }
        if keyset.digest() != Ok(document.workload_keyset_digest) {
            return Err(ReceiptError::Keyset);
        }
        let digest = jcs::canonical(&value).map_err(|_| ReceiptError::Malformed)?;
        let digest = Sha256Digest::of(digest.as_bytes());
        value.as_object_mut().and_then(|members| members.remove("signature"));
        let signed = jcs::canonical(&value).map_err(|_| ReceiptError::Malformed)?;
        let key = keyset.receipt_key(&document.key_id).ok_or(ReceiptError::UnknownKey)?;
        verify(&key, &document.signature, signed.as_bytes())?;
        let head = Head {
            receipt_id: document.receipt_id,
            chat_id: document.chat_id,
            model: document.model,
            workload_keyset_digest: document.workload_keyset_digest,
            endpoint: document.endpoint,
            method: document.method,
            served_at: document.served_at,
        };
        let verified = Self { head, events: document.event_log, digest };
        verified.check_events()?;
        Ok(verified)
    }

    /// ACI section 7.4: the request first, the response always, forwarding at most once between them.
    fn check_events(&self) -> Result<(), ReceiptError> {
        let kind = |event: &Map<String, Value>| event.get("type").and_then(Value::as_str).map(str::to_owned);
        let kinds: Option<Vec<String>> = self.events.iter().map(kind).collect();
        let kinds = kinds.ok_or(ReceiptError::Events)?;
        let count = |name: &str| kinds.iter().filter(|kind| *kind == name).count();
        let first = kinds.first().is_some_and(|kind| kind == REQUEST_RECEIVED);
        let counts = (count(REQUEST_RECEIVED), count(REQUEST_FORWARDED), count(RESPONSE_RETURNED));
        let hashes = [REQUEST_RECEIVED, RESPONSE_RETURNED].iter().all(|name| self.hash(name).is_some());
        let forwarded = counts.1 == 0 || self.forwarded().is_some();
        if first && matches!(counts, (1, 0 | 1, 1)) && hashes && forwarded { Ok(()) } else { Err(ReceiptError::Events) }
    }

    fn hash(&self, kind: &str) -> Option<Sha256Digest> {
        let event = self.events.iter().find(|event| event.get("type").and_then(Value::as_str) == Some(kind))?;
        event.get("body_hash")?.as_str()?.parse().ok()
    }

    /// What the receipt says beside its events.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// Its digest, which the next receipt of the chain names.
    #[must_use]
    pub const fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// Hash of the bytes that inference used, or `None` where the request was refused.
    #[must_use]
    pub fn forwarded(&self) -> Option<Sha256Digest> {
        self.hash(REQUEST_FORWARDED)
    }

    /// Hash of the response's body.
    #[must_use]
    pub fn response(&self) -> Option<Sha256Digest> {
        self.hash(RESPONSE_RETURNED)
    }

    /// An event of ours, or `None` where the receipt has none.
    ///
    /// # Errors
    /// [`ReceiptError::Events`] for two of a kind, or one with other members than documented.
    pub fn event<E: Event>(&self) -> Result<Option<E>, ReceiptError> {
        let of_kind = |event: &&Map<String, Value>| event.get("type").and_then(Value::as_str) == Some(E::TYPE);
        let mut found = self.events.iter().filter(of_kind);
        let Some(event) = found.next() else { return Ok(None) };
        if found.next().is_some() {
            return Err(ReceiptError::Events);
        }
        let mut members = event.clone();
        members.remove("type");
        E::deserialize(Value::Object(members)).map(Some).map_err(|_| ReceiptError::Events)
    }

    /// Checks that the receipt is of this request and this response, byte for byte (ACI section 9.3, 3 and 4).
    ///
    /// # Errors
    /// [`ReceiptError::OtherRequest`], [`ReceiptError::OtherResponse`].
    pub fn check_exchange(&self, request: Sha256Digest, response: Sha256Digest) -> Result<(), ReceiptError> {
        if self.hash(REQUEST_RECEIVED) != Some(request) {
            return Err(ReceiptError::OtherRequest);
        }
        if self.hash(RESPONSE_RETURNED) != Some(response) {
            return Err(ReceiptError::OtherResponse);
        }
        Ok(())
    }
}

/// Strict Ed25519: no small-order key, no other encoding of the signature.
fn verify(key: &[u8; 32], signature: &str, message: &[u8]) -> Result<(), ReceiptError> {
    let lower = signature.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut bytes = [0; 64];
    if !lower || hex::decode_to_slice(signature, &mut bytes).is_err() {
        return Err(ReceiptError::Signature);
    }
    let key = VerifyingKey::from_bytes(key).map_err(|_| ReceiptError::Signature)?;
    key.verify_strict(message, &Signature::from_bytes(&bytes)).map_err(|_| ReceiptError::Signature)
}
