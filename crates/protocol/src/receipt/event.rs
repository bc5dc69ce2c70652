//! Events of receipts: ACI's names, and events of ours. Verifiers that do not know ours ignore them; the signature covers them.
//!
//! Numbers are integers; fractions are decimal texts, because canonical JSON here has none.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::digest::Sha256Digest;

/// The request's body.
pub const REQUEST_RECEIVED: &str = "request.received";
/// The bytes that inference used.
pub const REQUEST_FORWARDED: &str = "request.forwarded";
/// The response's body.
pub const RESPONSE_RETURNED: &str = "response.returned";

/// An event of ours.
pub trait Event: Serialize + DeserializeOwned {
    /// Its `type`.
    const TYPE: &'static str;
}

/// The event with its type.
pub(super) fn to_value(event: &impl Event) -> Value {
    /// Binds the constant to the value's own type.
    fn kind<E: Event>(_: &E) -> &'static str {
        E::TYPE
    }
    let mut members = Map::new();
    members.insert("type".to_owned(), kind(event).into());
    // events are structs of texts and integers
    if let Ok(Value::Object(own)) = serde_json::to_value(event) {
        members.extend(own);
    }
    Value::Object(members)
}

/// Which model answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Its name in the deployment document.
    pub name: String,
    /// SHA-256 of the GGUF file.
    pub gguf_sha256: Sha256Digest,
    /// SHA-256 of the chat template, where one was used.
    pub chat_template_sha256: Option<Sha256Digest>,
}

impl Event for Model {
    const TYPE: &'static str = "lethe.model";
}

/// What the model read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// SHA-256 of the effective prompt, after the chat template, in UTF-8.
    pub prompt_sha256: Sha256Digest,
}

impl Event for Prompt {
    const TYPE: &'static str = "lethe.prompt";
}

/// How tokens were chosen: the values really used, defaults and limits applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// The seed, in decimal: it may have 64 bits.
    pub seed: String,
    /// Most tokens of the answer.
    pub max_tokens: u64,
    /// The other parameters by their names in the API; fractions as decimal texts.
    pub parameters: std::collections::BTreeMap<String, String>,
}

impl Event for Sampling {
    const TYPE: &'static str = "lethe.sampling";
}

/// How much was read and written, and why it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    pub completion_tokens: u64,
    /// `stop`, `length`, … as the response says.
    pub finish_reason: String,
}

impl Event for Usage {
    const TYPE: &'static str = "lethe.usage";
}

/// Which launch answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// Kind of hardware, as the report names it.
    pub tee_type: String,
    /// The launch measurement in lower-case hexadecimal, as the hardware reports it; nothing where nothing measures.
    pub measurement: Option<String>,
    /// Random name of this boot, in lower-case hexadecimal.
    pub boot_id: String,
    /// Number of the epoch in this boot.
    pub epoch: u64,
}

impl Event for Launch {
    const TYPE: &'static str = "lethe.launch";
}

/// The place of the receipt among those of its tenant and epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// 0 for the tenant's first receipt of the epoch.
    pub counter: u64,
    /// Digest of the receipt before it, of its canonical form with signature.
    pub previous: Option<Sha256Digest>,
}

impl Event for Place {
    const TYPE: &'static str = "lethe.chain";
}

/// How request and answer travelled, where it was not plain HTTP. Body hashes of the other events are of the decrypted bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transport {
    /// The wire: `ohttp`, `ohttp-chunked`, `ehbp`, `envelope`.
    pub wire: String,
    /// SHA-256 of the encrypted request body.
    pub request_ciphertext_hash: Option<Sha256Digest>,
    /// SHA-256 of the encrypted response body, where the receipt is made after it.
    pub response_ciphertext_hash: Option<Sha256Digest>,
}

impl Event for Transport {
    const TYPE: &'static str = "lethe.transport";
}
