//! Authentic parts in the wrong combination, at the wrong time, or with the wrong expectation: each refused by its rule.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]
mod corpus;

use corpus::{Corpus, embedded, negated, policy_for, test_policy, time};
use evidence::{
    Expected, Policy, Rule, Time, Verdict,
    check::{Azure, SevSnp, Tdx, azure, sev_snp, tdx},
    sev_snp::{Product, SigningKey, verify_endorsement},
    tdx::Collateral,
};

const NOW: &str = "2026-11-21T00:00:00Z";

/// Report and leaf of an item.
fn pair(corpus: &Corpus, id: &str) -> (Vec<u8>, Vec<u8>) {
    let item = corpus.item(id);
    (corpus.file(item, "report.bin").unwrap(), corpus.file(item, "leaf.der").unwrap())
}

fn snp(report: &[u8], leaf: &[u8], crls: &[&[u8]], policy: &Policy, at: Time) -> Option<Rule> {
    sev_snp(SevSnp { report, vek: Some(leaf), crls, policy, expected: &Expected::nothing(), at }).rule()
}

#[test]
fn leaf_certificates_are_judged_alone_too() {
    let Some(corpus) = Corpus::open("AMD's leaf certificates") else { return };
    let policy = policy_for("any");
    let turin = corpus.path("snp/turin-vcek-only/leaf.der");
    let verified = verify_endorsement(&turin, None, &[], &policy, time(NOW)).expect("a VCEK of Turin");
    assert_eq!((verified.product(), verified.signing_key()), (Product::Turin, SigningKey::Vcek));
    let extensions = &corpus.item("snp-turin-vcek-only")["checks"]["leaf_extensions"];
    assert_eq!(hex::encode(verified.hwid().unwrap()), extensions["hwid"].as_str().unwrap());
    assert_eq!(verified.tcb_bytes(), [0, 0, 0, 0, 0, 0, 0, 9]);
    for id in ["snp-invalid-vcek-legacy", "snp-invalid-vcek-new"] {
        let leaf = corpus.file(corpus.item(id), "leaf.der").unwrap();
        assert_eq!(verify_endorsement(&leaf, None, &[], &policy, time(NOW)).expect_err(id).rule(), Rule::S3);
    }
    let elsewhere = verify_endorsement(&turin, Some(Product::Genoa), &[], &policy, time(NOW));
    assert_eq!(elsewhere.expect_err("another line").rule(), Rule::S3);
}

#[test]
fn reports_and_endorsements_that_do_not_belong_together_are_refused() {
    let Some(corpus) = Corpus::open("mixed SEV-SNP evidence") else { return };
    let hardware = embedded("hardware");
    let now = time(NOW);
    let (report, leaf) = pair(&corpus, "snp-milan-v3-oak-oc-release");
    assert_eq!(snp(&report, &leaf, &[], &hardware, now), None);
    let (other_report, other_leaf) = pair(&corpus, "snp-milan-v2-azure-guest");
    assert_eq!(snp(&report, &other_leaf, &[], &hardware, now), Some(Rule::S4), "another chip and TCB");
    // Two machines of one fleet, at the same TCB: the chip's id alone tells them apart.
    let (fleet_report, fleet_leaf) = pair(&corpus, "snp-milan-v3-oak-rk-release");
    assert_eq!(snp(&fleet_report, &fleet_leaf, &[], &hardware, now), None);
    for (report, leaf) in [(&report, &fleet_leaf), (&fleet_report, &leaf)] {
        let input =
            SevSnp { report, vek: Some(leaf), crls: &[], policy: &hardware, expected: &Expected::nothing(), at: now };
        let Verdict::Refused(refusal) = sev_snp(input) else { panic!("accepted") };
        assert_eq!((refusal.rule(), refusal.reason()), (Rule::S4, "the endorsement certificate is another chip's"));
    }
    let (_, turin_leaf) = pair(&corpus, "snp-turin-v5-oak");
    assert_eq!(snp(&report, &turin_leaf, &[], &hardware, now), Some(Rule::S3), "another product line");
    // Version 2 does not say its product: the chain holds, the rest does not.
    assert_eq!(snp(&other_report, &turin_leaf, &[], &hardware, now), Some(Rule::S1));
    let aws = test_policy("vlek-aws");
    let (vlek_report, vlek) = pair(&corpus, "snp-milan-v3-vlek-aws");
    let then = time("2025-06-01T00:00:00Z");
    assert_eq!(snp(&vlek_report, &vlek, &[], &aws, then), None);
    assert_eq!(snp(&vlek_report, &leaf, &[], &aws, now), Some(Rule::S2), "VCEK under a VLEK report");
    assert_eq!(snp(&report, &vlek, &[], &aws, then), Some(Rule::S2), "VLEK under a VCEK report");
    let elsewhere = Policy::from_toml(
        r#"
        name = "elsewhere"
        extends = "hardware"
        [sev_snp]
        signing_keys = { is = ["vlek"], because = "test" }
        vlek_csp_ids = { is = ["CN=cc-eu-west-1.amazonaws.com"], because = "test" }
        vmpl_max = { is = 1, because = "test" }
        "#,
    )
    .expect("a policy");
    assert_eq!(snp(&vlek_report, &vlek, &[], &elsewhere, then), Some(Rule::S4), "another provider's key");
    assert_eq!(snp(&report, &leaf, &[], &hardware, time("2020-01-01T00:00:00Z")), Some(Rule::S3), "before the chain");
    let root = corpus.path("roots/amd/milan/ark.der");
    assert_eq!(snp(&report, &root, &[], &hardware, now), Some(Rule::S3), "a root is no endorsement");
    let mut forged = report.clone();
    forged[0x2a0..0x2a0 + 144].fill(0);
    assert_eq!(snp(&forged, &leaf, &[], &hardware, now), Some(Rule::S5), "an all-zero signature");
}

