//! Policies: the embedded ones, a user's own, and what is refused.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "test helpers")]

use evidence::{Demand, Policy, PolicyError, Rule, sev_snp::Product};

#[test]
fn embedded_policies_are_read_and_grow_stricter() {
    for name in Policy::EMBEDDED {
        let policy = Policy::embedded(name).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(policy.name, name);
        assert!(Policy::embedded_text(name).is_some_and(|text| text.contains("because")));
    }
    let read = |name| Policy::embedded(name).expect("a policy");
    let (dev, hardware, standard, strict) = (read("dev"), read("hardware"), read("standard"), read("strict"));
    assert!(dev.platform.none_allowed.is && !hardware.platform.none_allowed.is);
    assert_eq!((hardware.sev_snp.report_version_min.is, standard.sev_snp.report_version_min.is), (2, 3));
    assert_eq!((hardware.sev_snp.crl.is, standard.sev_snp.crl.is), (Demand::IfGiven, Demand::Required));
    assert!(hardware.sev_snp.products.is.contains(&Product::Milan));
    assert!(!standard.sev_snp.products.is.contains(&Product::Milan));
    assert!(standard.sev_snp.smt_allowed.is && !strict.sev_snp.smt_allowed.is);
    assert_eq!(standard.tdx.tcb_statuses.is.len(), 1);
    assert_eq!(
        [&dev, &hardware, &standard, &strict].map(|policy| policy.tpm2.drivers_allowed.is),
        [true, true, false, false]
    );
    let any = [7; 48];
    let named = |policy: &Policy| policy.azure.paravisors.is.allows(&any) && !policy.azure.paravisors.is.lists(&any);
    assert_eq!([&dev, &hardware, &standard, &strict].map(named), [true, true, false, false]);
    let machines = |policy: &Policy| policy.tdx.machines.is.allows(&any);
    assert_eq!([&dev, &hardware, &standard, &strict].map(machines), [true, true, true, false]);
    assert!(!strict.sev_snp.chips.is.allows(&[7; 64]) && standard.sev_snp.chips.is.allows(&[7; 64]));
}

#[test]
fn only_the_development_policy_accepts_a_platform_without_evidence() {
    for name in Policy::EMBEDDED {
        let judged = evidence::check::none(&Policy::embedded(name).expect("a policy"));
        assert_eq!(judged.rule(), (name != "dev").then_some(Rule::N1), "{name}");
    }
}

#[test]
fn a_policy_of_ones_own_replaces_lines_with_a_reason() {
    let own = "name = \"own\"\nextends = \"standard\"\n[sev_snp]\nproducts = { is = [\"milan\"], because = \"my old machine\" }\n";
    let policy = Policy::from_toml(own).expect("a policy");
    assert_eq!(policy.sev_snp.products.is, [Product::Milan]);
    assert_eq!(policy.sev_snp.crl.is, Demand::Required, "the other lines are the standard policy's");
    for (text, what) in [
        (own.replace("because = \"my old machine\"", "because = \" \""), "no reason"),
        (own.replace(", because = \"my old machine\"", ""), "no reason"),
        (own.replace("products", "product"), "unknown line"),
        (own.replace("milan", "naples"), "unknown product"),
        (own.replace("[sev_snp]", "[sev]"), "unknown section"),
        (own.replace("\"standard\"", "\"own\""), "extends what is not embedded"),
        (own.replace("\"standard\"", "3"), "extends a number"),
        (own.replace("extends = \"standard\"\n", ""), "incomplete"),
        (own.replace("[\"milan\"]", "\"milan\""), "not a list"),
        ("a".repeat(70_000), "too large"),
    ] {
        assert!(Policy::from_toml(&text).is_err(), "{what}: {text}");
    }
    assert!(matches!(Policy::embedded("paranoid"), Err(PolicyError::Unknown(_))));
}

#[test]
fn every_rule_has_a_name_and_a_text() {
    let mut names: Vec<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    assert!(Rule::ALL.iter().all(|rule| !rule.text().is_empty()));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Rule::ALL.len());
}
