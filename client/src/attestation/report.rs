//! The attestation report of `GET /v1/aci/attestation`, parsed and not yet believed.

use protocol::{Keyset, Sha256Digest};
use serde::Deserialize;
use serde_json::Value;

use crate::{error::Refusal, terminal};

/// Longest report that is read, in bytes.
pub const MAX_REPORT_BYTES: usize = 1024 * 1024;

/// A report as it came. Stricter than [`protocol::Report`] about unknown members, and open about the hardware, so that a
/// kind this client does not know can be named in the refusal.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// `aci/1`.
    pub api_version: String,
    /// What the server says the digest of its keyset is.
    pub workload_keyset_digest: Sha256Digest,
    /// The part that hardware vouches for, where there is hardware.
    pub attestation: Attestation,
    /// What the service can do. Unknown members are ignored by rule of the protocol; nothing here is believed.
    #[serde(default)]
    pub service_capabilities: Value,
}

/// The attested part of a report.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// Kind of hardware, or `none`.
    pub tee_type: String,
    /// The keys.
    pub workload_keyset: Keyset,
    /// SHA-256 of the statement about keyset and nonce.
    #[serde(with = "hex::serde")]
    pub report_data: [u8; 32],
    /// Where the service says its program comes from; proves nothing.
    #[serde(default)]
    pub source_provenance: Value,
    /// The hardware's evidence, by policy of the platform.
    #[serde(default)]
    pub evidence: Value,
}

impl Report {
    /// Parses a report.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] if it is too long, not JSON, or has other members than it may have.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > MAX_REPORT_BYTES {
            return Err(Refusal::Malformed(format!("longer than {MAX_REPORT_BYTES} bytes")));
        }
        serde_json::from_slice(bytes).map_err(|error| Refusal::Malformed(terminal::one_line(&error.to_string(), 200)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> String {
        serde_json::json!({
            "api_version": "aci/1", "workload_keyset_digest": format!("sha256:{}", "00".repeat(32)),
            "attestation": {
                "tee_type": "none", "report_data": "ab".repeat(32),
                "workload_keyset": {"subject": null, "not_after": 1, "receipt_signing_keys": [], "e2ee_public_keys": [], "tls_public_keys": []},
            },
            "service_capabilities": {"serving": "direct", "of_the_future": [1, 2]},
        })
        .to_string()
    }

    #[test]
    fn unknown_members_are_ignored_in_capabilities_alone() {
        assert!(Report::parse(text().as_bytes()).is_ok());
        for place in ["{\"api_version\"", "{\"tee_type\"", "{\"subject\""] {
            let other = text().replacen(place, &place.replacen('{', "{\"new\":1,", 1), 1);
            assert_ne!(other, text());
            assert!(matches!(Report::parse(other.as_bytes()), Err(Refusal::Malformed(_))), "{other}");
        }
    }

    #[test]
    fn digests_of_another_length_or_form_are_refused() {
        let digest = "ab".repeat(32);
        for other in [&digest[2..], &format!("{digest}00"), &format!("0x{}", &digest[2..]), ""] {
            let text = text().replacen(&digest, other, 1);
            assert!(matches!(Report::parse(text.as_bytes()), Err(Refusal::Malformed(_))), "{other}");
        }
    }

    #[test]
    fn broken_and_oversized_reports_are_refused() {
        let whole = text();
        for length in [0, 1, whole.len() / 2, whole.len() - 1] {
            assert!(Report::parse(&whole.as_bytes()[..length]).is_err());
        }
        let padded = whole + &" ".repeat(MAX_REPORT_BYTES);
        assert!(Report::parse(padded.as_bytes()).is_err());
        assert!(Report::parse("[".repeat(100_000).as_bytes()).is_err());
    }
}
