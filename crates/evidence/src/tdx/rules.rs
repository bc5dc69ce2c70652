//! The rules about the guest and the platform, after every signature.

use super::{pck::Platform, quote::Body};
use crate::{Expected, Refusal, Rule, cursor::all_zero, expected::Fact, known::Known, policy::TdxPolicy};

/// Bits of the TD attributes.
mod attribute {
    pub(super) const DEBUG: u64 = 1;
    /// Profiling and what is reserved beside it: anything here makes the TD untrusted.
    pub(super) const UNTRUSTED: u64 = 0xfe;
    /// Counts instructions against single-stepping: a defence.
    pub(super) const ICSSD: u64 = 1 << 16;
    pub(super) const SERVICE_TD_EXTENDED: u64 = 1 << 17;
    /// Linear address space separation.
    pub(super) const LASS: u64 = 1 << 27;
    pub(super) const SEPT_VE_DISABLE: u64 = 1 << 28;
    pub(super) const MIGRATABLE: u64 = 1 << 29;
    pub(super) const PKS: u64 = 1 << 30;
    pub(super) const KEY_LOCKER: u64 = 1 << 31;
    pub(super) const PERFMON: u64 = 1 << 63;
    pub(super) const KNOWN: u64 = DEBUG
        | UNTRUSTED
        | ICSSD
        | SERVICE_TD_EXTENDED
        | LASS
        | SEPT_VE_DISABLE
        | MIGRATABLE
        | PKS
        | KEY_LOCKER
        | PERFMON;
}

/// Rule T6.
pub(super) fn check_attributes(body: &Body, lines: &TdxPolicy) -> Result<(), Refusal> {
    let attributes = u64::from_le_bytes(body.td_attributes);
    let has = |bit: u64| attributes & bit != 0;
    lines.debug_allowed.forbid(Rule::T6, has(attribute::DEBUG), "the guest may be debugged by its host")?;
    lines.debug_allowed.forbid(Rule::T6, has(attribute::UNTRUSTED), "the guest may be profiled by its host")?;
    Rule::T6.require(attributes & !attribute::KNOWN == 0, "a reserved or unknown TD attribute is set")
}

/// The rest of T6, and T7 to T13.
pub(super) fn check(body: &Body, platform: &Platform, lines: &TdxPolicy, expected: &Expected) -> Result<(), Refusal> {
    check_remaining_attributes(body, lines)?;
    if !lines.xfams.is.allows(&body.xfam) {
        return Err(lines.xfams.refuse(Rule::T7, format!("the extended features are {}", hex::encode(body.xfam))));
    }
    Rule::T8.require(all_zero(&body.mr_signer_seam), "the TDX module's signer is not Intel")?;
    Rule::T8
        .require(all_zero(&body.seam_attributes), "the TDX module has attributes: it is not a production module")?;
    if !lines.modules.is.allows(&body.mr_seam) {
        return Err(lines.modules.refuse(Rule::T8, format!("the TDX module is {}", hex::encode(body.mr_seam))));
    }
    check_bindings(body, lines, expected)?;
    check_platform(platform, lines)
}

fn check_remaining_attributes(body: &Body, lines: &TdxPolicy) -> Result<(), Refusal> {
    let attributes = u64::from_le_bytes(body.td_attributes);
    let has = |bit: u64| attributes & bit != 0;
    for (seen, line, what) in [
        (has(attribute::MIGRATABLE), &lines.migratable_allowed, "the guest may be migrated"),
        (has(attribute::SERVICE_TD_EXTENDED), &lines.service_td_allowed, "service TDs may be bound later"),
        (has(attribute::PKS), &lines.pks_allowed, "supervisor protection keys are on"),
        (has(attribute::KEY_LOCKER), &lines.key_locker_allowed, "the key locker is on"),
        (has(attribute::PERFMON), &lines.perfmon_allowed, "performance monitoring is on"),
    ] {
        line.forbid(Rule::T6, seen, what)?;
    }
    if lines.sept_ve_disable_required.is && !has(attribute::SEPT_VE_DISABLE) {
        return Err(lines.sept_ve_disable_required.refuse(Rule::T6, "exceptions for stolen pages are on"));
    }
    let bound = body.v15.as_ref().is_some_and(|(_, service_td)| !all_zero(service_td))
        || body.extended.as_ref().is_some_and(|extended| {
            // The last 56 bytes are the current service TD's hash and attributes.
            let current = extended.rest.get(12..).unwrap_or_default();
            !all_zero(&extended.init_service_td_hash)
                || !all_zero(&extended.init_service_td_attributes)
                || !all_zero(current)
        });
    lines.service_td_allowed.forbid(Rule::T6, bound, "a service TD is bound")
}

