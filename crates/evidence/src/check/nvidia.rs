//! `lethe check nvidia`.

use super::Verdict;
use crate::{Expected, Time, nvidia as platform, nvidia::Rim};

/// Input of [`nvidia`].
#[derive(Debug, Clone, Copy)]
pub struct Nvidia<'a> {
    /// SPDM request and response (`--report`).
    pub report: &'a [u8],
    /// Certificate chain, PEM, leaf first (`--chain`).
    pub chain: &'a [u8],
    /// The expected nonce (`--nonce`).
    pub nonce: Option<&'a [u8]>,
    /// NVIDIA's reference manifests for the device's VBIOS and driver (`--rim`, any number).
    pub rims: &'a [&'a [u8]],
    /// Expected measurements (`--expect measurement1=hex`).
    pub expected: &'a Expected,
    /// When (`--at`).
    pub at: Time,
}

/// Checks the report of an NVIDIA GPU or switch.
#[must_use]
pub fn nvidia(input: Nvidia<'_>) -> Verdict {
    let evidence = platform::Evidence { report: input.report, chain: input.chain };
    let verified = platform::verify(evidence, input.nonce, input.expected, input.at).and_then(|verified| {
        let rims = input.rims.iter().map(|rim| Rim::verify(rim, input.at)).collect::<Result<Vec<_>, _>>()?;
        verified.compared_with(&rims)
    });
    Verdict::of(verified.map(|verified| verified.claims()))
}