#[test]
fn s3_revocation_lists_are_demanded_fresh_and_of_the_right_root() {
    let Some(corpus) = Corpus::open("AMD's revocation lists") else { return };
    let (hardware, demanding) = (
        embedded("hardware"),
        Policy::from_toml(
            "name = \"crl\"\nextends = \"hardware\"\n[sev_snp]\ncrl = { is = \"required\", because = \"test\" }",
        )
        .expect("a policy"),
    );
    let (milan, genoa) = (corpus.path("crl/amd-milan/crl.der"), corpus.path("crl/amd-genoa/crl.der"));
    let (report, leaf) = pair(&corpus, "snp-milan-v3-oak-oc-release");
    let fresh = time("2026-01-15T00:00:00Z");
    assert_eq!(snp(&report, &leaf, &[&milan], &demanding, fresh), None);
    assert_eq!(snp(&report, &leaf, &[&genoa, &milan], &demanding, fresh), None, "lists of other lines are passed over");
    // What is claimed is what was looked up: the issuer, of a key of AMD's and of a cloud's.
    let (vlek_report, vlek) = pair(&corpus, "snp-milan-v3-vlek-aws");
    let aws = test_policy("vlek-aws");
    for (report, vek, policy, at) in
        [(&report, &leaf, &hardware, fresh), (&vlek_report, &vlek, &aws, time("2025-06-01T00:00:00Z"))]
    {
        for (crls, revocation, signed) in
            [(&[milan.as_slice()][..], "issuer not revoked", Some("2025-05-06T12:39:06Z")), (&[], "undetermined", None)]
        {
            let expected = Expected::nothing();
            let input = SevSnp { report, vek: Some(vek), crls, policy, expected: &expected, at };
            let Verdict::Accepted { claims } = sev_snp(input) else { panic!("refused") };
            assert_eq!(claims["revocation"], revocation);
            assert_eq!(claims.get("revocation_list_of").and_then(|signed| signed.as_str()), signed);
        }
    }
    assert_eq!(snp(&report, &leaf, &[], &demanding, fresh), Some(Rule::S3), "missing");
    assert_eq!(snp(&report, &leaf, &[&genoa], &demanding, fresh), Some(Rule::S3), "another line's");
    assert_eq!(
        snp(&report, &leaf, &[&genoa], &hardware, fresh),
        Some(Rule::S3),
        "a useless list is not silently ignored"
    );
    for at in [NOW, "2025-01-01T00:00:00Z"] {
        assert_eq!(
            snp(&report, &leaf, &[&milan], &hardware, time(at)),
            Some(Rule::S3),
            "stale or from the future: {at}"
        );
    }
    let genoa_machine = corpus.item("azure-snp-genoa-a");
    let hcl = corpus.file(genoa_machine, "hcl_report.bin").unwrap();
    let vek = corpus.file(genoa_machine, "vcek.der").unwrap();
    let at = time("2025-06-01T00:00:00Z");
    assert_eq!(
        snp(&hcl[32..32 + 1184], &vek, &[&genoa], &demanding, at),
        None,
        "the list that revokes an older intermediate"
    );
    // The standard policy, whole: a real machine of Genoa whose firmware of 2025 is below today's floor, and one policy that says so.
    let standard = embedded("standard");
    assert_eq!(snp(&hcl[32..32 + 1184], &vek, &[&genoa], &standard, at), Some(Rule::S11));
    let of_2025 = "name = \"of 2025\"\nextends = \"standard\"\n[sev_snp]\n\
                   alias_check_required = { is = false, because = \"test\" }\n\
                   floors = { because = \"test\", is = [{ cpu = \"19-11-01\", bootloader = 10, tee = 0, snp = 23, microcode = 84 }] }\n";
    let of_2025 = Policy::from_toml(of_2025).unwrap();
    assert_eq!(snp(&hcl[32..32 + 1184], &vek, &[&genoa], &of_2025, at), None);
    assert_eq!(snp(&report, &leaf, &[&milan], &standard, fresh), Some(Rule::S13), "Milan is denied");
}

