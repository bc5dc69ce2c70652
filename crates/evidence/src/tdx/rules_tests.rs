//! Each rule about guest and platform has a body that keeps it and one that breaks it.

use super::{
    pck::Platform,
    quote::{Body, ExtendedBody, Quote},
    rules,
};
use crate::{Expected, Known, Policy, Refusal, Rule};

fn body() -> Body {
    Body {
        body_type: 2,
        body_bytes: 584,
        tee_tcb_svn: [0; 16],
        mr_seam: [1; 48],
        mr_signer_seam: [0; 48],
        seam_attributes: [0; 8],
        td_attributes: (1_u64 << 28).to_le_bytes(),
        xfam: [0xe7, 2, 6, 0, 0, 0, 0, 0],
        mrtd: [2; 48],
        mr_config_id: [3; 48],
        mr_owner: [0; 48],
        mr_owner_config: [0; 48],
        rtmr: [[4; 48], [5; 48], [6; 48], [7; 48]],
        report_data: [8; 64],
        v15: Some(([0; 16], [0; 48])),
        extended: None,
    }
}

fn platform() -> Platform {
    Platform {
        ppid: [9; 16],
        components: [0; 16],
        pce_svn: 0,
        pce_id: [0; 2],
        fmspc: [0; 6],
        sgx_type: 1,
        instance_id: Some([10; 16]),
        dynamic_platform: false,
        cached_keys: false,
        smt: false,
    }
}

fn policy(lines: &str) -> Policy {
    Policy::from_toml(&format!("name = \"test\"\nextends = \"standard\"\n[tdx]\n{lines}\n")).expect("a policy")
}

fn judge(body: &Body, platform: &Platform, policy: &Policy, expected: &Expected) -> Result<(), Refusal> {
    rules::check_attributes(body, &policy.tdx)?;
    rules::check(body, platform, &policy.tdx, expected)
}

fn broken(change: impl Fn(&mut Body), lines: &str) -> Option<Rule> {
    let mut body = body();
    change(&mut body);
    judge(&body, &platform(), &policy(lines), &Expected::nothing()).err().map(|refusal| refusal.rule())
}

#[test]
fn a_good_body_keeps_every_rule() {
    assert_eq!(broken(|_| (), ""), None);
}

#[test]
fn t1_form() {
    for (header, what) in [
        (&[4, 0, 2, 0, 0, 0, 0, 0][..], "SGX"),
        (&[3, 0, 2, 0, 0x81, 0, 0, 0], "version"),
        (&[6, 0, 2, 0, 0x81, 0, 0, 0], "version"),
        (&[4, 0, 3, 0, 0x81, 0, 0, 0], "attestation key type"),
        (&[4, 0, 2, 0, 0x81, 0, 0, 0], "vendor"),
    ] {
        let mut quote = vec![0; 5000];
        quote[..8].copy_from_slice(header);
        assert_eq!(Quote::read(&quote).expect_err(what).rule(), Rule::T1, "{what}");
    }
    assert_eq!(Quote::read(&[]).expect_err("empty").rule(), Rule::T1);
    assert_eq!(Quote::read(&vec![0; 1 << 20]).expect_err("large").rule(), Rule::T1);
}

#[test]
fn t6_attributes() {
    for (bit, line) in [
        (0, Some("debug_allowed")),
        (4, Some("debug_allowed")),
        (6, Some("debug_allowed")),
        (17, Some("service_td_allowed")),
        (29, Some("migratable_allowed")),
        (63, Some("perfmon_allowed")),
        (8, None),
        (40, None),
        (62, None),
    ] {
        let set = |body: &mut Body| body.td_attributes[bit / 8] |= 1 << (bit % 8);
        assert_eq!(broken(set, ""), Some(Rule::T6), "bit {bit}");
        if let Some(line) = line {
            assert_eq!(broken(set, &format!("{line} = {{ is = true, because = \"test\" }}")), None, "bit {bit}");
        }
    }
    for (bit, line) in [(30, "pks_allowed"), (31, "key_locker_allowed")] {
        let set = |body: &mut Body| body.td_attributes[bit / 8] |= 1 << (bit % 8);
        assert_eq!(broken(set, ""), None, "bit {bit}");
        assert_eq!(broken(set, &format!("{line} = {{ is = false, because = \"test\" }}")), Some(Rule::T6), "bit {bit}");
    }
    assert_eq!(broken(|body| body.td_attributes = [0; 8], ""), Some(Rule::T6), "exceptions for stolen pages");
    assert_eq!(broken(|body| body.v15 = Some(([0; 16], [1; 48])), ""), Some(Rule::T6), "service TD");
    let extended = ExtendedBody {
        vm_id: 0,
        td_id: [1; 32],
        dev_info: [1; 48],
        init_service_td_hash: [0; 48],
        init_service_td_attributes: [0; 8],
        init_cpu_svn: [0; 16],
        init_tee_tcb_svn: [0; 16],
        rest: [0; 68],
    };
    assert_eq!(broken(|body| body.extended = Some(extended.clone()), ""), None);
    let bound = ExtendedBody { init_service_td_hash: [1; 48], ..extended.clone() };
    assert_eq!(broken(|body| body.extended = Some(bound.clone()), ""), Some(Rule::T6), "initial service TD");
    let mut current = extended;
    current.rest[12] = 1;
    assert_eq!(broken(|body| body.extended = Some(current.clone()), ""), Some(Rule::T6), "current service TD");
}

