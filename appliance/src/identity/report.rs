//! Attestation reports: what the machine says about the keyset, and the form that the older verifiers ask for.

use std::sync::Arc;

use protocol::legacy::{self, SigningAlgorithm};
use protocol::{JcsError, Nonce, Report, Sha256Digest, SourceProvenance, report_data_slot};
use serde_json::Value;
use tee::{Evidence, TeeError};

use super::{Identity, Published, epoch, evidence};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The report, or the keyset in it, has no canonical form.
    #[error("the report has no canonical form")]
    Form(#[source] JcsError),
    /// The machine gives no evidence.
    #[error("the machine gives no evidence")]
    Machine(#[from] TeeError),
}

impl Identity {
    /// The attestation report for a client's nonce, in the bytes that are sent. Without a nonce it is made once an epoch and kept.
    ///
    /// Asking a machine takes from milliseconds to seconds, and requests queue: not for a thread that serves others.
    ///
    /// # Errors
    /// [`ReportError::Machine`] where the machine gives no evidence.
    pub fn report(&self, nonce: Option<&Nonce>) -> Result<Arc<[u8]>, ReportError> {
        match nonce {
            None => self.report_of(&self.published()),
            Some(nonce) => self.make_report(&self.published(), Some(nonce)),
        }
    }

    /// The report about a keyset without a nonce; made once and kept with it.
    ///
    /// # Errors
    /// As [`Identity::report`].
    pub fn report_of(&self, published: &Published) -> Result<Arc<[u8]>, ReportError> {
        if let Some(report) = published.report.get() {
            return Ok(Arc::clone(report));
        }
        let report = self.make_report(published, None)?;
        Ok(Arc::clone(published.report.get_or_init(|| report)))
    }

    /// The report without a nonce about the present keyset, where it was made already: nobody has to wait for it.
    #[must_use]
    pub fn report_made(&self) -> Option<Arc<[u8]>> {
        self.published().report.get().cloned()
    }

    /// The report that was made about the keyset with this digest, of the present epoch or of one that is over.
    #[must_use]
    pub fn report_kept(&self, digest: Sha256Digest) -> Option<Arc<[u8]>> {
        self.read().find(digest).and_then(|published| published.report.get().cloned())
    }

    fn make_report(&self, published: &Published, nonce: Option<&Nonce>) -> Result<Arc<[u8]>, ReportError> {
        let evidence = self.boot.machine.evidence(&report_data_slot(published.digest, nonce))?;
        self.measurement.get_or_init(|| evidence::measurement(&evidence));
        let evidence = evidence::json(self, &evidence);
        let report = Report::new(self.tee_type(), &published.keyset, nonce, SourceProvenance::default(), evidence);
        let report = report.map_err(ReportError::Form)?.with_wires(&epoch::wire_names(&self.wires));
        Ok(report.to_json().map_err(ReportError::Form)?.into())
    }

    /// The report that the older verifiers ask for, with evidence of its own: ACI's statement is never in it.
    ///
    /// # Errors
    /// As [`Identity::report`].
    pub fn legacy_report(&self, algorithm: SigningAlgorithm, nonce: &[u8; 32]) -> Result<Value, ReportError> {
        let keys = self.legacy();
        let evidence = self.boot.machine.evidence(&keys.report_data(algorithm, nonce))?;
        let info = serde_json::json!({
            "document_sha256": hex::encode(self.origin.document_sha256),
            "model": self.model.0,
            "model_sha256": hex::encode(self.model.1),
            "tee_type": self.tee_type().name(),
            "workload_keyset_digest": self.keyset_digest(),
        });
        Ok(match &evidence {
            Evidence::None => legacy::report(keys, algorithm, nonce, legacy::LegacyEvidence::None, info),
            Evidence::SevSnp(found) => {
                let found = legacy::LegacyEvidence::SevSnp { report: &found.report };
                legacy::report(keys, algorithm, nonce, found, info)
            }
            Evidence::Tdx(found) => {
                let event_log = found.event_log.as_ref().map_or(Value::Null, |log| hex::encode(log).into());
                let found = legacy::LegacyEvidence::Tdx { quote: &found.quote, event_log };
                legacy::report(keys, algorithm, nonce, found, info)
            }
            Evidence::Tpm2(found) => {
                let found = legacy::LegacyEvidence::Tpm2(evidence::tpm2(found));
                legacy::report(keys, algorithm, nonce, found, info)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::tests::{ORIGIN, document, short};
    use super::*;

    fn parsed(report: &[u8]) -> Report {
        serde_json::from_slice(report).expect("a report")
    }

    #[test]
    fn the_report_binds_the_nonce_and_lists_the_keys() {
        let identity = Identity::establish(&document(), ORIGIN).expect("identity");
        let nonce = Nonce::from_bytes([3; 32]);
        let report = parsed(&identity.report(Some(&nonce)).expect("report"));
        assert_eq!(report.check(Some(&nonce)), Ok(()));
        assert!(report.check(None).is_err());
        assert_eq!(report.workload_keyset_digest, identity.keyset_digest());
        assert_eq!(report.attestation.workload_keyset.tls_public_keys[0].spki_sha256, *identity.tls().spki_sha256());
        assert_eq!(report.attestation.evidence["document_sha256"], "09".repeat(32));
        assert_eq!(report.attestation.evidence["host_mode"], true);
        assert_eq!(report.attestation.evidence["missing"], serde_json::json!(["hardware_evidence"]));
        assert_eq!(report.service_capabilities.wires, ["ohttp", "ohttp-chunked"]);
    }

    #[test]
    fn the_manifest_that_the_document_names_is_in_the_evidence() {
        let mut document = document();
        document.image.manifest_sha256 = Some(deployment::ManifestDigest([0xcd; 32]));
        let named = Identity::establish(&document, ORIGIN).expect("identity");
        document.image.manifest_sha256 = None;
        let unnamed = Identity::establish(&document, ORIGIN).expect("identity");
        let found = Evidence::Tdx(tee::TdxEvidence { quote: Vec::new(), event_log: None });
        let (with, without) =
            (super::super::evidence::json(&named, &found), super::super::evidence::json(&unnamed, &found));
        assert_eq!(with["image_manifest_sha256"], "cd".repeat(32));
        assert!(!with["missing"].to_string().contains("image_manifest"));
        assert_eq!(without.get("image_manifest_sha256"), None);
        assert!(without["missing"].to_string().contains("image_manifest"));
        let program = super::super::evidence::json(&named, &Evidence::None);
        assert_eq!(program.get("image_manifest_sha256"), None, "no image runs in host mode");
    }

    #[test]
    fn the_report_without_a_nonce_is_made_once_an_epoch_and_the_one_with_a_nonce_each_time() {
        let (identity, start) = short();
        assert_eq!(identity.report_made(), None, "nobody has asked");
        let report = identity.report(None).expect("report");
        for again in [identity.report(None).expect("report"), identity.report_made().expect("it was made")] {
            assert!(Arc::ptr_eq(&report, &again), "the same bytes");
        }
        assert_eq!(parsed(&report).check(None), Ok(()));
        let nonce = Nonce::from_bytes([3; 32]);
        let bound = || identity.report(Some(&nonce)).expect("report");
        assert!(!Arc::ptr_eq(&bound(), &bound()));
        identity.advance(start + Duration::from_secs(100)).expect("the next epoch");
        assert_eq!(identity.report_made(), None, "not of this keyset");
        assert!(identity.report_kept(parsed(&report).workload_keyset_digest).is_some());
    }

    #[test]
    fn evidence_of_a_past_epoch_is_kept_as_long_as_its_receipts_are() {
        let (identity, start) = short();
        let after = |seconds| start + Duration::from_secs(seconds);
        let old = identity.published().digest;
        assert_eq!(identity.report_kept(old), None, "not made yet");
        let report = identity.report(None).expect("report");
        identity.advance(after(100)).expect("the next epoch");
        assert_eq!(identity.report_kept(old), Some(report));
        identity.forget(after(149));
        assert!(identity.report_kept(old).is_some());
        identity.forget(after(150));
        assert_eq!(identity.report_kept(old), None);
    }

    #[test]
    fn evidence_of_past_epochs_is_bounded_in_bytes_and_the_oldest_goes_first() {
        let ends = |endorsements: usize, epochs: u64| {
            let endorsements = Some(vec![7; endorsements]);
            let (identity, start) = super::super::tests::short_on(endorsements);
            let digests: Vec<_> = (0..epochs)
                .map(|_| {
                    let digest = parsed(&identity.report(None).expect("report")).workload_keyset_digest;
                    identity.advance(start + Duration::from_secs(1)).expect("the next epoch");
                    digest
                })
                .collect();
            let kept = |digest: &Sha256Digest| identity.report_kept(*digest).is_some();
            let first = digests.iter().position(kept).expect("the last ones are kept");
            assert!(digests.iter().skip(first).all(kept), "without a gap");
            first
        };
        // hexadecimal doubles a mebibyte: seven reports of two and of what else is in them are fewer than sixteen
        assert_eq!(ends(1 << 20, 9), 9 - 7);
        assert_eq!(ends(1 << 10, 40), 0, "small ones are all kept");
    }

    #[test]
    fn the_older_verifiers_get_a_report_of_their_own() {
        let (identity, _): (_, Instant) = short();
        let report = identity.legacy_report(SigningAlgorithm::Ed25519, &[7; 32]).expect("report");
        assert_eq!(report["request_nonce"], "07".repeat(32));
        assert_eq!(report["signing_address"], identity.legacy().address(SigningAlgorithm::Ed25519));
        assert!(report.get("intel_quote").is_none());
        assert_eq!(report["info"]["workload_keyset_digest"], identity.keyset_digest().to_string());
    }
}
