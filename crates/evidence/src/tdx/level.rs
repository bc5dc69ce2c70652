//! TCB levels: how well the platform, the TDX module and the quoting enclave are kept up.

use super::{
    collateral::{Module, QeIdentity, SvnLevel, TcbInfo, VerifiedCollateral, equals_hex},
    pck::Platform,
    quote::{Body, QeReport},
};
use crate::{Refusal, Rule, TcbStatus, policy::TdxPolicy};

/// The TCB of a quote as Intel's collateral judges it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcb {
    /// The worst of platform, module and quoting enclave, by Intel's rules of convergence.
    pub status: TcbStatus,
    /// The same for the TCB that is current now, where the quote tells it from the one at launch.
    pub current_status: Option<TcbStatus>,
    /// The platform alone.
    pub platform: TcbStatus,
    /// The TDX module alone; modules before 1.5 are part of the platform's level.
    pub module: Option<TcbStatus>,
    /// The quoting enclave alone.
    pub quoting_enclave: TcbStatus,
    /// Date of the platform's level, as Intel writes it.
    pub level_date: String,
    /// Security advisories of all three, in Intel's order, without repetition.
    pub advisories: Vec<String>,
    /// TCB evaluation data number of the TCB info.
    pub evaluation_number: u32,
}

impl Tcb {
    /// Judges a quote: rules T4 (QE identity), T5, T8.
    pub(crate) fn judge(
        collateral: &VerifiedCollateral,
        platform: &Platform,
        body: &Body,
        qe: &QeReport,
    ) -> Result<Self, Refusal> {
        let VerifiedCollateral { tcb_info, qe_identity } = collateral;
        check_qe_identity(qe, qe_identity)?;
        let qe_level = qe_identity
            .tcb_levels
            .iter()
            .find(|level| u32::from(qe.isv_svn) >= level.tcb.isvsvn)
            .ok_or_else(|| Rule::T5.refuse("no TCB level of the quoting enclave matches: it is too old"))?;
        let launch = Launch::judge(tcb_info, platform, body, &body.tee_tcb_svn)?;
        let current = match &body.v15 {
            Some((current, _)) => Some(Launch::judge(tcb_info, platform, body, current)?),
            None => None,
        };
        let mut advisories = launch.advisories.clone();
        for advisory in &qe_level.advisories {
            if !advisories.contains(advisory) {
                advisories.push(advisory.clone());
            }
        }
        Ok(Self {
            status: converge(launch.status, qe_level.tcb_status),
            current_status: current.map(|current| converge(current.status, qe_level.tcb_status)),
            platform: launch.platform,
            module: launch.module,
            quoting_enclave: qe_level.tcb_status,
            level_date: launch.date,
            advisories,
            evaluation_number: tcb_info.tcb_evaluation_data_number,
        })
    }

    /// Rule T5: the statuses against the policy.
    pub(crate) fn check(&self, lines: &TdxPolicy) -> Result<(), Refusal> {
        for status in [Some(self.status), self.current_status].into_iter().flatten() {
            if status == TcbStatus::Revoked {
                return Err(Rule::T5.refuse("the TCB is revoked: keys of this level are known to be exposed"));
            }
            let hardened = status == TcbStatus::SWHardeningNeeded
                && !self.advisories.is_empty()
                && self.advisories.iter().all(|advisory| lines.hardened_advisories.is.contains(advisory));
            if !hardened && !lines.tcb_statuses.is.contains(&status) {
                let because = &lines.tcb_statuses.because;
                let advisories = self.advisories.join(", ");
                return Err(Rule::T5.refuse(format!(
                    "the TCB status is {}; the policy refuses it: {because} ({advisories})",
                    status.name()
                )));
            }
        }
        Ok(())
    }
}

/// Platform and module, for one set of TDX security version numbers.
struct Launch {
    status: TcbStatus,
    platform: TcbStatus,
    module: Option<TcbStatus>,
    date: String,
    advisories: Vec<String>,
}

impl Launch {
    fn judge(tcb_info: &TcbInfo, platform: &Platform, body: &Body, svn: &[u8; 16]) -> Result<Self, Refusal> {
        let module = check_module(tcb_info, body, svn)?;
        // With a module of its own line (1.5 and later) the first two numbers are judged by that line's levels.
        let skipped = if module.is_some() { 2 } else { 0 };
        let level = tcb_info
            .tcb_levels
            .iter()
            .find(|level| {
                let components = level.tcb.sgxtcbcomponents.iter().zip(platform.components);
                let modules = level.tcb.tdxtcbcomponents.iter().zip(svn).skip(skipped);
                components.into_iter().all(|(needs, has)| has >= needs.svn)
                    && platform.pce_svn >= level.tcb.pcesvn
                    && modules.into_iter().all(|(needs, has)| u32::from(*has) >= needs.svn)
            })
            .ok_or_else(|| Rule::T5.refuse("no TCB level matches: the platform is not supported or too old"))?;
        let mut advisories = level.advisories.clone();
        if let Some(module) = module {
            for advisory in &module.advisories {
                if !advisories.contains(advisory) {
                    advisories.push(advisory.clone());
                }
            }
        }
        Ok(Self {
            status: module.map_or(level.tcb_status, |module| converge(level.tcb_status, module.tcb_status)),
            platform: level.tcb_status,
            module: module.map(|module| module.tcb_status),
            // The oldest part dates the whole. RFC 3339 in UTC compares as text.
            date: module.map_or(&level.tcb_date, |module| (&module.tcb_date).min(&level.tcb_date)).clone(),
            advisories,
        })
    }
}

