//! Verification of one quote.

use super::{
    claims,
    collateral::Collateral,
    level::Tcb,
    pck::{Pck, Platform},
    quote::{Body, Header, QeReport, Quote},
    rules,
};
use crate::{Demand, Expected, Known, Policy, Refusal, Rule, Time, cursor::all_zero, x509::PublicKey};

/// MRSIGNER of Intel's quoting enclaves.
const INTEL_QE_SIGNER: [u8; 32] = [
    0xdc, 0x9e, 0x2a, 0x7c, 0x6f, 0x94, 0x8f, 0x17, 0x47, 0x4e, 0x34, 0xa7, 0xfc, 0x43, 0xed, 0x03, 0x0f, 0x7c, 0x15,
    0x63, 0xf1, 0xba, 0xbd, 0xdf, 0x63, 0x40, 0xc8, 0x2e, 0x0e, 0x54, 0xa8, 0xc5,
];
/// ISVPRODID of the TD quoting enclave.
const TD_QE_PRODUCT: u16 = 2;
/// `ATTRIBUTES.DEBUG` of an enclave.
const ENCLAVE_DEBUG: u8 = 2;

/// What is verified: bytes from whoever.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The quote, padding behind it included.
    pub quote: &'a [u8],
    /// Intel's collateral for this platform.
    pub collateral: Option<&'a Collateral>,
}

/// A verified quote. Only [`verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub(super) header: Header,
    pub(super) body: Body,
    pub(super) qe_report: QeReport,
    pub(super) platform: Platform,
    pub(super) authority: String,
    pub(super) tcb: Option<Tcb>,
    pub(super) shape: Shape,
    pub(super) machine: Known,
}

/// Lengths and types of the quote's parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) signature_bytes: usize,
    pub(super) cert_type: u16,
    pub(super) inner_cert_type: u16,
    pub(super) tail_bytes: usize,
    pub(super) tail_is_zero: bool,
}

impl Verified {
    /// What the guest bound to the quote.
    #[must_use]
    pub fn report_data(&self) -> &[u8; 64] {
        &self.body.report_data
    }

    /// Measurement of the initial memory: the firmware.
    #[must_use]
    pub fn mrtd(&self) -> &[u8; 48] {
        &self.body.mrtd
    }

    /// The four runtime registers.
    #[must_use]
    pub fn rtmr(&self) -> &[[u8; 48]; 4] {
        &self.body.rtmr
    }

    /// Who says that RTMR0, the machine as its host describes it, is right.
    #[must_use]
    pub fn machine(&self) -> Known {
        self.machine
    }

    /// What the host bound to the launch.
    #[must_use]
    pub fn mr_config_id(&self) -> &[u8; 48] {
        &self.body.mr_config_id
    }

    /// Platform instance id, or PPID where the platform has no instance id.
    #[must_use]
    pub fn platform_id(&self) -> &[u8; 16] {
        self.platform.instance_id.as_ref().unwrap_or(&self.platform.ppid)
    }

    /// Kind of platform, for which collateral is published.
    #[must_use]
    pub fn fmspc(&self) -> &[u8; 6] {
        &self.platform.fmspc
    }

    /// The TCB as Intel's collateral judges it; nothing without collateral: undetermined.
    #[must_use]
    pub fn tcb(&self) -> Option<&Tcb> {
        self.tcb.as_ref()
    }

    /// Every claim, by the names that `lethe check` prints.
    #[must_use]
    pub fn claims(&self) -> serde_json::Map<String, serde_json::Value> {
        claims::of(self)
    }
}

/// Verifies a quote: rules T1 to T13, and of T15 the value.
///
/// # Errors
///
/// A [`Refusal`] that names the first rule broken. The order is: form, certificate chain, quoting enclave, signature,
/// collateral, TCB; then attributes, module, bindings, platform.
pub fn verify(evidence: Evidence<'_>, policy: &Policy, expected: &Expected, at: Time) -> Result<Verified, Refusal> {
    let lines = &policy.tdx;
    let quote = Quote::read(evidence.quote)?;
    let pck = Pck::verify(quote.pck_chain, at)?;
    check_quoting_enclave(&quote, &pck)?;
    let signed = PublicKey::from_p256(&quote.attestation_key)
        .is_some_and(|key| key.verifies_p256_raw(quote.signed, &quote.signature));
    Rule::T4.require(signed, "the attestation key did not sign this quote")?;

    let tcb = match evidence.collateral {
        Some(collateral) => {
            let collateral = collateral.verify(&pck, policy, at)?;
            Some(Tcb::judge(&collateral, &pck.platform, &quote.body, &quote.qe_report)?)
        }
        None if lines.collateral.is == Demand::Required => {
            return Err(lines.collateral.refuse(Rule::T3, "no collateral was given"));
        }
        None => None,
    };
    // Debug is named before the TCB status: it is the graver of the two.
    rules::check_attributes(&quote.body, lines)?;
    if let Some(tcb) = &tcb {
        tcb.check(lines)?;
    }
    let tail_is_zero = all_zero(quote.tail);
    lines.nonzero_tail_allowed.forbid(Rule::T1, !tail_is_zero, "bytes other than zero follow the quote")?;
    rules::check(&quote.body, &pck.platform, lines, expected)?;
    let machine = rules::identify_machine(&quote.body, lines, expected)?;
    Ok(Verified {
        machine,
        shape: Shape {
            signature_bytes: quote.signature_bytes,
            cert_type: quote.cert_type,
            inner_cert_type: quote.inner_cert_type,
            tail_bytes: quote.tail.len(),
            tail_is_zero,
        },
        header: quote.header,
        body: quote.body,
        qe_report: quote.qe_report,
        platform: pck.platform,
        authority: pck.authority,
        tcb,
    })
}

/// Rule T4: the quoting enclave is Intel's, on this platform, and vouches for the attestation key.
pub(super) fn check_quoting_enclave(quote: &Quote<'_>, pck: &Pck) -> Result<(), Refusal> {
    let signed = pck.key.verifies_p256_raw(quote.qe_report_bytes, &quote.qe_signature);
    Rule::T4.require(signed, "the platform did not sign the quoting enclave's report")?;
    let qe = &quote.qe_report;
    Rule::T4.require(qe.mr_signer == INTEL_QE_SIGNER, "the quoting enclave is not signed by Intel")?;
    Rule::T4.require(qe.isv_prod_id == TD_QE_PRODUCT, "the enclave is not the TD quoting enclave")?;
    let debug = qe.attributes.first().is_none_or(|first| first & ENCLAVE_DEBUG != 0);
    Rule::T4.require(!debug, "the quoting enclave can be debugged")?;
    Rule::T4.require(quote.binds_attestation_key(), "the quoting enclave's report does not bind the attestation key")
}
