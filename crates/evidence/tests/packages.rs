//! Real evidence that ships in registry packages, for whoever has no corpus: a Milan report in `sev`, quotes and collateral in
//! `dcap-qvl`. The latter is also the judge of our TDX verdicts.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]

mod corpus;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use base64::Engine as _;
use corpus::{Corpus, embedded, time};
use evidence::{
    Expected, Rule, Time, Verdict,
    check::{SevSnp, Tdx, sev_snp, tdx},
};
use serde_json::Value;

/// Where cargo keeps a package.
fn package(name: &str) -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--offline", "--filter-platform=x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata are JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let found =
        packages.iter().find(|package| package["name"] == name).unwrap_or_else(|| panic!("{name} is a dependency"));
    Path::new(found["manifest_path"].as_str().expect("a path")).parent().expect("a folder").to_owned()
}

fn der(pem: &str) -> Vec<Vec<u8>> {
    let blocks = pem.split("-----BEGIN CERTIFICATE-----").skip(1);
    let bodies = blocks.map(|block| block.split("-----END").next().unwrap().split_whitespace().collect::<String>());
    bodies.map(|body| base64::engine::general_purpose::STANDARD.decode(body).unwrap()).collect()
}

#[test]
fn embedded_roots_are_those_of_other_peoples_packages() {
    let roots = Path::new(env!("CARGO_MANIFEST_DIR")).join("roots");
    let (sev, dcap) = (package("sev"), package("dcap-qvl"));
    for product in ["milan", "genoa", "turin"] {
        for kind in ["ark", "ask"] {
            let theirs =
                fs::read_to_string(sev.join(format!("src/certs/snp/builtin/{product}/{kind}.pem"))).expect("a root");
            assert_eq!(
                der(&theirs),
                [fs::read(roots.join(format!("amd-{product}-{kind}.der"))).unwrap()],
                "{product} {kind}"
            );
        }
    }
    assert_eq!(
        fs::read(dcap.join("src/TrustedRootCA.der")).unwrap(),
        fs::read(roots.join("intel-sgx-root.der")).unwrap()
    );
}

#[test]
fn the_report_of_the_sev_package_is_accepted_and_its_changes_are_not() {
    let data = package("sev").join("tests/certs_data");
    let report = hex::decode(fs::read_to_string(data.join("report_milan.hex")).unwrap().trim()).unwrap();
    let leaf = fs::read(data.join("vcek_milan.der")).unwrap();
    let hardware = embedded("hardware");
    let check = |report: &[u8], leaf: &[u8]| {
        let at = time("2026-01-01T00:00:00Z");
        sev_snp(SevSnp { report, vek: Some(leaf), crls: &[], policy: &hardware, expected: &Expected::nothing(), at })
    };
    let Verdict::Accepted { claims } = check(&report, &leaf) else { panic!("{:?}", check(&report, &leaf)) };
    assert_eq!((&claims["product"], &claims["version"]), (&"milan".into(), &2.into()));
    let mut changed = report.clone();
    for place in (0..report.len()).step_by(3) {
        changed[place] ^= 0x10;
        assert!(!check(&changed, &leaf).is_accepted(), "byte {place}");
        changed[place] ^= 0x10;
    }
    let turin = fs::read(data.join("vcek_turin.der")).unwrap();
    assert!(matches!(check(&report, &turin).rule(), Some(Rule::S1 | Rule::S4)));
}

/// Our verdict and the judge's about one quote.
fn agree(what: &str, quote: &[u8], collateral: &[u8], at: Time) {
    let hardware = embedded("hardware");
    let input = Tdx { quote, collateral: Some(collateral), policy: &hardware, expected: &Expected::nothing(), at };
    let ours = tdx(input);
    let seconds = u64::try_from(at.unix()).unwrap();
    let theirs = dcap_qvl::verify::rustcrypto::verify(quote, &serde_json::from_slice(collateral).unwrap(), seconds);
    match (&ours, &theirs) {
        (Verdict::Accepted { claims }, Ok(report)) => {
            assert_eq!(claims["tcb_status"].as_str(), Some(report.status.as_str()), "{what} at {at}");
            assert_eq!(claims["advisories"], serde_json::json!(report.advisory_ids), "{what} at {at}");
        }
        (Verdict::Refused(_), Err(_)) => {}
        _ => panic!("{what} at {at}: ours {ours:?}, theirs {:?}", theirs.map(|report| report.status)),
    }
}

#[test]
fn quotes_of_the_dcap_package_have_the_verdicts_of_its_own_verifier() {
    let samples = package("dcap-qvl").join("sample");
    let file = |name: &str| fs::read(samples.join(name)).expect("a sample");
    for (quote, collateral, dates, accepted) in [
        ("tdx_quote", "tdx_quote_collateral.json", ["2025-06-25T00:00:00Z", "2025-09-01T00:00:00Z"], true),
        (
            "tdx_quote_outdated",
            "tdx_quote_outdated_collateral.json",
            ["2026-02-25T00:00:00Z", "2026-05-01T00:00:00Z"],
            false,
        ),
        (
            "tdx_quote_td15ex",
            "tdx_quote_td15ex_collateral.json",
            ["2026-10-20T00:00:00Z", "2027-01-01T00:00:00Z"],
            true,
        ),
    ] {
        let (quote_bytes, collateral) = (file(quote), file(collateral));
        for date in dates {
            agree(quote, &quote_bytes, &collateral, time(date));
        }
        let hardware = embedded("hardware");
        let input = Tdx {
            quote: &quote_bytes,
            collateral: Some(&collateral),
            policy: &hardware,
            expected: &Expected::nothing(),
            at: time(dates[0]),
        };
        assert_eq!(tdx(input).is_accepted(), accepted, "{quote}: {:?}", tdx(input));
        let mut changed = quote_bytes.clone();
        for place in (0..4800).step_by(37) {
            changed[place] ^= 1;
            let input = Tdx { quote: &changed, collateral: None, ..input };
            assert!(!tdx(input).is_accepted(), "{quote}: byte {place}");
            changed[place] ^= 1;
        }
    }
    let sgx = tdx(Tdx {
        quote: &file("sgx_quote"),
        collateral: Some(&file("sgx_quote_collateral.json")),
        policy: &embedded("hardware"),
        expected: &Expected::nothing(),
        at: time("2025-06-25T00:00:00Z"),
    });
    assert_eq!(sgx.rule(), Some(Rule::T1));
}

#[test]
fn quotes_of_the_corpus_have_the_verdicts_of_the_dcap_packages_verifier() {
    let Some(corpus) = Corpus::open("TDX quotes with another verifier as judge") else { return };
    let mut compared = 0;
    for item in corpus.items("tdx-quote") {
        // Our verifier refuses what follows the quote where the judge does not look.
        if item["fields"]["trailing_nonzero"] == true {
            continue;
        }
        let quote = corpus.file(item, "quote.bin").expect("a quote");
        for expectation in item["expected"].as_array().expect("expectations") {
            let Some(name) = expectation["collateral"].as_str().filter(|name| *name != "any listed") else { continue };
            let collateral = corpus.path(&format!("collateral/{name}/collateral.json"));
            agree(item["id"].as_str().unwrap(), &quote, &collateral, corpus::at(expectation));
            compared += 1;
        }
    }
    assert!(compared >= 15, "{compared}");
}
