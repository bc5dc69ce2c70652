//! Verification of one report.

use super::{
    Endorsement, Product, SigningKey, Tcb, claims,
    endorsement::verify_endorsement,
    report::{Report, SIGNED_BYTES},
    rules,
};
use crate::{Expected, Policy, Refusal, Rule, Time, cursor::all_zero};

/// What is verified: bytes from whoever.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The report, 1184 bytes.
    pub report: &'a [u8],
    /// The VCEK or VLEK certificate, PEM or DER.
    pub endorsement: Option<&'a [u8]>,
    /// AMD's revocation lists, PEM or DER, of any product line.
    pub crls: &'a [&'a [u8]],
}

/// A verified report. Only [`verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    report: Report,
    endorsement: Endorsement,
    tcbs: [Tcb; 4],
}

impl Verified {
    /// Product line of the processor.
    #[must_use]
    pub fn product(&self) -> Product {
        self.endorsement.product()
    }

    /// What AMD certified.
    #[must_use]
    pub fn endorsement(&self) -> &Endorsement {
        &self.endorsement
    }

    /// Report version.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.report.version
    }

    /// What the guest bound to the report.
    #[must_use]
    pub fn report_data(&self) -> &[u8; 64] {
        &self.report.report_data
    }

    /// The launch digest.
    #[must_use]
    pub fn measurement(&self) -> &[u8; 48] {
        &self.report.measurement
    }

    /// Digest of the key that signed the identity block, and with it the launch digest; zero where there is no such block.
    #[must_use]
    pub fn id_key_digest(&self) -> &[u8; 48] {
        &self.report.id_key_digest
    }

    /// What the host bound to the launch.
    #[must_use]
    pub fn host_data(&self) -> &[u8; 32] {
        &self.report.host_data
    }

    /// The chip; zero where the platform hides it.
    #[must_use]
    pub fn chip_id(&self) -> &[u8; 64] {
        &self.report.chip_id
    }

    /// Privilege level that asked for the report.
    #[must_use]
    pub fn vmpl(&self) -> u32 {
        self.report.vmpl
    }

    /// The TCB that the endorsement is for.
    #[must_use]
    pub fn reported_tcb(&self) -> Tcb {
        let [_, reported, ..] = self.tcbs;
        reported
    }

    /// Every claim, by the names that `lethe check` prints.
    #[must_use]
    pub fn claims(&self) -> serde_json::Map<String, serde_json::Value> {
        claims::of(&self.report, &self.endorsement)
    }
}

/// Verifies a report: rules S1 to S15.
///
/// # Errors
///
/// A [`Refusal`] that names the first rule broken. The order is: form, key kind, chain, endorsement, signature; then the
/// product line, bindings, policy, TCB, platform.
pub fn verify(evidence: Evidence<'_>, policy: &Policy, expected: &Expected, at: Time) -> Result<Verified, Refusal> {
    let lines = &policy.sev_snp;
    let report = Report::read(evidence.report)?;
    if report.version < lines.report_version_min.is {
        return Err(lines.report_version_min.refuse(Rule::S1, format!("the report has version {}", report.version)));
    }
    let signing_key = report.signing_key()?;
    rules::check_key_kind(&report, signing_key, lines)?;
    let endorsement =
        evidence.endorsement.ok_or_else(|| Rule::S3.refuse("no endorsement certificate (VCEK or VLEK) was given"))?;
    let endorsement = verify_endorsement(endorsement, report.product()?, evidence.crls, policy, at)?;
    Rule::S2.require(
        endorsement.signing_key() == signing_key,
        "the report and its endorsement certificate are for different kinds of key",
    )?;
    let tcbs = report.tcbs(endorsement.product())?;
    check_endorsement(&report, &endorsement, policy)?;

    let signed = evidence.report.get(..SIGNED_BYTES).unwrap_or_default();
    Rule::S5.require(
        endorsement.key.verifies_p384_raw(signed, &report.signature),
        "the endorsed key did not sign this report",
    )?;

    rules::check(&report, endorsement.product(), &tcbs, lines, expected)?;
    Ok(Verified { report, endorsement, tcbs })
}

/// The certificate is of this chip and this TCB: rule S4.
fn check_endorsement(report: &Report, endorsement: &Endorsement, policy: &Policy) -> Result<(), Refusal> {
    if endorsement.tcb_bytes() != report.reported_tcb {
        return Err(Rule::S4.refuse(format!(
            "the endorsement certificate is for TCB {}, the report for {}",
            hex::encode(endorsement.tcb_bytes()),
            hex::encode(report.reported_tcb)
        )));
    }
    match endorsement.signing_key() {
        SigningKey::Vcek => {
            let hwid = endorsement.hwid().unwrap_or_default();
            // Turin's id has 8 bytes; the rest of the report's field is zero.
            let length = if endorsement.product() == Product::Turin { 8 } else { 64 };
            let (id, rest) = report.chip_id.split_at(length);
            Rule::S4.require(hwid == id && all_zero(rest), "the endorsement certificate is another chip's")?;
            Rule::S4.require(!all_zero(id), "the report does not say which chip made it")
        }
        SigningKey::Vlek => {
            let lines = &policy.sev_snp.vlek_csp_ids;
            let csp_id = endorsement.csp_id().unwrap_or_default();
            if lines.is.iter().any(|allowed| allowed == csp_id) {
                Ok(())
            } else {
                Err(lines.refuse(Rule::S4, format!("the key was loaded by {csp_id:?}")))
            }
        }
    }
}
