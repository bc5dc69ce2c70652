//! `lethe check sev-snp`.

use super::Verdict;
use crate::{Expected, Policy, Time, sev_snp as platform};

/// Input of [`sev_snp`].
#[derive(Debug, Clone, Copy)]
pub struct SevSnp<'a> {
    /// The report (`--report`).
    pub report: &'a [u8],
    /// VCEK or VLEK certificate, PEM or DER (`--vek`).
    pub vek: Option<&'a [u8]>,
    /// AMD's revocation lists, PEM or DER (`--crl`, any number).
    pub crls: &'a [&'a [u8]],
    /// What to ask (`--policy`).
    pub policy: &'a Policy,
    /// Expected fields (`--expect field=hex`).
    pub expected: &'a Expected,
    /// When (`--at`).
    pub at: Time,
}

/// Checks an AMD SEV-SNP report.
#[must_use]
pub fn sev_snp(input: SevSnp<'_>) -> Verdict {
    let evidence = platform::Evidence { report: input.report, endorsement: input.vek, crls: input.crls };
    Verdict::of(platform::verify(evidence, input.policy, input.expected, input.at).map(|verified| verified.claims()))
}