/// Rule T8 and the module's part of T5: signer and attributes, and the level of the module's line.
fn check_module<'a>(tcb_info: &'a TcbInfo, body: &Body, svn: &[u8; 16]) -> Result<Option<&'a SvnLevel>, Refusal> {
    let [minor, version, ..] = *svn;
    if version == 0 {
        check_module_signer(&tcb_info.tdx_module, body)?;
        return Ok(None);
    }
    let id = format!("TDX_{version:02X}");
    let identity = tcb_info
        .tdx_module_identities
        .iter()
        .find(|identity| identity.id.eq_ignore_ascii_case(&id))
        .ok_or_else(|| Rule::T8.refuse(format!("the collateral has no identity for TDX modules of line {id}")))?;
    check_module_signer(&identity.module, body)?;
    let level = identity.tcb_levels.iter().find(|level| u32::from(minor) >= level.tcb.isvsvn);
    level.map(Some).ok_or_else(|| Rule::T5.refuse("no TCB level of the TDX module matches: it is too old"))
}

fn check_module_signer(module: &Module, body: &Body) -> Result<(), Refusal> {
    let malformed = || Rule::T3.refuse("a TDX module identity is malformed");
    Rule::T8
        .require(equals_hex(&module.mrsigner, &body.mr_signer_seam), "the TDX module's signer is not the listed one")?;
    let mask = hex::decode(&module.attributes_mask).map_err(|_| malformed())?;
    let attributes = hex::decode(&module.attributes).map_err(|_| malformed())?;
    let matches = masked_equal(&body.seam_attributes, &attributes, &mask).ok_or_else(malformed)?;
    Rule::T8.require(matches, "the TDX module's attributes are not the listed ones")
}

/// Rule T4: the quoting enclave is the one that Intel describes.
fn check_qe_identity(qe: &QeReport, identity: &QeIdentity) -> Result<(), Refusal> {
    let malformed = || Rule::T3.refuse("the QE identity is malformed");
    Rule::T4
        .require(equals_hex(&identity.mrsigner, &qe.mr_signer), "the quoting enclave's signer is not the listed one")?;
    Rule::T4.require(
        u32::from(qe.isv_prod_id) == identity.isvprodid,
        "the quoting enclave's product id is not the listed one",
    )?;
    let decode = |text: &str| hex::decode(text).map_err(|_| malformed());
    let (attributes, mask) = (decode(&identity.attributes)?, decode(&identity.attributes_mask)?);
    let matches = masked_equal(&qe.attributes, &attributes, &mask).ok_or_else(malformed)?;
    Rule::T4.require(matches, "the quoting enclave's attributes are not the listed ones")?;
    // MISCSELECT is a number: written big-endian in the identity, little-endian in the report.
    let mut select = qe.misc_select;
    select.reverse();
    let (expected, mask) = (decode(&identity.miscselect)?, decode(&identity.miscselect_mask)?);
    let matches = masked_equal(&select, &expected, &mask).ok_or_else(malformed)?;
    Rule::T4.require(matches, "the quoting enclave's miscellaneous select is not the listed one")
}

/// Whether two byte strings agree under a mask; nothing if the lengths differ.
fn masked_equal(seen: &[u8], expected: &[u8], mask: &[u8]) -> Option<bool> {
    (seen.len() == expected.len() && seen.len() == mask.len())
        .then(|| seen.iter().zip(expected).zip(mask).all(|((seen, expected), mask)| seen & mask == expected & mask))
}

/// Intel's rule: only an outdated or revoked component changes the status of the whole.
fn converge(status: TcbStatus, component: TcbStatus) -> TcbStatus {
    use TcbStatus::{
        ConfigurationAndSWHardeningNeeded, ConfigurationNeeded, OutOfDate, OutOfDateConfigurationNeeded, Revoked,
        SWHardeningNeeded, UpToDate,
    };
    match (component, status) {
        (Revoked, _) | (_, Revoked) => Revoked,
        (OutOfDate | OutOfDateConfigurationNeeded, UpToDate | SWHardeningNeeded) => OutOfDate,
        (OutOfDate | OutOfDateConfigurationNeeded, ConfigurationNeeded | ConfigurationAndSWHardeningNeeded) => {
            OutOfDateConfigurationNeeded
        }
        _ => status,
    }
}

impl TcbStatus {
    /// Intel's word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UpToDate => "UpToDate",
            Self::SWHardeningNeeded => "SWHardeningNeeded",
            Self::ConfigurationNeeded => "ConfigurationNeeded",
            Self::ConfigurationAndSWHardeningNeeded => "ConfigurationAndSWHardeningNeeded",
            Self::OutOfDate => "OutOfDate",
            Self::OutOfDateConfigurationNeeded => "OutOfDateConfigurationNeeded",
            Self::Revoked => "Revoked",
        }
    }
}
