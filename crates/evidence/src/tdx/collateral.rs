//! Intel's collateral: TCB info, QE identity, revocation lists. Each is signed, dated, and for one kind of platform.

use serde::Deserialize;

use super::pck::{IntelChain, Pck, Platform};
use crate::{
    Policy, Refusal, Rule, TcbStatus, Time, roots,
    x509::{Certificate, PublicKey, RevocationList},
};

/// Largest collateral read, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// Collateral as the tools of this field exchange it: one JSON object, chains in PEM, lists in hexadecimal DER, and the
/// signed JSON texts as strings, byte for byte. Nothing in it is believed before it is verified.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collateral {
    /// Issuer of the PCK revocation list and the root, PEM.
    pub pck_crl_issuer_chain: String,
    /// The root's revocation list, DER in hexadecimal.
    pub root_ca_crl: String,
    /// Revocation list of the PCK authority, DER in hexadecimal.
    pub pck_crl: String,
    /// Signer of the TCB info and the root, PEM.
    pub tcb_info_issuer_chain: String,
    /// TCB info, the signed JSON text.
    pub tcb_info: String,
    /// Signature over the text, 64 bytes in hexadecimal.
    pub tcb_info_signature: String,
    /// Signer of the QE identity and the root, PEM.
    pub qe_identity_issuer_chain: String,
    /// QE identity, the signed JSON text.
    pub qe_identity: String,
    /// Signature over the text, 64 bytes in hexadecimal.
    pub qe_identity_signature: String,
    /// Some tools carry the PCK chain here. It is never used: the quote's own chain is the one that counts.
    #[serde(default)]
    pub pck_certificate_chain: Option<String>,
}

/// TCB info for TDX, version 3.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TcbInfo {
    pub(crate) id: String,
    pub(crate) version: u32,
    issue_date: String,
    next_update: String,
    pub(crate) fmspc: String,
    pub(crate) pce_id: String,
    pub(crate) tcb_evaluation_data_number: u32,
    pub(crate) tdx_module: Module,
    #[serde(default)]
    pub(crate) tdx_module_identities: Vec<ModuleIdentity>,
    pub(crate) tcb_levels: Vec<PlatformLevel>,
}

/// Signer and attributes of TDX modules.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Module {
    pub(crate) mrsigner: String,
    pub(crate) attributes: String,
    pub(crate) attributes_mask: String,
}

/// One line of TDX modules.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModuleIdentity {
    pub(crate) id: String,
    #[serde(flatten)]
    pub(crate) module: Module,
    pub(crate) tcb_levels: Vec<SvnLevel>,
}

/// A TCB level of the platform.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlatformLevel {
    pub(crate) tcb: PlatformTcb,
    pub(crate) tcb_date: String,
    pub(crate) tcb_status: TcbStatus,
    #[serde(default, rename = "advisoryIDs")]
    pub(crate) advisories: Vec<String>,
}

/// Lowest security version numbers of a level.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct PlatformTcb {
    pub(crate) sgxtcbcomponents: [Component; 16],
    pub(crate) pcesvn: u32,
    pub(crate) tdxtcbcomponents: [Component; 16],
}

/// One component.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Component {
    pub(crate) svn: u32,
}

/// A TCB level with one number: of a TDX module or of the quoting enclave.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SvnLevel {
    pub(crate) tcb: Svn,
    pub(crate) tcb_date: String,
    pub(crate) tcb_status: TcbStatus,
    #[serde(default, rename = "advisoryIDs")]
    pub(crate) advisories: Vec<String>,
}

/// A single security version number.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Svn {
    pub(crate) isvsvn: u32,
}

/// Identity of the quoting enclave, version 2.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct QeIdentity {
    pub(crate) id: String,
    pub(crate) version: u32,
    issue_date: String,
    next_update: String,
    pub(crate) tcb_evaluation_data_number: u32,
    pub(crate) miscselect: String,
    pub(crate) miscselect_mask: String,
    pub(crate) attributes: String,
    pub(crate) attributes_mask: String,
    pub(crate) mrsigner: String,
    pub(crate) isvprodid: u32,
    pub(crate) tcb_levels: Vec<SvnLevel>,
}

/// Collateral whose signatures, chains, dates and subjects were verified.
#[derive(Debug, Clone)]
pub(crate) struct VerifiedCollateral {
    pub(crate) tcb_info: TcbInfo,
    pub(crate) qe_identity: QeIdentity,
}

