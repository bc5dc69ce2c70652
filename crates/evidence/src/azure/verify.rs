//! Verification: hardware report, binding, virtual TPM.

use serde_json::{Map, Value, json};

use super::hcl::{HardwareReport, HclReport};
use crate::{
    Demand, Expected, Policy, Refusal, Rule, Time,
    known::Known,
    policy::AzurePolicy,
    sev_snp, tdx,
    tpm::{self, TrustedKey},
};

/// What is verified: bytes from whoever.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The report of the host compatibility layer, as the TPM's NV index 0x01400001 has it.
    pub hcl_report: &'a [u8],
    /// What goes with the hardware report inside of it.
    pub hardware: Hardware<'a>,
    /// A quote of the virtual TPM.
    pub vtpm: Option<VtpmQuote<'a>>,
}

/// What goes with the hardware report.
#[derive(Debug, Clone, Copy)]
pub enum Hardware<'a> {
    /// For SEV-SNP: the endorsement certificate and AMD's revocation lists.
    SevSnp {
        /// VCEK certificate, PEM or DER.
        endorsement: Option<&'a [u8]>,
        /// Revocation lists, PEM or DER.
        crls: &'a [&'a [u8]],
    },
    /// For TDX: the quote over the embedded TD report, and Intel's collateral.
    Tdx {
        /// The quote.
        quote: &'a [u8],
        /// Collateral for the platform.
        collateral: Option<&'a tdx::Collateral>,
    },
}

/// A quote of the virtual TPM. The attestation key is never part of it: the runtime data name it.
#[derive(Debug, Clone, Copy)]
pub struct VtpmQuote<'a> {
    /// Quote, signature, register values, event log.
    pub evidence: tpm::Evidence<'a>,
    /// The nonce that the relying party chose.
    pub nonce: Option<&'a [u8]>,
}

/// Verified evidence. Only [`verify`] makes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    hcl_version: u32,
    hardware: VerifiedHardware,
    paravisor: Known,
    runtime: Value,
    vtpm: Option<tpm::Verified>,
}

/// The hardware's part.
#[derive(Debug, Clone, PartialEq, Eq)]
enum VerifiedHardware {
    SevSnp(Box<sev_snp::Verified>),
    Tdx(Box<tdx::Verified>),
}

impl Verified {
    /// The quote of the virtual TPM.
    #[must_use]
    pub fn vtpm(&self) -> Option<&tpm::Verified> {
        self.vtpm.as_ref()
    }

    /// Who says which paravisor it is. Unless somebody does, everything below the hardware is anybody's word.
    #[must_use]
    pub fn paravisor(&self) -> Known {
        self.paravisor
    }

    /// The claims that the paravisor makes about the guest.
    #[must_use]
    pub fn runtime_claims(&self) -> &Value {
        &self.runtime
    }

    /// Every claim, by the names that `lethe check` prints: those of the hardware, and beside them the paravisor's and the
    /// virtual TPM's.
    #[must_use]
    pub fn claims(&self) -> Map<String, Value> {
        let (kind, mut claims) = match &self.hardware {
            VerifiedHardware::SevSnp(verified) => ("snp", verified.claims()),
            VerifiedHardware::Tdx(verified) => ("tdx", verified.claims()),
        };
        claims.insert("hw_report_kind".to_owned(), json!(kind));
        claims.insert("hcl_version".to_owned(), json!(self.hcl_version));
        claims.insert("paravisor".to_owned(), json!(self.paravisor.name()));
        let mut runtime = Map::new();
        for name in ["vm-configuration", "user-data"] {
            if let Some(value) = self.runtime.get(name) {
                runtime.insert(name.to_owned(), value.clone());
            }
        }
        claims.insert("runtime_claims".to_owned(), Value::Object(runtime));
        let vtpm = self.vtpm.as_ref().map_or(json!("not given"), |quote| Value::Object(quote.claims()));
        claims.insert("vtpm".to_owned(), vtpm);
        claims
    }
}

/// Verifies the evidence: rules A1 to A5, and those of the hardware and of the TPM.
///
/// # Errors
///
/// A [`Refusal`] that names the first rule broken.
pub fn verify(evidence: Evidence<'_>, policy: &Policy, expected: &Expected, at: Time) -> Result<Verified, Refusal> {
    let hcl = HclReport::read(evidence.hcl_report)?;
    let hardware = match (hcl.hardware, evidence.hardware) {
        (HardwareReport::Snp(report), Hardware::SevSnp { endorsement, crls }) => {
            let verified = sev_snp::verify(sev_snp::Evidence { report, endorsement, crls }, policy, expected, at)?;
            check_bound(&hcl, verified.report_data())?;
            VerifiedHardware::SevSnp(Box::new(verified))
        }
        (HardwareReport::Tdx(report), Hardware::Tdx { quote, collateral }) => {
            let verified = tdx::verify(tdx::Evidence { quote, collateral }, policy, expected, at)?;
            let same = report.report_data == verified.report_data() && report.mrtd == verified.mrtd();
            Rule::A4.require(same, "the quote is not over the report's TD report")?;
            check_bound(&hcl, verified.report_data())?;
            VerifiedHardware::Tdx(Box::new(verified))
        }
        _ => return Err(Rule::A4.refuse("the report is of another kind of hardware than its endorsement")),
    };
    let paravisor = identify(&hardware, &policy.azure, expected)?;
    let (runtime, key) = hcl.runtime_claims()?;
    let lines = &policy.azure.vtpm_quote;
    let vtpm = match evidence.vtpm {
        Some(quote) => {
            let key = TrustedKey::bound(key);
            Some(tpm::verify(quote.evidence, key, quote.nonce, None, policy, &Expected::nothing())?)
        }
        None if lines.is == Demand::Required => {
            return Err(lines.refuse(Rule::P1, "no quote of the virtual TPM was given"));
        }
        None => None,
    };
    Ok(Verified { hcl_version: hcl.version, hardware, paravisor, runtime, vtpm })
}

/// Rule A5. The expectations themselves were compared with the hardware report's fields (S7, T9).
fn identify(hardware: &VerifiedHardware, lines: &AzurePolicy, expected: &Expected) -> Result<Known, Refusal> {
    let identities: &[(&str, &[u8])] = match hardware {
        VerifiedHardware::SevSnp(verified) => {
            &[("measurement", verified.measurement()), ("id_key_digest", verified.id_key_digest())]
        }
        VerifiedHardware::Tdx(verified) => &[("mrtd", verified.mrtd())],
    };
    Known::judge("this paravisor", identities, &lines.paravisors, expected, Rule::A5)
}

/// Rule A2.
fn check_bound(hcl: &HclReport<'_>, report_data: &[u8; 64]) -> Result<(), Refusal> {
    Rule::A2.require(hcl.is_bound_by(report_data), "the hardware report does not bind the runtime data")
}
