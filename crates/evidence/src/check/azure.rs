//! `lethe check azure`.

use super::Verdict;
use crate::{
    Expected, Policy, Time,
    azure::{self as platform, Hardware, VtpmQuote},
    tdx::Collateral,
    tpm::{self, Registers},
};

/// Input of [`azure`].
#[derive(Debug, Clone, Copy)]
pub struct Azure<'a> {
    /// The report of the host compatibility layer (`--hcl-report`).
    pub hcl_report: &'a [u8],
    /// For SEV-SNP: VCEK certificate, PEM or DER (`--vek`).
    pub vek: Option<&'a [u8]>,
    /// For SEV-SNP: AMD's revocation lists (`--crl`, any number).
    pub crls: &'a [&'a [u8]],
    /// For TDX: the TD quote (`--td-quote`); with it the hardware is taken to be TDX.
    pub td_quote: Option<&'a [u8]>,
    /// For TDX: Intel's collateral, JSON (`--collateral`).
    pub collateral: Option<&'a [u8]>,
    /// Quote of the virtual TPM and its signature (`--quote`, `--signature`).
    pub quote: Option<(&'a [u8], &'a [u8])>,
    /// Register values, JSON (`--pcrs`).
    pub pcrs: Option<&'a [u8]>,
    /// The expected nonce of the quote (`--nonce`).
    pub nonce: Option<&'a [u8]>,
    /// The firmware's event log (`--event-log`).
    pub event_log: Option<&'a [u8]>,
    /// What to ask (`--policy`).
    pub policy: &'a Policy,
    /// Expected fields of the hardware report (`--expect field=hex`).
    pub expected: &'a Expected,
    /// When (`--at`).
    pub at: Time,
}

/// Checks the evidence of an Azure confidential virtual machine.
#[must_use]
pub fn azure(input: Azure<'_>) -> Verdict {
    Verdict::of((|| {
        let collateral = input.collateral.map(Collateral::from_json).transpose()?;
        let registers = input.pcrs.map(Registers::from_json).transpose()?;
        let hardware = match input.td_quote {
            Some(quote) => Hardware::Tdx { quote, collateral: collateral.as_ref() },
            None => Hardware::SevSnp { endorsement: input.vek, crls: input.crls },
        };
        let vtpm = input.quote.map(|(quote, signature)| VtpmQuote {
            evidence: tpm::Evidence { quote, signature, registers: registers.as_ref(), event_log: input.event_log },
            nonce: input.nonce,
        });
        let evidence = platform::Evidence { hcl_report: input.hcl_report, hardware, vtpm };
        Ok(platform::verify(evidence, input.policy, input.expected, input.at)?.claims())
    })())
}