impl Collateral {
    /// Reads the JSON object.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under T3 if it is not exactly that.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Refusal> {
        Rule::T3.require(bytes.len() <= MAX_BYTES, "the collateral is too large")?;
        serde_json::from_slice(bytes).map_err(|_| Rule::T3.refuse("the collateral is not the JSON object it should be"))
    }

    /// Verifies everything, for one PCK certificate: rules T2 (revocation) and T3.
    pub(crate) fn verify(&self, pck: &Pck, policy: &Policy, at: Time) -> Result<VerifiedCollateral, Refusal> {
        let root_crl = self.check_revocation(pck, at)?;
        let root_crl = RevocationList::read(&root_crl)
            .ok_or_else(|| Rule::T2.refuse("the root's revocation list is malformed"))?;
        check_signed("TCB info", &self.tcb_info, &self.tcb_info_signature, &self.tcb_info_issuer_chain, &root_crl, at)?;
        check_signed(
            "QE identity",
            &self.qe_identity,
            &self.qe_identity_signature,
            &self.qe_identity_issuer_chain,
            &root_crl,
            at,
        )?;
        let malformed = |_| Rule::T3.refuse("the TCB info or the QE identity is malformed");
        let tcb_info: TcbInfo = serde_json::from_str(&self.tcb_info).map_err(malformed)?;
        let qe_identity: QeIdentity = serde_json::from_str(&self.qe_identity).map_err(malformed)?;
        check_subject(&tcb_info, &qe_identity, &pck.platform)?;
        check_dates("TCB info", &tcb_info.issue_date, &tcb_info.next_update, at)?;
        check_dates("QE identity", &qe_identity.issue_date, &qe_identity.next_update, at)?;
        let number = tcb_info.tcb_evaluation_data_number.min(qe_identity.tcb_evaluation_data_number);
        let line = &policy.tdx.evaluation_number_min;
        if number < line.is {
            return Err(line.refuse(Rule::T3, format!("the TCB evaluation data number is {number}")));
        }
        Ok(VerifiedCollateral { tcb_info, qe_identity })
    }

    /// Rule T2: both revocation lists, and neither the PCK certificate nor its authority is on them. Returns the root's.
    fn check_revocation(&self, pck: &Pck, at: Time) -> Result<Vec<u8>, Refusal> {
        let malformed = || Rule::T2.refuse("a revocation list is malformed");
        let root = Certificate::read(roots::INTEL_SGX).ok_or_else(malformed)?;
        let root_der = hex::decode(&self.root_ca_crl).map_err(|_| malformed())?;
        let chain = IntelChain::read(self.pck_crl_issuer_chain.as_bytes(), 2, Rule::T2)?;
        let (authority, _) = chain.verify(at, Rule::T2)?;
        let pck_der = hex::decode(&self.pck_crl).map_err(|_| malformed())?;
        check_lists(&root, &authority, pck, [&root_der, &pck_der], at)?;
        Ok(root_der)
    }
}

/// Rule T2: the lists of the root and of the PCK authority, once the chain to the authority was verified.
pub(super) fn check_lists(
    root: &Certificate<'_>,
    authority: &Certificate<'_>,
    pck: &Pck,
    [root_list, pck_list]: [&[u8]; 2],
    at: Time,
) -> Result<(), Refusal> {
    let read = |der| RevocationList::read(der).ok_or_else(|| Rule::T2.refuse("a revocation list is malformed"));
    let root_list = read(root_list)?;
    root_list.verify(root, at).map_err(|reason| Rule::T2.refuse(reason))?;
    Rule::T2.require(!root_list.revokes(&pck.issuer_serial), "the PCK authority is revoked")?;
    let same = authority.subject == pck.issuer && authority.spki == pck.issuer_spki;
    Rule::T2.require(same, "the PCK revocation list is another authority's")?;
    Rule::T2.require(!root_list.revokes(authority.serial), "the PCK authority is revoked")?;
    let pck_list = read(pck_list)?;
    pck_list.verify(authority, at).map_err(|reason| Rule::T2.refuse(reason))?;
    Rule::T2.require(!pck_list.revokes(&pck.serial), "the PCK certificate is revoked")
}

/// Rule T3: what the texts are about.
pub(super) fn check_subject(info: &TcbInfo, identity: &QeIdentity, platform: &Platform) -> Result<(), Refusal> {
    Rule::T3.require(info.id == "TDX" && info.version == 3, "the TCB info is not for TDX, or not of version 3")?;
    Rule::T3
        .require(identity.id == "TD_QE" && identity.version == 2, "the QE identity is not the TD quoting enclave's")?;
    let same = equals_hex(&info.fmspc, &platform.fmspc) && equals_hex(&info.pce_id, &platform.pce_id);
    Rule::T3.require(same, "the TCB info is for another kind of platform")
}

/// Rule T3: whose key signs the texts, once its chain was verified.
pub(super) fn check_signer(signer: &Certificate<'_>, root_crl: &RevocationList<'_>) -> Result<(), Refusal> {
    let name = Certificate::common_name(signer.subject);
    Rule::T3.require(
        name == Some("Intel SGX TCB Signing"),
        "the signer of the collateral is not Intel's TCB signing key",
    )?;
    Rule::T3.require(!signer.is_authority(), "the signer of the collateral is an authority")?;
    Rule::T3.require(!root_crl.revokes(signer.serial), "the TCB signing certificate is revoked")
}

/// Rule T3: one signed JSON text.
fn check_signed(
    what: &str,
    text: &str,
    signature: &str,
    chain: &str,
    root_crl: &RevocationList<'_>,
    at: Time,
) -> Result<(), Refusal> {
    let chain = IntelChain::read(chain.as_bytes(), 2, Rule::T3)?;
    let (signer, _) = chain.verify(at, Rule::T3)?;
    check_signer(&signer, root_crl)?;
    let signed =
        hex::decode(signature).ok().and_then(|bytes| <[u8; 64]>::try_from(bytes).ok()).is_some_and(|signature| {
            matches!(signer.key, PublicKey::P256(_)) && signer.key.verifies_p256_raw(text.as_bytes(), &signature)
        });
    if signed { Ok(()) } else { Err(Rule::T3.refuse(format!("the {what} is not signed by Intel"))) }
}

fn check_dates(what: &str, issued: &str, next: &str, at: Time) -> Result<(), Refusal> {
    let read = |text| Time::parse(text).ok_or_else(|| Rule::T3.refuse(format!("a date of the {what} is malformed")));
    let (issued, next) = (read(issued)?, read(next)?);
    if at < issued {
        return Err(Rule::T3.refuse(format!("the {what} is from the future: {issued}")));
    }
    if at > next {
        return Err(Rule::T3.refuse(format!("the {what} has expired: its successor was due {next}")));
    }
    Ok(())
}

/// Whether hexadecimal text, in either case, says these bytes.
pub(crate) fn equals_hex(text: &str, bytes: &[u8]) -> bool {
    hex::decode(text).is_ok_and(|value| value == bytes)
}
