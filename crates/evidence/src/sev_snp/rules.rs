//! The rules after the signature: bindings, guest policy, TCB floors, platform.

use super::{Product, SigningKey, Tcb, report::Report};
use crate::{
    Expected, Refusal, Rule,
    cursor::all_zero,
    expected::Fact,
    policy::{Line, SevSnpPolicy},
};

/// Platform information bits.
mod platform {
    pub(super) const SMT: u64 = 1;
    pub(super) const ECC: u64 = 1 << 2;
    pub(super) const RAPL_OFF: u64 = 1 << 3;
    pub(super) const CIPHERTEXT_HIDING: u64 = 1 << 4;
    pub(super) const ALIAS_CHECK: u64 = 1 << 5;
}

/// Refuses the absence of what the line demands.
fn demand<T>(rule: Rule, seen: bool, demanded: bool, line: &Line<T>, what: &str) -> Result<(), Refusal> {
    if demanded && !seen { Err(line.refuse(rule, what)) } else { Ok(()) }
}

/// Rule S2: the kind of key, before its certificate is looked at.
pub(super) fn check_key_kind(report: &Report, kind: SigningKey, lines: &SevSnpPolicy) -> Result<(), Refusal> {
    lines.masked_chip_key_allowed.forbid(Rule::S2, report.chip_key_masked(), "the chip's key is masked")?;
    if lines.signing_keys.is.contains(&kind) {
        Ok(())
    } else {
        Err(lines.signing_keys.refuse(Rule::S2, format!("the report is signed by a {}", kind.name())))
    }
}

/// Rules S6 to S15, on a report whose signature was verified.
pub(super) fn check(
    report: &Report,
    product: Product,
    tcbs: &[Tcb; 4],
    lines: &SevSnpPolicy,
    expected: &Expected,
) -> Result<(), Refusal> {
    // The product line comes first: what a deny-listed processor says about itself is not worth judging.
    if !lines.products.is.contains(&product) {
        return Err(lines.products.refuse(Rule::S13, format!("the processor is of the {} line", product.name())));
    }
    check_bindings(report, lines, expected)?;
    check_guest_policy(report, product, lines)?;
    if report.vmpl > lines.vmpl_max.is {
        return Err(lines.vmpl_max.refuse(Rule::S9, format!("privilege level {} asked for the report", report.vmpl)));
    }
    check_floors(report, tcbs, lines)?;
    check_platform(report, product, lines)?;
    if lines.chips.is.allows(&report.chip_id) {
        Ok(())
    } else {
        Err(lines.chips.refuse(Rule::S14, format!("chip {} is not on the list", hex::encode(report.chip_id))))
    }
}

/// Rules S6, S7, S10, S15: fields against what the caller expects.
fn check_bindings(report: &Report, lines: &SevSnpPolicy, expected: &Expected) -> Result<(), Refusal> {
    demand(
        Rule::S15,
        expected.names("report_data"),
        lines.fresh_binding_required.is,
        &lines.fresh_binding_required,
        "no report_data was expected, so that the report may be of any age",
    )?;
    expected.compare(&facts(report), Rule::S7)?;
    if report.author_key_enabled() && !expected.names("author_key_digest") {
        lines.unpinned_author_key_allowed.forbid(Rule::S7, true, "an author key signed the identity block")?;
    }
    Rule::S7.require(
        report.author_key_enabled() || all_zero(&report.author_key_digest),
        "an author key is named though none signed",
    )?;
    if report.guest_svn < lines.guest_svn_min.is {
        return Err(lines
            .guest_svn_min
            .refuse(Rule::S7, format!("the guest's security version is {}", report.guest_svn)));
    }
    Ok(())
}

/// The fields that expectations may name.
fn facts(report: &Report) -> Vec<(&'static str, Rule, Fact<'_>)> {
    let mut facts = vec![
        ("report_data", Rule::S6, Fact::Bytes(&report.report_data)),
        ("measurement", Rule::S7, Fact::Bytes(&report.measurement)),
        ("family_id", Rule::S7, Fact::Bytes(&report.family_id)),
        ("image_id", Rule::S7, Fact::Bytes(&report.image_id)),
        ("id_key_digest", Rule::S7, Fact::Bytes(&report.id_key_digest)),
        ("author_key_digest", Rule::S7, Fact::Bytes(&report.author_key_digest)),
        ("guest_svn", Rule::S7, Fact::Number(report.guest_svn.into())),
        ("policy", Rule::S8, Fact::Number(report.policy.0)),
        ("vmpl", Rule::S9, Fact::Number(report.vmpl.into())),
        ("host_data", Rule::S10, Fact::Bytes(&report.host_data)),
        ("current_tcb", Rule::S11, Fact::Bytes(&report.current_tcb)),
        ("reported_tcb", Rule::S11, Fact::Bytes(&report.reported_tcb)),
        ("committed_tcb", Rule::S11, Fact::Bytes(&report.committed_tcb)),
        ("launch_tcb", Rule::S11, Fact::Bytes(&report.launch_tcb)),
        ("platform_info", Rule::S12, Fact::Number(report.platform_info)),
        ("chip_id", Rule::S14, Fact::Bytes(&report.chip_id)),
        ("report_id", Rule::S6, Fact::Bytes(&report.report_id)),
        ("version", Rule::S1, Fact::Number(report.version.into())),
    ];
    if let Some((launch, current)) = report.mitigations {
        facts.push(("launch_mit_vector", Rule::S11, Fact::Number(launch)));
        facts.push(("current_mit_vector", Rule::S11, Fact::Number(current)));
    }
    facts
}

