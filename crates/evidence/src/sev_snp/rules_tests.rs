//! Each rule after the signature has a report that keeps it and one that breaks it. The reports are synthetic and unsigned:
//! real hardware has no report with a migration agent to offer.

use super::{Product, report::Report, rules};
use crate::{Expected, Policy, Refusal, Rule};

/// A report of a Genoa processor at its floor that every line of the standard policy accepts.
fn good() -> Vec<u8> {
    let mut bytes = vec![0; 1184];
    bytes[0] = 3; // version
    bytes[8..16].copy_from_slice(&0x3_0000_u64.to_le_bytes()); // guest policy: SMT and the bit that must be one
    bytes[0x34] = 1; // ECDSA P-384 with SHA-384
    bytes[0x40] = 0x25; // platform: SMT, ECC, alias check
    bytes[0x160..0x180].fill(0xff); // no migration agent
    for tcb in [0x38, 0x180, 0x1e0, 0x1f0] {
        bytes[tcb..tcb + 8].copy_from_slice(&[10, 0, 0, 0, 0, 0, 27, 86]);
    }
    bytes[0x188..0x18b].copy_from_slice(&[0x19, 0x11, 0x01]);
    bytes[0x1a0..0x1e0].fill(7); // chip id
    bytes
}

fn judge(bytes: &[u8], policy: &Policy, expected: &Expected) -> Result<(), Refusal> {
    let report = Report::read(bytes)?;
    rules::check_key_kind(&report, report.signing_key()?, &policy.sev_snp)?;
    let product = report.product()?.unwrap_or(Product::Milan);
    let tcbs = report.tcbs(product)?;
    rules::check(&report, product, &tcbs, &policy.sev_snp, expected)
}

fn policy(lines: &str) -> Policy {
    let text = format!("name = \"test\"\nextends = \"standard\"\n[sev_snp]\n{lines}\n");
    Policy::from_toml(&text).expect("a policy")
}

fn broken(change: impl Fn(&mut Vec<u8>), lines: &str) -> Option<Rule> {
    let mut bytes = good();
    change(&mut bytes);
    judge(&bytes, &policy(lines), &Expected::nothing()).err().map(|refusal| refusal.rule())
}

#[test]
fn a_good_report_keeps_every_rule_of_the_standard_policy() {
    assert_eq!(judge(&good(), &policy(""), &Expected::nothing()), Ok(()));
}

#[test]
fn s1_form() {
    assert_eq!(Report::read(&good()[..1183]).expect_err("short").rule(), Rule::S1);
    let long = [good(), vec![0]].concat();
    assert_eq!(Report::read(&long).expect_err("long").rule(), Rule::S1);
    for version in [0, 1, 6, 255] {
        assert_eq!(broken(|report| report[0] = version, ""), Some(Rule::S1), "version {version}");
    }
    for algorithm in [0, 2] {
        assert_eq!(broken(|report| report[0x34] = algorithm, ""), Some(Rule::S1), "algorithm {algorithm}");
    }
    // Reserved: behind the flags, the CPUID, the firmware versions, the launch TCB, inside and behind the signature.
    for place in
        [0x4c, 0x18b, 0x19f, 0x1eb, 0x1ef, 0x1f8, 0x207, 0x208, 0x29f, 0x2a0 + 48, 0x2a0 + 72 + 71, 0x330, 0x49f]
    {
        assert_eq!(broken(|report| report[place] = 1, ""), Some(Rule::S1), "reserved byte {place:#x}");
    }
    assert_eq!(broken(|report| report[0x4b] = 1, ""), Some(Rule::S1), "reserved flag");
    assert_eq!(broken(|report| report[8 + 4] = 1, ""), Some(Rule::S1), "reserved bit of the guest policy");
    assert_eq!(broken(|report| report[8 + 2] = 1, ""), Some(Rule::S1), "the bit that must be one");
    assert_eq!(broken(|report| report[0x180 + 3] = 1, ""), Some(Rule::S1), "reserved byte of a TCB");
    // Version 2 has nothing where CPUID is now; version 5 has mitigation vectors where 4 has nothing.
    assert_eq!(broken(|report| report[0] = 2, ""), Some(Rule::S1));
    assert_eq!(broken(|report| (report[0], report[0x1f8]) = (5, 1), ""), None);
}

