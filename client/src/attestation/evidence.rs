//! `attestation.evidence` of a report, typed: what an appliance hands over for somebody to judge. Nothing here is believed.
//!
//! Bytes are lower-case hexadecimal in the report. Members that this client does not know are left alone: what is not judged
//! proves nothing. `docs/decisions/0007` lists the members.

use serde::Deserialize;
use serde_json::Value;

use super::trust::Endorsements;
use crate::{error::Refusal, terminal};

/// Bytes that a report writes in hexadecimal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Bytes(#[serde(with = "hex::serde")] pub Vec<u8>);

/// The members that are judged.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Members {
    /// The deployment document's exact bytes.
    pub document: Option<Bytes>,
    /// What the machine says its model's SHA-256 is.
    pub model_sha256: Option<Bytes>,
    /// What the machine says the manifest's SHA-256 is that its document names.
    pub image_manifest_sha256: Option<Bytes>,
    /// Whether the appliance says that it is an ordinary program of somebody's machine, whose memory is not locked.
    #[serde(default)]
    pub insecure_host: bool,
    /// What vendors say about the platform, as its operator gave it to the machine, unread.
    pub endorsements: Option<Bytes>,
    /// Evidence of a TPM.
    pub tpm2: Option<Tpm2>,
    /// Evidence of an AMD processor.
    pub sev_snp: Option<SevSnp>,
    /// Evidence of an Intel processor.
    pub tdx: Option<Tdx>,
}

/// Evidence of a TPM 2.0.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Tpm2 {
    /// `TPMS_ATTEST`.
    pub quote: Bytes,
    /// `TPMT_SIGNATURE`.
    pub signature: Bytes,
    /// `SubjectPublicKeyInfo` of the key that is said to have signed.
    pub ak: Bytes,
    /// The platform's certificate for that key.
    pub ak_certificate: Option<Bytes>,
    /// Register values, by bank and number.
    pub pcrs: Value,
    /// The firmware's log.
    pub event_log: Bytes,
}

/// Evidence of AMD SEV-SNP.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct SevSnp {
    /// The report.
    pub report: Bytes,
    /// The host's certificate table.
    pub certificates: Option<Bytes>,
}

/// Evidence of Intel TDX.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Tdx {
    /// The quote.
    pub quote: Bytes,
    /// The firmware's log (CCEL).
    pub event_log: Option<Bytes>,
}

impl Members {
    /// Reads them.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] if a known member has another form.
    pub fn read(evidence: &Value) -> Result<Self, Refusal> {
        if evidence.is_null() {
            return Ok(Self::default());
        }
        Self::deserialize(evidence).map_err(|error| Refusal::Malformed(terminal::one_line(&error.to_string(), 200)))
    }
}

impl Members {
    /// What the operator gave; nothing where there is none.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] if it has another form.
    pub fn endorsements(&self) -> Result<Endorsements, Refusal> {
        let Some(Bytes(bytes)) = &self.endorsements else { return Ok(Endorsements::default()) };
        Endorsements::from_json(bytes).map_err(|error| {
            Refusal::Malformed(terminal::one_line(&format!("the operator's endorsements: {error}"), 200))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_members_are_left_alone_and_known_ones_have_one_form() {
        let members = Members::read(&json!({"document": "0aff", "of_the_future": [1]})).unwrap();
        assert_eq!(members.document, Some(Bytes(vec![10, 255])));
        assert_eq!(Members::read(&Value::Null).unwrap(), Members::default());
        for other in [json!({"document": "0"}), json!({"document": 1}), json!({"tpm2": {}}), json!([])] {
            assert!(matches!(Members::read(&other), Err(Refusal::Malformed(_))), "{other}");
        }
    }
}
