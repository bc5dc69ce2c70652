//! Evidence of Intel TDX.

use evidence::{
    Expected, Rule,
    tdx::{self, Collateral, Verified},
};
use sha2::{Digest as _, Sha384};

use super::{Bound, Case, Judged, NO_REFERENCES, document};
use crate::{
    attestation::{evidence::Tdx, findings::Findings, labels::Subject, references::Reference},
    error::Refusal,
};

/// Judges the quote, then what its registers are.
pub(super) fn judge(evidence: &Tdx, case: &Case<'_>, findings: &mut Findings) -> Judged {
    let (verified, bound) = match quote(evidence, case) {
        Ok(found) => found,
        Err(refusal) => {
            let subject = match refusal.rule() {
                Rule::T9 => Subject::Image,
                Rule::T10 => Subject::Configuration,
                _ => Subject::Hardware,
            };
            findings.refuse(subject, refusal);
            return Judged::nothing();
        }
    };
    let status = verified.tcb().map_or("undetermined", |tcb| tcb.status.name());
    let platform = hex::encode(verified.platform_id());
    findings.accept(
        Subject::Hardware,
        format!(
            "an Intel processor (platform {platform}) signed the quote; TCB status {status}; the machine as its host describes \
             it, ACPI code included (RTMR0): {}",
            verified.machine().name()
        ),
    );
    let log = evidence.event_log.as_ref().map(|bytes| bytes.0.as_slice());
    let image = judge_image(&verified, log, case, findings);
    let bind =
        |document: &[u8]| document::launch_register(verified.mr_config_id(), &Sha384::digest(document), "MRCONFIGID");
    document::judge(case, image, bind, findings);
    Judged { bound, claims: verified.claims() }
}

/// An authentic quote, and whether it is over what the answer states.
fn quote(evidence: &Tdx, case: &Case<'_>) -> Result<(Verified, Bound), evidence::Refusal> {
    let collateral = case.endorsements.tdx.as_deref().map(Collateral::from_json).transpose()?;
    let parts = tdx::Evidence { quote: &evidence.quote.0, collateral: collateral.as_ref() };
    let stated = Expected::nothing().with("reportdata", &case.stated);
    match tdx::verify(parts, &case.trust.policy, &stated, case.at) {
        Ok(verified) => Ok((verified, Bound::Holds)),
        Err(other) if other.rule() == Rule::T11 => {
            let mut lenient = case.trust.policy.clone();
            lenient.tdx.fresh_binding_required.is = false;
            let verified = tdx::verify(parts, &lenient, &Expected::nothing(), case.at)?;
            Ok((verified, Bound::Broken(other)))
        }
        Err(refusal) => Err(refusal),
    }
}

/// Firmware by MRTD, then the one program it started by the log behind RTMR1.
fn judge_image<'a>(
    verified: &Verified,
    log: Option<&[u8]>,
    case: &Case<'a>,
    findings: &mut Findings,
) -> Option<&'a Reference> {
    let references = &case.trust.references;
    if references.is_empty() {
        findings.leave(Subject::Image, NO_REFERENCES);
        return None;
    }
    let Some(log) = log else {
        findings.leave(Subject::Image, "the evidence has no event log, without which RTMR1 does not name its image");
        return None;
    };
    // One image can be that of several references: the one that knows this firmware counts.
    let knows_firmware = |reference: &&Reference| reference.td_firmware(verified.mrtd()).is_some();
    let (first, rest): (Vec<&Reference>, Vec<&Reference>) = references.iter().partition(knows_firmware);
    let mut refused = None;
    for reference in first.into_iter().chain(rest) {
        match verified.judge_image(log, &[reference.authenticode_sha384().as_slice()]) {
            Ok(()) => return judge_firmware(reference, verified, findings),
            Err(refusal) => drop(refused.get_or_insert(refusal)),
        }
    }
    if let Some(refusal) = refused {
        findings.refuse(Subject::Image, refusal);
    }
    None
}

fn judge_firmware<'a>(reference: &'a Reference, verified: &Verified, findings: &mut Findings) -> Option<&'a Reference> {
    let mrtd = hex::encode(verified.mrtd());
    match (reference.td_firmware(verified.mrtd()), reference) {
        (Some(firmware), _) => {
            findings.accept(Subject::Image, format!("{reference}; started by {firmware}"));
            return Some(reference);
        }
        (None, Reference::Release { .. }) => {
            let reason = format!("the firmware (MRTD {mrtd}) is none that the release names");
            findings.refuse(Subject::Image, Refusal::Contradicted { subject: Subject::Image, reason });
        }
        (None, Reference::Own { .. }) => findings.leave(
            Subject::Image,
            "a manifest knows no firmware, which measured the image: name a release with --measurements",
        ),
    }
    None
}