#[test]
fn s2_processor_and_key() {
    assert_eq!(broken(|report| report[0x188] = 0x17, ""), Some(Rule::S2), "unknown family");
    assert_eq!(broken(|report| report[0x48] = 1 << 2, ""), Some(Rule::S2), "VLEK");
    assert_eq!(broken(|report| report[0x48] = 7 << 2, ""), Some(Rule::S2), "no key");
    assert_eq!(broken(|report| report[0x48] = 2, ""), Some(Rule::S2), "masked chip key");
    let vlek = r#"signing_keys = { is = ["vlek"], because = "test" }"#;
    assert_eq!(broken(|report| report[0x48] = 1 << 2, vlek), None);
    assert_eq!(broken(|_| (), vlek), Some(Rule::S2), "VCEK where VLEK is demanded");
}

#[test]
fn s6_s7_s10_bindings() {
    let mut report = good();
    report[0x50..0x90].fill(1);
    report[0x90..0xc0].fill(2);
    report[0xc0..0xe0].fill(3);
    report[0xe0..0x110].fill(4);
    report[0x10..0x20].fill(5);
    report[0x20..0x30].fill(6);
    report[4] = 8; // guest SVN
    let right = [
        ("report_data", Rule::S6, vec![1; 64]),
        ("measurement", Rule::S7, vec![2; 48]),
        ("id_key_digest", Rule::S7, vec![4; 48]),
        ("family_id", Rule::S7, vec![5; 16]),
        ("image_id", Rule::S7, vec![6; 16]),
        ("guest_svn", Rule::S7, vec![8]),
        ("host_data", Rule::S10, vec![3; 32]),
        ("chip_id", Rule::S14, vec![7; 64]),
        ("vmpl", Rule::S9, vec![0]),
    ];
    for (field, rule, value) in right {
        let expect = |value: &[u8]| judge(&report, &policy(""), &Expected::nothing().with(field, value));
        assert_eq!(expect(&value), Ok(()), "{field}");
        let mut wrong = value.clone();
        wrong[0] ^= 1;
        assert_eq!(expect(&wrong).expect_err(field).rule(), rule);
        if value.len() > 1 {
            assert_eq!(expect(&vec![0; value.len()]).expect_err(field).rule(), rule, "zero is no wildcard");
            assert_eq!(expect(&value[1..]).expect_err(field).rule(), rule, "a part is not the whole");
        }
    }
    let none = judge(&good(), &policy(""), &Expected::nothing().with("host_data", &[3; 32]));
    assert_eq!(none.expect_err("zero host data").rule(), Rule::S10);
    let floor = r#"guest_svn_min = { is = 2, because = "test" }"#;
    assert_eq!(broken(|report| report[4] = 1, floor), Some(Rule::S7));
    assert_eq!(broken(|report| report[4] = 2, floor), None);
}