#[test]
fn s6_to_s14_expectations_about_a_real_report() {
    let Some(corpus) = Corpus::open("expectations about a real report") else { return };
    let (report, leaf) = pair(&corpus, "snp-turin-v5-oak");
    let fields = &corpus.item("snp-turin-v5-oak")["fields"];
    let hardware = embedded("hardware");
    for (field, rule) in [
        ("report_data", Rule::S6),
        ("measurement", Rule::S7),
        ("id_key_digest", Rule::S7),
        ("host_data", Rule::S10),
        ("reported_tcb", Rule::S11),
        ("chip_id", Rule::S14),
    ] {
        let value = hex::decode(fields[field].as_str().unwrap()).unwrap();
        for changed in [false, true] {
            let mut value = value.clone();
            value[7] ^= u8::from(changed);
            let expected = Expected::nothing().with(field, &value);
            let input = SevSnp {
                report: &report,
                vek: Some(&leaf),
                crls: &[],
                policy: &hardware,
                expected: &expected,
                at: time(NOW),
            };
            assert_eq!(sev_snp(input).rule(), changed.then_some(rule), "{field}");
        }
    }
}

fn collateral(corpus: &Corpus, name: &str) -> Vec<u8> {
    corpus.path(&format!("collateral/{name}/collateral.json"))
}

