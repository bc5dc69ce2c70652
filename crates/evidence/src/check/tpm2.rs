//! `lethe check tpm2`.

use super::Verdict;
use crate::{
    Expected, Policy, Time,
    tpm::{self, AttestationKey, Boot, Registers},
};

/// Input of [`tpm2`].
#[derive(Debug, Clone, Copy)]
pub struct Tpm2<'a> {
    /// The quote, a `TPMS_ATTEST` (`--quote`).
    pub quote: &'a [u8],
    /// A `TPMT_SIGNATURE`, or a bare RSASSA signature with SHA-256 (`--signature`).
    pub signature: &'a [u8],
    /// The attestation key and why it is trusted (`--ak`, or a certificate chain).
    pub ak: AttestationKey<'a>,
    /// The expected nonce (`--nonce`).
    pub nonce: Option<&'a [u8]>,
    /// Register values, JSON (`--pcrs`).
    pub pcrs: Option<&'a [u8]>,
    /// The firmware's event log (`--event-log`).
    pub event_log: Option<&'a [u8]>,
    /// What should have been booted.
    pub boot: Option<&'a Boot<'a>>,
    /// What to ask (`--policy`).
    pub policy: &'a Policy,
    /// Expected registers (`--expect pcr4=hex`).
    pub expected: &'a Expected,
    /// When (`--at`).
    pub at: Time,
}

/// Checks a TPM 2.0 quote.
#[must_use]
pub fn tpm2(input: Tpm2<'_>) -> Verdict {
    Verdict::of((|| {
        let registers = input.pcrs.map(Registers::from_json).transpose()?;
        let evidence = tpm::Evidence {
            quote: input.quote,
            signature: input.signature,
            registers: registers.as_ref(),
            event_log: input.event_log,
        };
        let key = input.ak.establish(input.at)?;
        Ok(tpm::verify(evidence, key, input.nonce, input.boot, input.policy, input.expected)?.claims())
    })())
}
