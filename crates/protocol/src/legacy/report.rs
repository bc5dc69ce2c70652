//! The report that the older verifiers ask for (`GET /v1/attestation/report`).

use serde_json::{Value, json};

use super::{LegacyKeys, SigningAlgorithm};

/// What the hardware gave for [`LegacyKeys::report_data`]. Such a report has evidence of its own, never that of ACI's statement.
#[derive(Debug, Clone, PartialEq)]
pub enum LegacyEvidence<'a> {
    /// A TDX quote, and the event log as JSON.
    Tdx {
        /// The quote.
        quote: &'a [u8],
        /// The boot's events.
        event_log: Value,
    },
    /// A SEV-SNP report. It is no `intel_quote`: verifiers that know only that fail closed, which is right.
    SevSnp {
        /// The report, 1184 bytes.
        report: &'a [u8],
    },
    /// A TPM quote with what belongs to it.
    Tpm2(Value),
    /// Nothing vouches.
    None,
}

/// The report for a client's nonce.
///
/// Fields that have nothing to say are left out, except `nvidia_payload`, whose empty list verifiers expect on machines
/// without an accelerator.
#[must_use]
pub fn report(
    keys: &LegacyKeys,
    algorithm: SigningAlgorithm,
    nonce: &[u8; 32],
    evidence: LegacyEvidence<'_>,
    info: Value,
) -> Value {
    let nonce = hex::encode(nonce);
    let nvidia = json!({"nonce": nonce, "evidence_list": [], "arch": "HOPPER"}).to_string();
    let mut report = json!({
        "signing_address": keys.address(algorithm),
        "signing_algo": algorithm.name(),
        "signing_public_key": keys.public_key(algorithm),
        "request_nonce": nonce,
        "nvidia_payload": nvidia,
        "info": info,
    });
    let mut add = |name: &str, value: Value| {
        if let Value::Object(members) = &mut report {
            members.insert(name.to_owned(), value);
        }
    };
    match evidence {
        LegacyEvidence::Tdx { quote, event_log } => {
            add("intel_quote", hex::encode(quote).into());
            add("event_log", event_log);
        }
        LegacyEvidence::SevSnp { report } => add("snp_report", hex::encode(report).into()),
        LegacyEvidence::Tpm2(quote) => add("tpm_quote", quote),
        LegacyEvidence::None => {}
    }
    // one machine, so one report in the list of all
    let all = json!([report]);
    if let Value::Object(members) = &mut report {
        members.insert("all_attestations".to_owned(), all);
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(evidence: LegacyEvidence<'_>) -> Value {
        let keys = LegacyKeys::from_seeds(&[1; 32], &[2; 32]).expect("keys");
        report(&keys, SigningAlgorithm::Ecdsa, &[7; 32], evidence, json!({"model": "m"}))
    }

    #[test]
    fn a_tdx_report_has_the_fields_that_verifiers_read() {
        let report = of(LegacyEvidence::Tdx { quote: &[1, 2], event_log: json!([]) });
        assert_eq!(report["intel_quote"], "0102");
        assert_eq!(report["request_nonce"], "07".repeat(32));
        assert_eq!(report["all_attestations"][0]["signing_address"], report["signing_address"]);
        let nvidia: Value = serde_json::from_str(report["nvidia_payload"].as_str().expect("a text")).expect("JSON");
        assert_eq!(nvidia["nonce"], report["request_nonce"]);
    }

    #[test]
    fn other_hardware_never_pretends_to_be_intels() {
        for (evidence, field) in [
            (LegacyEvidence::SevSnp { report: &[3] }, Some("snp_report")),
            (LegacyEvidence::Tpm2(json!({})), Some("tpm_quote")),
            (LegacyEvidence::None, None),
        ] {
            let report = of(evidence);
            assert!(report.get("intel_quote").is_none());
            for name in ["snp_report", "tpm_quote"] {
                assert_eq!(report.get(name).is_some(), field == Some(name));
            }
        }
    }
}