#[test]
fn collateral_of_another_time_platform_or_kind_is_refused() {
    let Some(corpus) = Corpus::open("mixed TDX evidence") else { return };
    let hardware = embedded("hardware");
    let quote = corpus.file(corpus.item("tdx-v4-uptodate-b0c06f"), "quote.bin").unwrap();
    let check = |collateral: &[u8], policy: &Policy, at: &str| {
        let input =
            Tdx { quote: &quote, collateral: Some(collateral), policy, expected: &Expected::nothing(), at: time(at) };
        tdx(input).rule()
    };
    let (june, october) = (collateral(&corpus, "b0c06f-2025-06"), collateral(&corpus, "b0c06f-2026-10"));
    assert_eq!(check(&june, &hardware, "2025-06-25T00:00:00Z"), None);
    assert_eq!(check(&june, &hardware, "2025-06-01T00:00:00Z"), Some(Rule::T2), "before its lists were issued");
    assert_eq!(check(&june, &hardware, "2025-08-01T00:00:00Z"), Some(Rule::T2), "after its lists expired");
    let other = collateral(&corpus, "90c06f-2026-02");
    assert_eq!(check(&other, &hardware, "2026-02-25T00:00:00Z"), Some(Rule::T3), "another FMSPC");
    let newer = Policy::from_toml(
        "name = \"newer\"\nextends = \"hardware\"\n[tdx]\nevaluation_number_min = { is = 18, because = \"test\" }",
    )
    .expect("a policy");
    assert_eq!(check(&june, &newer, "2025-06-25T00:00:00Z"), Some(Rule::T3), "below the pinned evaluation number");
    assert_eq!(check(&october, &newer, "2026-10-20T00:00:00Z"), None);
    assert_eq!(check(b"{}", &hardware, NOW), Some(Rule::T3));
    let standard = embedded("standard");
    let without = Tdx {
        quote: &quote,
        collateral: None,
        policy: &standard,
        expected: &Expected::nothing(),
        at: time("2025-06-25T00:00:00Z"),
    };
    assert_eq!(tdx(without).rule(), Some(Rule::T3), "the standard policy demands collateral");

    // Parts of two authentic collaterals.
    let parse = |bytes: &[u8]| Collateral::from_json(bytes).expect("collateral");
    let verify = |collateral: &Collateral| {
        let evidence = evidence::tdx::Evidence { quote: &quote, collateral: Some(collateral) };
        evidence::tdx::verify(evidence, &hardware, &Expected::nothing(), time("2026-10-20T00:00:00Z"))
            .err()
            .map(|refusal| refusal.rule())
    };
    let base = parse(&october);
    assert_eq!(verify(&base), None);
    let old = parse(&june);
    type Swap = fn(&mut Collateral, &Collateral);
    let swaps: [(&str, Swap, Rule); 6] = [
        ("old PCK list", |c, o| c.pck_crl = o.pck_crl.clone(), Rule::T2),
        ("old root list", |c, o| c.root_ca_crl = o.root_ca_crl.clone(), Rule::T2),
        ("root list for the PCK list", |c, _| c.pck_crl = c.root_ca_crl.clone(), Rule::T2),
        ("old signature", |c, o| c.tcb_info_signature = o.tcb_info_signature.clone(), Rule::T3),
        (
            "QE identity for the TCB info",
            |c, _| (c.tcb_info, c.tcb_info_signature) = (c.qe_identity.clone(), c.qe_identity_signature.clone()),
            Rule::T3,
        ),
        ("PCK authority as signer", |c, _| c.tcb_info_issuer_chain = c.pck_crl_issuer_chain.clone(), Rule::T3),
    ];
    for (what, swap, rule) in swaps {
        let mut mixed = base.clone();
        swap(&mut mixed, &old);
        assert_eq!(verify(&mixed), Some(rule), "{what}");
    }
    let mut ignored = base.clone();
    ignored.pck_certificate_chain = Some("nonsense".to_owned());
    assert_eq!(verify(&ignored), None, "a chain beside the quote is never used");
}

#[test]
fn t1_t2_t4_changed_quotes_name_their_rule() {
    let Some(corpus) = Corpus::open("changed quotes") else { return };
    let hardware = embedded("hardware");
    let quote = corpus.file(corpus.item("tdx-v5-uptodate-90c06f"), "quote.bin").unwrap();
    let other = corpus.file(corpus.item("tdx-v5-too-old-90c06f"), "quote.bin").unwrap();
    let at = time("2026-02-25T00:00:00Z");
    let check = |quote: &[u8]| {
        tdx(Tdx { quote, collateral: None, policy: &hardware, expected: &Expected::nothing(), at }).rule()
    };
    assert_eq!(check(&quote), None);
    let data = 48 + 6 + 648 + 4;
    let changed = |place: usize| {
        let mut changed = quote.clone();
        changed[place] ^= 1;
        check(&changed)
    };
    for (place, rule, what) in [
        (0, Rule::T1, "version"),
        (2, Rule::T1, "key type"),
        (4, Rule::T1, "TEE type"),
        (12, Rule::T1, "vendor of the quoting enclave"),
        (48, Rule::T1, "body type"),
        (50, Rule::T1, "body size"),
        (54 + 520, Rule::T4, "report data"),
        (data, Rule::T4, "signature"),
        (data + 64, Rule::T4, "attestation key"),
        (data + 128, Rule::T1, "certification type"),
        (data + 134 + 64, Rule::T4, "quoting enclave's report"),
        (data + 134 + 128, Rule::T4, "signer of the quoting enclave"),
        (data + 134 + 384, Rule::T4, "signature of the report"),
        (data + 134 + 450, Rule::T4, "authentication data"),
    ] {
        assert_eq!(changed(place), Some(rule), "{what}");
    }
    // An attestation key of another quote, with that quote's signature, under this quoting enclave's report.
    let mut foreign = quote.clone();
    foreign[..data + 128].copy_from_slice(&other[..data + 128]);
    assert_eq!(check(&foreign), Some(Rule::T4), "the key is not the one that the report binds");
    let mut padded = quote.clone();
    padded.extend([0; 100]);
    assert_eq!(check(&padded), None, "zeros behind the quote are padding");
    padded.push(1);
    assert_eq!(check(&padded), Some(Rule::T1));
    assert_eq!(check(&corpus.file(corpus.item("tdx-sgx-quote-v3-negative"), "quote.bin").unwrap()), Some(Rule::T1));
}