#[test]
fn t7_features_t8_module() {
    let listed = r#"xfams = { is = ["e702060000000000"], because = "test" }"#;
    assert_eq!(broken(|_| (), listed), None);
    assert_eq!(broken(|body| body.xfam[0] ^= 4, listed), Some(Rule::T7));
    assert_eq!(broken(|body| body.mr_signer_seam[47] = 1, ""), Some(Rule::T8));
    assert_eq!(broken(|body| body.seam_attributes[0] = 1, ""), Some(Rule::T8));
    let listed = format!("modules = {{ is = [\"{}\"], because = \"test\" }}", "01".repeat(48));
    assert_eq!(broken(|_| (), &listed), None);
    assert_eq!(broken(|body| body.mr_seam[0] = 0, &listed), Some(Rule::T8));
}

#[test]
fn t9_t10_t11_bindings() {
    for (field, rule, value) in [
        ("mrtd", Rule::T9, vec![2; 48]),
        ("rtmr0", Rule::T9, vec![4; 48]),
        ("rtmr1", Rule::T9, vec![5; 48]),
        ("rtmr2", Rule::T9, vec![6; 48]),
        ("rtmr3", Rule::T9, vec![7; 48]),
        ("mrconfigid", Rule::T10, vec![3; 48]),
        ("mrowner", Rule::T10, vec![0; 48]),
        ("reportdata", Rule::T11, vec![8; 64]),
        ("xfam", Rule::T7, vec![0xe7, 2, 6, 0, 0, 0, 0, 0]),
    ] {
        let expect = |value: &[u8]| judge(&body(), &platform(), &policy(""), &Expected::nothing().with(field, value));
        assert_eq!(expect(&value), Ok(()), "{field}");
        let mut wrong = value.clone();
        wrong[1] ^= 1;
        assert_eq!(expect(&wrong).expect_err(field).rule(), rule, "{field}");
        assert_eq!(expect(&value[1..]).expect_err(field).rule(), rule, "{field}: a part is not the whole");
    }
    assert_eq!(broken(|body| body.mr_owner[0] = 1, ""), Some(Rule::T10));
    assert_eq!(broken(|body| body.mr_owner_config[0] = 1, ""), Some(Rule::T10));
    let mut zero = body();
    zero.mr_config_id = [0; 48];
    let expected = Expected::nothing().with("mrconfigid", &[3; 48]);
    assert_eq!(
        judge(&zero, &platform(), &policy(""), &expected).expect_err("zero").rule(),
        Rule::T10,
        "zero is no wildcard"
    );
    let fresh = policy(r#"fresh_binding_required = { is = true, because = "test" }"#);
    assert_eq!(judge(&body(), &platform(), &fresh, &Expected::nothing()).expect_err("any age").rule(), Rule::T11);
    assert_eq!(judge(&body(), &platform(), &fresh, &Expected::nothing().with("reportdata", &[8; 64])), Ok(()));
}

#[test]
fn t15_the_machine_is_known_where_the_policy_asks() {
    let word = |lines: &str, expected: &Expected| {
        rules::identify_machine(&body(), &policy(lines).tdx, expected)
            .map(Known::name)
            .map_err(|refusal| refusal.rule())
    };
    let nothing = Expected::nothing();
    let listed = |value: &str| format!("machines = {{ is = [\"{value}\"], because = \"test\" }}");
    assert_eq!(word("", &nothing), Ok("undetermined"));
    assert_eq!(word(&listed(&"04".repeat(48)), &nothing), Ok("listed by the policy"));
    assert_eq!(word(&listed(&"05".repeat(48)), &nothing), Err(Rule::T15));
    let none = "machines = { is = [], because = \"test\" }";
    assert_eq!(word(none, &nothing), Err(Rule::T15));
    assert_eq!(word(none, &Expected::nothing().with("rtmr1", &[5; 48])), Err(Rule::T15), "another register");
    assert_eq!(word(none, &Expected::nothing().with("rtmr0", &[4; 48])), Ok("expected"));
    let strict = Policy::embedded("strict").expect("a policy").tdx;
    assert_eq!(rules::identify_machine(&body(), &strict, &nothing).expect_err("strict").rule(), Rule::T15);
}

#[test]
fn t12_flags_t13_platform() {
    let judge = |platform: &Platform, lines: &str| {
        judge(&body(), platform, &policy(lines), &Expected::nothing()).err().map(|refusal| refusal.rule())
    };
    for (line, platform) in [
        ("dynamic_platform_allowed", Platform { dynamic_platform: true, ..platform() }),
        ("cached_keys_allowed", Platform { cached_keys: true, ..platform() }),
        ("smt_allowed", Platform { smt: true, ..platform() }),
    ] {
        assert_eq!(judge(&platform, ""), None, "{line}");
        assert_eq!(
            judge(&platform, &format!("{line} = {{ is = false, because = \"test\" }}")),
            Some(Rule::T12),
            "{line}"
        );
    }
    for (id, rule) in [("09".repeat(16), None), ("0a".repeat(16), None), ("0b".repeat(16), Some(Rule::T13))] {
        assert_eq!(judge(&platform(), &format!("platforms = {{ is = [\"{id}\"], because = \"test\" }}")), rule, "{id}");
    }
    assert_eq!(judge(&platform(), r#"platforms = { is = [], because = "test" }"#), Some(Rule::T13));
}
