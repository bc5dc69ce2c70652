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

/// A refusal by a line of the policy, with the line's reason.
pub(crate) fn by_policy(rule: Rule, seen: impl AsRef<str>, because: &str) -> Refusal {
    rule.refuse(format!("{}; the policy refuses it: {because}", seen.as_ref()))
}

/// Refuses what the line does not allow.
fn forbid(rule: Rule, seen: bool, line: &Line<bool>, what: &str) -> Result<(), Refusal> {
    if seen && !line.is { Err(by_policy(rule, what, &line.because)) } else { Ok(()) }
}

/// Refuses the absence of what the line demands.
fn demand(rule: Rule, seen: bool, demanded: bool, because: &str, what: &str) -> Result<(), Refusal> {
    if demanded && !seen { Err(by_policy(rule, what, because)) } else { Ok(()) }
}

/// Rule S2: the kind of key, before its certificate is looked at.
pub(super) fn check_key_kind(report: &Report, kind: SigningKey, lines: &SevSnpPolicy) -> Result<(), Refusal> {
    forbid(Rule::S2, report.chip_key_masked(), &lines.masked_chip_key_allowed, "the chip's key is masked")?;
    if lines.signing_keys.is.contains(&kind) {
        Ok(())
    } else {
        Err(by_policy(Rule::S2, format!("the report is signed by a {}", kind.name()), &lines.signing_keys.because))
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
        return Err(by_policy(
            Rule::S13,
            format!("the processor is of the {} line", product.name()),
            &lines.products.because,
        ));
    }
    check_bindings(report, lines, expected)?;
    check_guest_policy(report, product, lines)?;
    if report.vmpl > lines.vmpl_max.is {
        return Err(by_policy(
            Rule::S9,
            format!("privilege level {} asked for the report", report.vmpl),
            &lines.vmpl_max.because,
        ));
    }
    check_floors(report, tcbs, lines)?;
    check_platform(report, product, lines)?;
    if lines.chips.is.allows(&report.chip_id) {
        Ok(())
    } else {
        Err(by_policy(
            Rule::S14,
            format!("chip {} is not on the list", hex::encode(report.chip_id)),
            &lines.chips.because,
        ))
    }
}

/// Rules S6, S7, S10, S15: fields against what the caller expects.
fn check_bindings(report: &Report, lines: &SevSnpPolicy, expected: &Expected) -> Result<(), Refusal> {
    demand(
        Rule::S15,
        expected.names("report_data"),
        lines.fresh_binding_required.is,
        &lines.fresh_binding_required.because,
        "no report_data was expected, so that the report may be of any age",
    )?;
    expected.compare(&facts(report), Rule::S7)?;
    if report.author_key_enabled() && !expected.names("author_key_digest") {
        forbid(Rule::S7, true, &lines.unpinned_author_key_allowed, "an author key signed the identity block")?;
    }
    Rule::S7.require(
        report.author_key_enabled() || all_zero(&report.author_key_digest),
        "an author key is named though none signed",
    )?;
    if report.guest_svn < lines.guest_svn_min.is {
        return Err(by_policy(
            Rule::S7,
            format!("the guest's security version is {}", report.guest_svn),
            &lines.guest_svn_min.because,
        ));
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
    forbid(Rule::S8, policy.debug(), &lines.debug_allowed, "the guest may be debugged by its host")?;
    forbid(Rule::S8, policy.migration_agent(), &lines.migration_agent_allowed, "a migration agent may be attached")?;
    forbid(
        Rule::S8,
        report.report_id_ma.iter().any(|byte| *byte != 0xff),
        &lines.migration_agent_allowed,
        "a migration agent is attached",
    )?;
    forbid(Rule::S8, policy.cxl(), &lines.cxl_allowed, "the guest may be given CXL memory")?;
    forbid(Rule::S8, policy.smt(), &lines.smt_allowed, "the guest policy allows simultaneous multithreading")?;
    if policy.abi() < lines.abi_min.is {
        let [major, minor] = policy.abi();
        return Err(by_policy(
            Rule::S8,
            format!("the guest policy takes ABI version {major}.{minor}"),
            &lines.abi_min.because,
        ));
    }
    for (set, line, what) in [
        (policy.single_socket(), &lines.single_socket_on, "the guest policy does not confine the guest to one socket"),
        (policy.ciphertext_hiding(), &lines.ciphertext_hiding_on, "the guest policy does not demand ciphertext hiding"),
        (policy.aes_256_xts(), &lines.aes_256_xts_on, "the guest policy does not demand AES-256-XTS"),
        (policy.rapl_off(), &lines.rapl_off_on, "the guest policy does not demand that power limits are off"),
        (policy.page_swap_off(), &lines.page_swap_off_on, "the guest policy does not disable page swapping"),
    ] {
        demand(Rule::S8, set, line.is.contains(&product), &line.because, what)?;
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
                    return Err(by_policy(Rule::S11, seen, &lines.floors.because));
                }
            }
        }
        None if lines.floor_required.is => {
            return Err(by_policy(
                Rule::S11,
                format!("there is no TCB floor for processor {cpu}"),
                &lines.floor_required.because,
            ));
        }
        None => {}
    }
    let missing = lines.mitigations.is & !report.mitigations.map_or(0, |(launch, _)| launch);
    if report.version >= 5 && missing != 0 {
        return Err(by_policy(Rule::S11, format!("mitigations {missing:#x} are missing"), &lines.mitigations.because));
    }
    Ok(())
}

/// Rule S12.
fn check_platform(report: &Report, product: Product, lines: &SevSnpPolicy) -> Result<(), Refusal> {
    let has = |bit: u64| report.platform_info & bit != 0;
    forbid(Rule::S12, has(platform::SMT), &lines.smt_allowed, "simultaneous multithreading is on")?;
    for (set, demanded, because, what) in [
        (
            has(platform::ALIAS_CHECK),
            lines.alias_check_required.is,
            &lines.alias_check_required.because,
            "the memory alias check was not completed",
        ),
        (has(platform::ECC), lines.ecc_required.is, &lines.ecc_required.because, "memory has no error correction"),
        (
            has(platform::CIPHERTEXT_HIDING),
            lines.ciphertext_hiding_on.is.contains(&product),
            &lines.ciphertext_hiding_on.because,
            "ciphertext hiding is off",
        ),
        (
            has(platform::RAPL_OFF),
            lines.rapl_off_on.is.contains(&product),
            &lines.rapl_off_on.because,
            "power limits are on",
        ),
    ] {
        demand(Rule::S12, set, demanded, because, what)?;
    }
    Ok(())
}