/// Numbers that are no half of a signature: zero, the order of the curve, and above it.
fn no_numbers(order: &[u8]) -> [Vec<u8>; 3] {
    [vec![0; order.len()], order.to_vec(), vec![0xff; order.len()]]
}

#[test]
fn s5_t4_numbers_outside_of_the_curves_order_are_no_signature_and_both_signs_of_s_are_one() {
    let Some(corpus) = Corpus::open("numbers of signatures") else { return };
    let hardware = embedded("hardware");
    let n384 = "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973";
    let n384 = hex::decode(n384).unwrap();
    let (report, leaf) = pair(&corpus, "snp-milan-v3-oak-oc-release");
    // Little-endian, 48 of 72 bytes each.
    let with = |place: usize, number: &[u8]| {
        let mut changed = report.clone();
        changed[place..place + 48].copy_from_slice(number);
        changed[place..place + 48].reverse();
        snp(&changed, &leaf, &[], &hardware, time(NOW))
    };
    let number = |place: usize| report[place..place + 48].iter().rev().copied().collect::<Vec<u8>>();
    let (r, s) = (0x2a0, 0x2a0 + 72);
    assert_eq!(with(s, &number(s)), None);
    assert_eq!(with(s, &negated(&n384, &number(s))), None, "the same signature: nothing tells reports apart by it");
    assert_eq!(with(r, &negated(&n384, &number(r))), Some(Rule::S5));
    for place in [r, s] {
        for number in no_numbers(&n384) {
            assert_eq!(with(place, &number), Some(Rule::S5), "{number:02x?} at {place:#x}");
        }
    }

    let n256 = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    let quote = corpus.file(corpus.item("tdx-v5-uptodate-90c06f"), "quote.bin").unwrap();
    let with = |place: usize, number: &[u8]| {
        let mut changed = quote.clone();
        changed[place..place + 32].copy_from_slice(number);
        let at = time("2026-02-25T00:00:00Z");
        let expected = Expected::nothing();
        tdx(Tdx { quote: &changed, collateral: None, policy: &hardware, expected: &expected, at }).rule()
    };
    let data = 48 + 6 + 648 + 4;
    // The attestation key's signature, and the platform's over the quoting enclave's report.
    for r in [data, data + 134 + 384] {
        let s = r + 32;
        assert_eq!(with(s, &negated(&n256, &quote[s..s + 32])), None, "the same signature");
        assert_eq!(with(r, &negated(&n256, &quote[r..r + 32])), Some(Rule::T4));
        for place in [r, s] {
            for number in no_numbers(&n256) {
                assert_eq!(with(place, &number), Some(Rule::T4), "{number:02x?} at {place}");
            }
        }
    }
}

#[test]
fn t2_a_chain_to_another_root_is_refused() {
    let Some(corpus) = Corpus::open("a chain to a test root") else { return };
    let item = corpus.item("tdx-intel-qvl-test-root-negative");
    let quote = corpus.file(item, "quote.bin").unwrap();
    let chain = [corpus.file(item, "pckCert.pem").unwrap(), corpus.file(item, "pckSignChain.pem").unwrap()].concat();
    // The same quote with its chain inside, as real quotes carry it.
    let data = 48 + 584;
    let auth = data + 4 + 134;
    let qe_auth = usize::from(u16::from_le_bytes([quote[auth + 448], quote[auth + 449]]));
    let inner_end = auth + 450 + qe_auth;
    let length = |bytes: usize| u32::try_from(bytes).unwrap().to_le_bytes();
    let mut inner = quote[auth..inner_end].to_vec();
    inner.extend([5, 0]);
    inner.extend(length(chain.len()));
    inner.extend(chain);
    let mut with_chain = quote[..data].to_vec();
    with_chain.extend(length(134 + inner.len()));
    with_chain.extend(&quote[data + 4..data + 4 + 128]);
    with_chain.extend([6, 0]);
    with_chain.extend(length(inner.len()));
    with_chain.extend(inner);
    let hardware = embedded("hardware");
    for quote in [&quote, &with_chain] {
        let input = Tdx {
            quote,
            collateral: None,
            policy: &hardware,
            expected: &Expected::nothing(),
            at: time("2025-01-01T00:00:00Z"),
        };
        assert_eq!(tdx(input).rule(), Some(Rule::T2));
    }
    let Verdict::Refused(refusal) = tdx(Tdx {
        quote: &with_chain,
        collateral: None,
        policy: &hardware,
        expected: &Expected::nothing(),
        at: time("2025-01-01T00:00:00Z"),
    }) else {
        panic!("accepted")
    };
    assert!(refusal.reason().contains("not the Intel SGX root"), "{refusal}");
}