/// Rule S8.
fn check_guest_policy(report: &Report, product: Product, lines: &SevSnpPolicy) -> Result<(), Refusal> {
    let policy = report.policy;
    lines.debug_allowed.forbid(Rule::S8, policy.debug(), "the guest may be debugged by its host")?;
    lines.migration_agent_allowed.forbid(Rule::S8, policy.migration_agent(), "a migration agent may be attached")?;
    let attached = report.report_id_ma.iter().any(|byte| *byte != 0xff);
    lines.migration_agent_allowed.forbid(Rule::S8, attached, "a migration agent is attached")?;
    lines.cxl_allowed.forbid(Rule::S8, policy.cxl(), "the guest may be given CXL memory")?;
    lines.smt_allowed.forbid(Rule::S8, policy.smt(), "the guest policy allows simultaneous multithreading")?;
    if policy.abi() < lines.abi_min.is {
        let [major, minor] = policy.abi();
        return Err(lines.abi_min.refuse(Rule::S8, format!("the guest policy takes ABI version {major}.{minor}")));
    }
    for (set, line, what) in [
        (policy.single_socket(), &lines.single_socket_on, "the guest policy does not confine the guest to one socket"),
        (policy.ciphertext_hiding(), &lines.ciphertext_hiding_on, "the guest policy does not demand ciphertext hiding"),
        (policy.aes_256_xts(), &lines.aes_256_xts_on, "the guest policy does not demand AES-256-XTS"),
        (policy.rapl_off(), &lines.rapl_off_on, "the guest policy does not demand that power limits are off"),
        (policy.page_swap_off(), &lines.page_swap_off_on, "the guest policy does not disable page swapping"),
    ] {
        demand(Rule::S8, set, line.is.contains(&product), line, what)?;
    }
    Ok(())
}

/// Rule S11: each of the reported, committed and launch TCB is at its floor in every component.
fn check_floors(report: &Report, tcbs: &[Tcb; 4], lines: &SevSnpPolicy) -> Result<(), Refusal> {
    let cpu = report.cpu().unwrap_or_else(|| "unknown".into());
    let floor = lines.floors.is.iter().find(|floor| floor.cpu == cpu);
    let [_, reported, committed, launch] = tcbs;
    match floor {
        Some(floor) => {
            for (name, tcb) in [("reported", reported), ("committed", committed), ("launch", launch)] {
                if let Some((component, has, needs)) = tcb.shortfall(floor) {
                    let seen = format!("the {name} TCB has {component} {has} where processor {cpu} needs {needs}");
                    return Err(lines.floors.refuse(Rule::S11, seen));
                }
            }
        }
        None if lines.floor_required.is => {
            return Err(lines.floor_required.refuse(Rule::S11, format!("there is no TCB floor for processor {cpu}")));
        }
        None => {}
    }
    let demanded = lines.mitigations.is;
    if demanded != 0 && report.mitigations.is_none() {
        let seen = format!("a report of version {} does not say which mitigations were on", report.version);
        return Err(lines.mitigations.refuse(Rule::S11, seen));
    }
    let missing = demanded & !report.mitigations.map_or(0, |(launch, _)| launch);
    if missing != 0 {
        return Err(lines.mitigations.refuse(Rule::S11, format!("mitigations {missing:#x} are missing")));
    }
    Ok(())
}

/// Rule S12.
fn check_platform(report: &Report, product: Product, lines: &SevSnpPolicy) -> Result<(), Refusal> {
    let has = |bit: u64| report.platform_info & bit != 0;
    lines.smt_allowed.forbid(Rule::S12, has(platform::SMT), "simultaneous multithreading is on")?;
    for (set, line, what) in [
        (has(platform::ALIAS_CHECK), &lines.alias_check_required, "the memory alias check was not completed"),
        (has(platform::ECC), &lines.ecc_required, "memory has no error correction"),
    ] {
        demand(Rule::S12, set, line.is, line, what)?;
    }
    for (set, line, what) in [
        (has(platform::CIPHERTEXT_HIDING), &lines.ciphertext_hiding_on, "ciphertext hiding is off"),
        (has(platform::RAPL_OFF), &lines.rapl_off_on, "power limits are on"),
    ] {
        demand(Rule::S12, set, line.is.contains(&product), line, what)?;
    }
    Ok(())
}
