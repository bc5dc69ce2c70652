//! Evidence of AMD SEV-SNP.

use evidence::{
    Expected, Rule,
    sev_snp::{self, Verified},
};
use sha2::{Digest as _, Sha256};

use super::{Bound, Case, Judged, NO_REFERENCES, document};
use crate::{
    attestation::{evidence::SevSnp, findings::Findings, labels::Subject, references::Reference},
    error::Refusal,
};

/// Judges the report, then what its measurement and host data are.
pub(super) fn judge(evidence: &SevSnp, case: &Case<'_>, findings: &mut Findings) -> Judged {
    let (verified, bound) = match report(evidence, case) {
        Ok(found) => found,
        Err(refusal) => {
            let subject = match refusal.rule() {
                Rule::S7 => Subject::Image,
                Rule::S10 => Subject::Configuration,
                _ => Subject::Hardware,
            };
            findings.refuse(subject, refusal);
            return Judged::nothing();
        }
    };
    let revoked = match verified.endorsement().issuer_not_revoked_as_of() {
        Some(_) => "its key's issuer is not revoked",
        None => "revocation not known",
    };
    let reason = format!(
        "an AMD processor ({}, chip {}…) signed the report; {revoked}",
        verified.product().name(),
        hex::encode(verified.chip_id()).get(..16).unwrap_or_default()
    );
    findings.accept(Subject::Hardware, reason);
    let image = judge_image(&verified, case, findings);
    let bind =
        |document: &[u8]| document::launch_register(verified.host_data(), &Sha256::digest(document), "HOST_DATA");
    document::judge(case, image, bind, findings);
    Judged { bound, claims: verified.claims() }
}

/// An authentic report, and whether it is over what the answer states.
fn report(evidence: &SevSnp, case: &Case<'_>) -> Result<(Verified, Bound), evidence::Refusal> {
    let own = evidence.certificates.as_ref().and_then(|table| sev_snp::certificate_in_table(&table.0));
    let crls: Vec<&[u8]> = case.endorsements.crls.iter().map(Vec::as_slice).collect();
    let parts = sev_snp::Evidence {
        report: &evidence.report.0,
        endorsement: case.endorsements.vek.as_deref().or(own),
        crls: &crls,
    };
    let stated = Expected::nothing().with("report_data", &case.stated);
    match sev_snp::verify(parts, &case.trust.policy, &stated, case.at) {
        Ok(verified) => Ok((verified, Bound::Holds)),
        Err(other) if other.rule() == Rule::S6 => {
            let mut lenient = case.trust.policy.clone();
            lenient.sev_snp.fresh_binding_required.is = false;
            let verified = sev_snp::verify(parts, &lenient, &Expected::nothing(), case.at)?;
            Ok((verified, Bound::Broken(other)))
        }
        Err(refusal) => Err(refusal),
    }
}

fn judge_image<'a>(verified: &Verified, case: &Case<'a>, findings: &mut Findings) -> Option<&'a Reference> {
    let references = &case.trust.references;
    let found = references.iter().find_map(|reference| Some((reference, reference.launch(verified.measurement())?)));
    if let Some((reference, launch)) = found {
        let (firmware, vcpus) = (&launch.firmware.name, launch.vcpus);
        let reason = format!("{reference}; started by {firmware} with {vcpus} virtual processors");
        findings.accept(Subject::Image, reason);
        return Some(reference);
    }
    let releases = references.iter().any(|reference| matches!(reference, Reference::Release { .. }));
    if references.is_empty() {
        findings.leave(Subject::Image, NO_REFERENCES);
    } else if releases {
        let measurement = hex::encode(verified.measurement());
        let reason = format!("launch digest {measurement} is of no release that you named");
        findings.refuse(Subject::Image, Refusal::Contradicted { subject: Subject::Image, reason });
    } else {
        findings.leave(
            Subject::Image,
            "a manifest knows no firmware, and the launch digest is of both: name a release with --measurements",
        );
    }
    None
}