#[test]
fn a1_to_a4_parts_of_two_azure_machines_do_not_mix() {
    let Some(corpus) = Corpus::open("mixed Azure evidence") else { return };
    let (policy, expected) = (embedded("hardware"), Expected::nothing());
    let file = |id: &str, name: &str| corpus.file(corpus.item(id), name).unwrap();
    let mine = |name: &str| file("azure-snp-milan-a", name);
    let other = |name: &str| file("azure-snp-milan-live", name);
    let (hcl, vek, quote, signature, pcrs) =
        (mine("hcl_report.bin"), mine("vcek.der"), mine("tpm_quote.msg"), mine("tpm_quote.sig"), mine("pcrs.json"));
    let input = Azure {
        hcl_report: &hcl,
        vek: Some(&vek),
        crls: &[],
        td_quote: None,
        collateral: None,
        quote: Some((&quote, &signature)),
        pcrs: Some(&pcrs),
        nonce: Some(b"challenge"),
        event_log: None,
        policy: &policy,
        expected: &expected,
        at: time(NOW),
    };
    assert_eq!(azure(input).rule(), None);
    let (other_quote, other_signature, other_pcrs) =
        (other("tpm_quote.msg"), other("tpm_quote.sig"), other("pcrs.json"));
    let foreign =
        Azure { quote: Some((&other_quote, &other_signature)), pcrs: Some(&other_pcrs), nonce: None, ..input };
    assert_eq!(azure(foreign).rule(), Some(Rule::P3), "a key from outside of the runtime data");
    assert_eq!(
        azure(Azure { pcrs: Some(&other_pcrs), ..input }).rule(),
        Some(Rule::P5),
        "registers of another machine"
    );
    assert_eq!(azure(Azure { nonce: Some(b""), ..input }).rule(), Some(Rule::P4), "an empty nonce");

    let runtime = 32 + 1184;
    let other_hcl = other("hcl_report.bin");
    let mixed = [&hcl[..8], &other_hcl[8..32], &hcl[32..runtime], &other_hcl[runtime..]].concat();
    assert_eq!(azure(Azure { hcl_report: &mixed, ..input }).rule(), Some(Rule::A2), "another machine's runtime data");
    let mut announced = hcl.clone();
    announced[runtime + 8] = 4;
    assert_eq!(azure(Azure { hcl_report: &announced, ..input }).rule(), Some(Rule::A4), "announced as TDX");
    announced[runtime + 8] = 3;
    assert_eq!(azure(Azure { hcl_report: &announced, ..input }).rule(), Some(Rule::A4), "an unknown type");
    for place in [0, 4, 8, 12, 16, 31, runtime, runtime + 4, runtime + 12, runtime + 16, hcl.len() - 1] {
        let mut changed = hcl.clone();
        changed[place] ^= 0x40;
        assert_eq!(azure(Azure { hcl_report: &changed, ..input }).rule(), Some(Rule::A1), "byte {place}");
    }
    let td_quote = file("azure-tdx-a", "td_quote.bin");
    assert_eq!(
        azure(Azure { td_quote: Some(&td_quote), ..input }).rule(),
        Some(Rule::A4),
        "a TD quote for an SNP report"
    );
    let td_hcl = file("azure-tdx-a", "hcl_report.bin");
    assert_eq!(
        azure(Azure { hcl_report: &td_hcl, quote: None, ..input }).rule(),
        Some(Rule::A4),
        "a VCEK for a TD report"
    );
    let other_td = file("tdx-azure-hcl-tdx-openpcc", "quote.bin");
    let swapped = Azure {
        hcl_report: &td_hcl,
        td_quote: Some(&other_td),
        quote: None,
        pcrs: None,
        nonce: None,
        at: time("2026-02-25T00:00:00Z"),
        ..input
    };
    assert_eq!(azure(swapped).rule(), Some(Rule::A4), "a quote over another TD report");
    assert_eq!(azure(Azure { td_quote: Some(&td_quote), ..swapped }).rule(), None);
    let demanding = Policy::from_toml(
        "name = \"vtpm\"\nextends = \"hardware\"\n[azure]\nvtpm_quote = { is = \"required\", because = \"test\" }",
    )
    .unwrap();
    assert_eq!(azure(Azure { td_quote: Some(&td_quote), policy: &demanding, ..swapped }).rule(), Some(Rule::P1));
}