/// Rules T9 to T11.
fn check_bindings(body: &Body, lines: &TdxPolicy, expected: &Expected) -> Result<(), Refusal> {
    if lines.fresh_binding_required.is && !expected.names("reportdata") {
        let seen = "no reportdata was expected, so that the quote may be of any age";
        return Err(lines.fresh_binding_required.refuse(Rule::T11, seen));
    }
    expected.compare(&facts(body), Rule::T9)?;
    for (field, name, value) in
        [("mrowner", "MROWNER", &body.mr_owner), ("mrownerconfig", "MROWNERCONFIG", &body.mr_owner_config)]
    {
        if !all_zero(value) && !expected.names(field) {
            return Err(Rule::T10.refuse(format!("{name} is set, and nothing was expected of it")));
        }
    }
    Ok(())
}

/// The value of RTMR0: rule T15. An expectation of it was compared before (T9).
pub(super) fn identify_machine(body: &Body, lines: &TdxPolicy, expected: &Expected) -> Result<Known, Refusal> {
    let [rtmr0, ..] = &body.rtmr;
    Known::judge("the machine (RTMR0)", &[("rtmr0", rtmr0)], &lines.machines, expected, Rule::T15)
}

/// The fields that expectations may name.
fn facts(body: &Body) -> Vec<(&'static str, Rule, Fact<'_>)> {
    let [rtmr0, rtmr1, rtmr2, rtmr3] = &body.rtmr;
    vec![
        ("tdattributes", Rule::T6, Fact::Bytes(&body.td_attributes)),
        ("xfam", Rule::T7, Fact::Bytes(&body.xfam)),
        ("mrseam", Rule::T8, Fact::Bytes(&body.mr_seam)),
        ("mrtd", Rule::T9, Fact::Bytes(&body.mrtd)),
        ("rtmr0", Rule::T9, Fact::Bytes(rtmr0)),
        ("rtmr1", Rule::T9, Fact::Bytes(rtmr1)),
        ("rtmr2", Rule::T9, Fact::Bytes(rtmr2)),
        ("rtmr3", Rule::T9, Fact::Bytes(rtmr3)),
        ("mrconfigid", Rule::T10, Fact::Bytes(&body.mr_config_id)),
        ("mrowner", Rule::T10, Fact::Bytes(&body.mr_owner)),
        ("mrownerconfig", Rule::T10, Fact::Bytes(&body.mr_owner_config)),
        ("reportdata", Rule::T11, Fact::Bytes(&body.report_data)),
    ]
}

/// Rules T12, T13.
fn check_platform(platform: &Platform, lines: &TdxPolicy) -> Result<(), Refusal> {
    for (seen, line, what) in [
        (platform.dynamic_platform, &lines.dynamic_platform_allowed, "packages of the platform may change"),
        (platform.cached_keys, &lines.cached_keys_allowed, "Intel holds the platform's root keys"),
        (platform.smt, &lines.smt_allowed, "simultaneous multithreading is on"),
    ] {
        line.forbid(Rule::T12, seen, what)?;
    }
    let list = &lines.platforms.is;
    if list.allows(&platform.ppid) || platform.instance_id.is_some_and(|id| list.allows(&id)) {
        Ok(())
    } else {
        let id = hex::encode(platform.instance_id.as_ref().unwrap_or(&platform.ppid));
        Err(lines.platforms.refuse(Rule::T13, format!("platform {id} is not on the list")))
    }
}
