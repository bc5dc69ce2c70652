//! The attestation report (ACI section 4): what `GET /v1/aci/attestation` answers, and how a client checks that its
//! parts belong together. Whether the evidence proves anything is another crate's business.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::API_VERSION;
use crate::digest::Sha256Digest;
use crate::jcs::{self, JcsError};
use crate::keyset::Keyset;
use crate::statement::{self, Nonce};

/// Which hardware vouches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TeeType {
    /// Intel TDX.
    Tdx,
    /// AMD SEV-SNP.
    SevSnp,
    /// A TPM 2.0, emulated or a cloud's. An extension: ACI itself names `tdx` and `sev_snp` only.
    Tpm2,
    /// Nothing vouches: the report proves nothing, and clients refuse it unless told otherwise.
    ///
    /// An extension: ACI itself names `tdx` and `sev_snp` only, so that a verifier without it fails closed.
    None,
}

impl TeeType {
    /// The name as the report has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tdx => "tdx",
            Self::SevSnp => "sev_snp",
            Self::Tpm2 => "tpm2",
            Self::None => "none",
        }
    }
}

/// Where the running code comes from. Outside of what hardware signs: a verifier needs measured evidence for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceProvenance {
    /// Public repository.
    pub repo_url: Option<String>,
    /// Commit in it.
    pub repo_commit: Option<String>,
    /// Digest of the image.
    pub image_digest: Option<Sha256Digest>,
    /// Attestation of the build.
    pub image_provenance: Option<Value>,
}

/// The attested part of a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// Which hardware vouches.
    pub tee_type: TeeType,
    /// The keys.
    pub workload_keyset: Keyset,
    /// SHA-256 of the statement.
    #[serde(with = "hex::serde")]
    pub report_data: [u8; 32],
    /// Where the code comes from.
    pub source_provenance: SourceProvenance,
    /// What the hardware gave; its form depends on `tee_type`.
    pub evidence: Value,
}

/// How inference is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Serving {
    /// In the attested workload itself.
    Direct,
    /// By forwarding it.
    Aggregator,
}

/// What the service can do. Unknown members are ignored, as the protocol asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Versions of ACI's end-to-end encryption.
    pub supported_e2ee_versions: Vec<String>,
    /// How inference is served.
    pub serving: Serving,
    /// Encrypted wires that are switched on, an extension: `ohttp`, `ohttp-chunked`, `ehbp`, `envelope`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wires: Vec<String>,
}

/// What `GET /v1/aci/attestation` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// [`API_VERSION`].
    pub api_version: String,
    /// Digest of the keyset.
    pub workload_keyset_digest: Sha256Digest,
    /// The attested part.
    pub attestation: Attestation,
    /// What the service can do.
    pub service_capabilities: Capabilities,
}

/// A report whose parts do not belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Another version of the protocol.
    #[error("the report is not of version aci/1")]
    Version,
    /// The keyset cannot be hashed.
    #[error("the keyset has no canonical form")]
    Keyset(#[source] JcsError),
    /// The digest beside the keyset is not the keyset's.
    #[error("the report's keyset digest is not that of its keyset")]
    KeysetDigest,
    /// The report answers another nonce, or none.
    #[error("the report's data does not bind the nonce that was sent")]
    ReportData,
}

impl Report {
    /// A report of a workload that serves by itself.
    ///
    /// # Errors
    /// [`JcsError`] where the keyset has no canonical form.
    pub fn new(
        tee_type: TeeType,
        keyset: &Keyset,
        nonce: Option<&Nonce>,
        source_provenance: SourceProvenance,
        evidence: Value,
    ) -> Result<Self, JcsError> {
        let digest = keyset.digest()?;
        Ok(Self {
            api_version: API_VERSION.to_owned(),
            workload_keyset_digest: digest,
            attestation: Attestation {
                tee_type,
                workload_keyset: keyset.clone(),
                report_data: statement::report_data(digest, nonce),
                source_provenance,
                evidence,
            },
            service_capabilities: Capabilities {
                supported_e2ee_versions: Vec::new(),
                serving: Serving::Direct,
                wires: Vec::new(),
            },
        })
    }

    /// The report with the names of the wires that are switched on.
    #[must_use]
    pub fn with_wires(mut self, wires: &[&str]) -> Self {
        self.service_capabilities.wires = wires.iter().map(|&wire| wire.to_owned()).collect();
        self
    }

    /// Recomputes every digest of the report for the nonce that was sent.
    ///
    /// The keyset is the parsed one; unknown members of it are refused when it is read, because its shape is fixed.
    ///
    /// # Errors
    /// [`Mismatch`] names the link of the chain that does not hold.
    pub fn check(&self, nonce: Option<&Nonce>) -> Result<(), Mismatch> {
        if self.api_version != API_VERSION {
            return Err(Mismatch::Version);
        }
        let digest = self.attestation.workload_keyset.digest().map_err(Mismatch::Keyset)?;
        if digest != self.workload_keyset_digest {
            return Err(Mismatch::KeysetDigest);
        }
        if statement::report_data(digest, nonce) != self.attestation.report_data {
            return Err(Mismatch::ReportData);
        }
        Ok(())
    }

    /// The report as JSON bytes.
    ///
    /// # Errors
    /// [`JcsError::Number`] where the evidence has a number that is not an integer of 53 bits.
    pub fn to_json(&self) -> Result<Vec<u8>, JcsError> {
        Ok(jcs::canonical(&serde_json::to_value(self).unwrap_or(Value::Null))?.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_hardware_has_one_name_in_reports() {
        for kind in [TeeType::Tdx, TeeType::SevSnp, TeeType::Tpm2, TeeType::None] {
            assert_eq!(serde_json::to_value(kind).expect("JSON"), kind.name());
        }
    }
}