#[test]
fn a5_a_paravisor_is_microsofts_only_where_somebody_names_it() {
    let Some(corpus) = Corpus::open("Azure's paravisors") else { return };
    let file = |id: &str, name: &str| corpus.file(corpus.item(id), name).unwrap();
    let field = |id: &str, name: &str| hex::decode(corpus.item(id)["fields"][name].as_str().unwrap()).unwrap();
    let (snp, td) = ("azure-snp-milan-a", "azure-tdx-a");
    let (hcl, vek, td_hcl, td_quote) =
        (file(snp, "hcl_report.bin"), file(snp, "vcek.der"), file(td, "hcl_report.bin"), file(td, "td_quote.bin"));
    let paravisors = |list: &str| {
        let line = format!("paravisors = {{ is = {list}, because = \"test\" }}");
        Policy::from_toml(&format!("name = \"test\"\nextends = \"hardware\"\n[azure]\n{line}\n")).unwrap()
    };
    let judge = |hcl_report: &[u8], td_quote: Option<&[u8]>, policy: &Policy, expected: &Expected| {
        azure(Azure {
            hcl_report,
            vek: td_quote.is_none().then_some(vek.as_slice()),
            crls: &[],
            td_quote,
            collateral: None,
            quote: None,
            pcrs: None,
            nonce: None,
            event_log: None,
            policy,
            expected,
            at: time("2026-02-25T00:00:00Z"),
        })
    };
    let word = |verdict: Verdict| match verdict {
        Verdict::Accepted { claims } => claims["paravisor"].as_str().map(str::to_owned),
        Verdict::Refused(refusal) => panic!("{refusal}"),
    };
    let (nobody, none) = (Expected::nothing(), paravisors("[]"));
    for (hcl, td_quote, id, names) in [
        (&hcl, None, snp, &["measurement", "id_key_digest"][..]),
        (&td_hcl, Some(td_quote.as_slice()), td, &["mrtd"][..]),
    ] {
        let undetermined = judge(hcl, td_quote, &embedded("hardware"), &nobody);
        assert_eq!(word(undetermined).as_deref(), Some("undetermined"));
        assert_eq!(judge(hcl, td_quote, &none, &nobody).rule(), Some(Rule::A5));
        // Another field, however right, names no paravisor.
        let data = if td_quote.is_some() { "reportdata" } else { "report_data" };
        let bound = Expected::nothing().with(data, &field(id, data));
        assert_eq!(judge(hcl, td_quote, &none, &bound).rule(), Some(Rule::A5));
        for name in names {
            let value = field(id, name);
            let expected = Expected::nothing().with(name, &value);
            assert_eq!(word(judge(hcl, td_quote, &none, &expected)).as_deref(), Some("expected"), "{name}");
            let listed = paravisors(&format!("[\"{}\"]", hex::encode(&value)));
            assert_eq!(word(judge(hcl, td_quote, &listed, &nobody)).as_deref(), Some("listed by the policy"), "{name}");
        }
        let other = paravisors(&format!("[\"{}\"]", "11".repeat(48)));
        assert_eq!(judge(hcl, td_quote, &other, &nobody).rule(), Some(Rule::A5));
        let zero = paravisors(&format!("[\"{}\"]", "00".repeat(48)));
        assert_eq!(judge(hcl, td_quote, &zero, &nobody).rule(), Some(Rule::A5));
    }
    for name in ["standard", "strict"] {
        assert!(!embedded(name).azure.paravisors.is.allows(&field(snp, "measurement")), "{name}");
    }
}