#[test]
fn s7_author_key() {
    let authored = |report: &mut Vec<u8>| {
        report[0x48] = 1;
        report[0x110..0x140].fill(9);
    };
    assert_eq!(broken(authored, ""), Some(Rule::S7));
    assert_eq!(broken(authored, r#"unpinned_author_key_allowed = { is = true, because = "test" }"#), None);
    let mut report = good();
    authored(&mut report);
    assert_eq!(judge(&report, &policy(""), &Expected::nothing().with("author_key_digest", &[9; 48])), Ok(()), "pinned");
    assert_eq!(broken(|report| report[0x110] = 9, ""), Some(Rule::S7), "a digest without the flag");
}

#[test]
fn s8_guest_policy() {
    for (bit, line) in [(18, "migration_agent_allowed"), (19, "debug_allowed"), (21, "cxl_allowed")] {
        let set = |report: &mut Vec<u8>| report[8 + bit / 8] |= 1 << (bit % 8);
        assert_eq!(broken(set, ""), Some(Rule::S8), "{line}");
        assert_eq!(broken(set, &format!("{line} = {{ is = true, because = \"test\" }}")), None, "{line}");
    }
    assert_eq!(broken(|report| report[0x17f] = 0, ""), Some(Rule::S8), "a migration agent is attached");
    let without_smt = r#"smt_allowed = { is = false, because = "test" }"#;
    assert_eq!(broken(|report| report[0x40] = 0x24, without_smt), Some(Rule::S8));
    assert_eq!(broken(|report| (report[0x40], report[10]) = (0x24, 2), without_smt), None);
    let abi = r#"abi_min = { is = [1, 55], because = "test" }"#;
    assert_eq!(broken(|report| (report[8], report[9]) = (54, 1), abi), Some(Rule::S8));
    assert_eq!(broken(|report| (report[8], report[9]) = (0, 2), abi), None, "a higher major version");
    for (bit, line) in [(20, "single_socket_on"), (22, "aes_256_xts_on"), (25, "page_swap_off_on")] {
        let lines = format!("{line} = {{ is = [\"genoa\"], because = \"test\" }}");
        assert_eq!(broken(|_| (), &lines), Some(Rule::S8), "{line}");
        assert_eq!(broken(|report| report[8 + bit / 8] |= 1 << (bit % 8), &lines), None, "{line}");
        let elsewhere = format!("{line} = {{ is = [\"turin\"], because = \"test\" }}");
        assert_eq!(broken(|_| (), &elsewhere), None, "{line} of another product line");
    }
}

#[test]
fn s9_privilege_level() {
    assert_eq!(broken(|report| report[0x30] = 1, ""), Some(Rule::S9));
    assert_eq!(broken(|report| report[0x30] = 1, r#"vmpl_max = { is = 1, because = "test" }"#), None);
    assert_eq!(broken(|report| report[0x33] = 0xff, ""), Some(Rule::S9));
}

#[test]
fn s11_floors_component_by_component() {
    for tcb in [0x180, 0x1e0, 0x1f0] {
        for (component, place) in [("boot loader", 0), ("SNP", 6), ("microcode", 7)] {
            let lower = |report: &mut Vec<u8>| report[tcb + place] -= 1;
            assert_eq!(broken(lower, ""), Some(Rule::S11), "{component} at {tcb:#x}");
        }
        // High microcode does not make up for old firmware.
        let traded = |report: &mut Vec<u8>| (report[tcb + 6], report[tcb + 7]) = (22, 255);
        assert_eq!(broken(traded, ""), Some(Rule::S11));
    }
    assert_eq!(broken(|report| report[0x38 + 7] = 0, ""), None, "the current TCB is not what is endorsed");
    assert_eq!(broken(|report| report[0x18a] = 0, ""), Some(Rule::S11), "a stepping without a floor");
    let lines = "floor_required = { is = false, because = \"test\" }";
    assert_eq!(broken(|report| report[0x18a] = 0, lines), None);
    let mitigations = "mitigations = { is = 3, because = \"test\" }";
    assert_eq!(broken(|report| (report[0], report[0x1f8]) = (5, 1), mitigations), Some(Rule::S11));
    assert_eq!(broken(|report| (report[0], report[0x1f8]) = (5, 7), mitigations), None);
    for version in [3, 4] {
        assert_eq!(
            broken(|report| report[0] = version, mitigations),
            Some(Rule::S11),
            "version {version} says nothing"
        );
        assert_eq!(broken(|report| report[0] = version, ""), None, "version {version}");
    }
}

#[test]
fn s12_platform() {
    assert_eq!(broken(|report| report[0x40] = 0x05, ""), Some(Rule::S12), "alias check");
    let ecc = r#"ecc_required = { is = true, because = "test" }"#;
    assert_eq!(broken(|report| report[0x40] = 0x21, ecc), Some(Rule::S12));
    assert_eq!(broken(|_| (), ecc), None);
    let without_smt = r#"smt_allowed = { is = false, because = "test" }"#;
    assert_eq!(broken(|report| report[10] = 2, without_smt), Some(Rule::S12), "on though the guest forbids it");
    for (policy_bit, platform_bit, line) in [(24, 4, "ciphertext_hiding_on"), (23, 3, "rapl_off_on")] {
        let lines = format!("{line} = {{ is = [\"genoa\"], because = \"test\" }}");
        let demanded = |report: &mut Vec<u8>| report[8 + policy_bit / 8] |= 1 << (policy_bit % 8);
        assert_eq!(broken(demanded, &lines), Some(Rule::S12), "{line}");
        let given = |report: &mut Vec<u8>| {
            demanded(report);
            report[0x40] |= 1 << platform_bit;
        };
        assert_eq!(broken(given, &lines), None, "{line}");
    }
}

#[test]
fn s13_product_line_s14_chip_s15_freshness() {
    let milan = |report: &mut Vec<u8>| report[0x189] = 1;
    assert_eq!(broken(milan, ""), Some(Rule::S13));
    let listed = r#"chips = { is = ["XX"], because = "test" }"#;
    assert_eq!(broken(|_| (), &listed.replace("XX", &"07".repeat(64))), None);
    assert_eq!(broken(|_| (), &listed.replace("XX", &"08".repeat(64))), Some(Rule::S14));
    assert_eq!(
        broken(|_| (), r#"chips = { is = [], because = "test" }"#),
        Some(Rule::S14),
        "an empty list allows none"
    );
    let fresh = policy(r#"fresh_binding_required = { is = true, because = "test" }"#);
    assert_eq!(judge(&good(), &fresh, &Expected::nothing()).expect_err("any age").rule(), Rule::S15);
    assert_eq!(judge(&good(), &fresh, &Expected::nothing().with("report_data", &[0; 64])), Ok(()));
}
