//! What is accepted is refused after the smallest change, and what cannot be read is a mistake of usage.

use std::fs;

use super::{
    corpus::{Corpus, test_policy},
    run::{Line, Said, lethe, pem},
};

const NOW: &str = "2026-11-21T00:00:00Z";

/// An accepted report with AMD's list.
fn report(corpus: &Corpus) -> Line {
    let item = corpus.item("snp-milan-v3-oak-oc-release");
    Line::check("sev-snp")
        .file("report", corpus.file(item, "report.bin"))
        .file("vek", corpus.file(item, "leaf.der"))
        .file("crl", Some(corpus.path("crl/amd-milan/crl.der")))
        .with("policy", "hardware")
        .with("at", "2026-01-15T00:00:00Z")
}

fn quote(corpus: &Corpus) -> Line {
    let item = corpus.item("tdx-v4-qemu-direct-with-ccel");
    Line::check("tdx")
        .file("quote", corpus.file(item, "quote.bin"))
        .file("collateral", Some(corpus.path("collateral/b0c06f-2026-10/collateral.json")))
        .file("event-log", corpus.file(item, "ccel.bin"))
        .with("policy", "hardware")
        .with("at", "2026-10-20T00:00:00Z")
}

fn tpm_quote(corpus: &Corpus) -> Line {
    let item = corpus.item("tpm-gce-cos-85-nonce9009");
    Line::check("tpm2")
        .file("quote", corpus.file(item, "quote_sha256.msg"))
        .file("signature", corpus.file(item, "quote_sha256.sig"))
        .file("ak", corpus.file(item, "ak_spki.der"))
        .file("pcrs", corpus.file(item, "pcrs_sha256.json"))
        .file("event-log", corpus.file(item, "eventlog.bin"))
        .with("nonce", "9009")
        .with("at", NOW)
}

fn azure_machine(corpus: &Corpus) -> Line {
    let item = corpus.item("azure-snp-genoa-a");
    Line::check("azure")
        .file("hcl-report", corpus.file(item, "hcl_report.bin"))
        .file("vek", corpus.file(item, "vcek.der"))
        .file("quote", corpus.file(item, "tpm_quote.msg"))
        .file("signature", corpus.file(item, "tpm_quote.sig"))
        .file("pcrs", corpus.file(item, "pcrs.json"))
        .with("policy", "hardware")
        .with("at", NOW)
}

fn device(corpus: &Corpus) -> Line {
    let item = corpus.item("gpu-h100-nvtrust");
    Line::check("nvidia")
        .file("report", corpus.file(item, "report.bin"))
        .file("chain", corpus.file(item, "chain.pem"))
        .with("at", NOW)
}

#[test]
fn one_changed_bit_of_any_file_is_refused() {
    let Some(corpus) = Corpus::open("changed evidence") else { return };
    let folder = tempfile::tempdir().unwrap();
    let changed = folder.path().join("changed");
    let name = changed.to_str().unwrap();
    let cases = [
        (report(&corpus), vec!["report", "vek", "crl"]),
        (quote(&corpus), vec!["quote", "collateral", "event-log"]),
        (tpm_quote(&corpus), vec!["quote", "signature", "ak", "pcrs", "event-log"]),
        (azure_machine(&corpus), vec!["hcl-report", "vek", "quote", "signature", "pcrs"]),
        (device(&corpus), vec!["report", "chain"]),
    ];
    for (line, options) in cases {
        line.run().accepted();
        for option in options {
            let bytes = fs::read(line.value(option)).unwrap();
            // In the middle of the part that means something: the signed part of a quote, the first digest of a log.
            let place = if option == "event-log" { 128 } else { bytes.len().min(1200) / 2 };
            let mut other = bytes.clone();
            other[place] ^= 1;
            fs::write(&changed, &other).unwrap();
            let said = line.clone().but(option, name).run();
            assert_eq!(said.status, Some(3), "{option}, byte {place}: {said}");
            said.verdict();
            fs::write(&changed, &bytes[..bytes.len().min(2000) / 2]).unwrap();
            assert_eq!(line.clone().but(option, name).run().status, Some(3), "cut {option}");
            fs::write(&changed, b"").unwrap();
            assert_eq!(line.clone().but(option, name).run().status, Some(3), "no {option}");
        }
    }
}

#[test]
fn pem_and_der_say_the_same() {
    let Some(corpus) = Corpus::open("PEM and DER") else { return };
    let folder = tempfile::tempdir().unwrap();
    let rewritten = |line: Line, option: &str, label: &str| {
        let path = folder.path().join(option);
        fs::write(&path, pem(label, &fs::read(line.value(option)).unwrap())).unwrap();
        line.but(option, path.to_str().unwrap())
    };
    let line = report(&corpus);
    let der = line.run().accepted();
    assert_eq!(rewritten(line.clone(), "vek", "CERTIFICATE").run().accepted(), der);
    assert_eq!(rewritten(line.clone(), "crl", "X509 CRL").run().accepted(), der);
    assert_eq!(rewritten(line, "vek", "PRIVATE KEY").run().rule(), "S3", "another label");
    let line = tpm_quote(&corpus);
    assert_eq!(rewritten(line.clone(), "ak", "PUBLIC KEY").run().accepted(), line.run().accepted());
    assert_eq!(rewritten(line, "ak", "CERTIFICATE").run().rule(), "P2", "another label");
    let line = azure_machine(&corpus);
    assert_eq!(rewritten(line.clone(), "vek", "CERTIFICATE").run().accepted(), line.run().accepted());
}

#[test]
fn an_expectation_is_held_against_the_evidence() {
    let Some(corpus) = Corpus::open("expectations") else { return };
    let report = report(&corpus);
    let measurement = report.run().accepted()["measurement"].as_str().unwrap().to_owned();
    let other = "00".repeat(48);
    let expecting = |text: String| report.clone().with("expect", text);
    expecting(format!("measurement={measurement}")).with("expect", "vmpl=00").run().accepted();
    expecting(format!("measurement={other}")).with("expect", format!("measurement={measurement}")).run().accepted();
    assert_eq!(expecting(format!("measurement={other}")).run().rule(), "S7");
    assert_eq!(expecting("vmpl=01".to_owned()).run().rule(), "S9");
    assert_eq!(expecting("nonsense=00".to_owned()).run().status, Some(3));
    assert_eq!(quote(&corpus).with("expect", format!("mrtd={other}")).run().rule(), "T9");
    assert_eq!(tpm_quote(&corpus).with("expect", format!("pcr4={}", "00".repeat(32))).run().status, Some(3));
    assert_eq!(azure_machine(&corpus).with("expect", format!("measurement={other}")).run().rule(), "S7");
    assert_eq!(device(&corpus).with("expect", format!("measurement1={}", "01".repeat(48))).run().rule(), "G4");
    for text in ["measurement", "measurement=", "measurement=0", "=00"] {
        is_usage(&expecting(text.to_owned()).run(), text);
    }
}

#[test]
fn time_nonce_and_log_are_held_against_the_evidence() {
    let Some(corpus) = Corpus::open("time and nonce") else { return };
    assert_eq!(report(&corpus).but("at", "2027-01-15T00:00:00Z").run().rule(), "S3", "the list is stale");
    assert_eq!(report(&corpus).but("at", "2020-01-15T00:00:00Z").run().rule(), "S3", "before the certificate");
    // The clock of this machine is past the dates of the list and of the collateral.
    assert_eq!(report(&corpus).without("at").run().rule(), "S3");
    assert_eq!(quote(&corpus).but("at", "2026-12-20T00:00:00Z").run().status, Some(3));
    assert!(quote(&corpus).without("at").run().rule().starts_with('T'));
    assert_eq!(tpm_quote(&corpus).but("nonce", "9008").run().rule(), "P4");
    assert_eq!(device(&corpus).with("nonce", "00".repeat(32)).run().rule(), "G1");
    let item = corpus.item("tdx-v4-qemu-direct-with-ccel");
    let other = corpus.file(item, "ccel_other_boot.bin").unwrap();
    assert_eq!(quote(&corpus).but("event-log", other.to_str().unwrap()).run().rule(), "T9");
    assert_eq!(quote(&corpus).without("event-log").run().accepted().get("event_log"), None);
}

#[test]
fn another_image_than_the_expected_is_refused() {
    let Some(corpus) = Corpus::open("what was booted") else { return };
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("lethe.toml");
    fs::write(&document, "a document").unwrap();
    let line = tpm_quote(&corpus).file("document", Some(document));
    for firmware in ["standard", "google"] {
        assert_eq!(line.clone().with("image", "00".repeat(32)).with("firmware", firmware).run().rule(), "P7");
    }
    is_usage(&line.run(), "a document without an image");
    is_usage(&tpm_quote(&corpus).with("image", "00".repeat(32)).run(), "an image without a document");
}

#[test]
fn the_default_policy_is_standard_and_a_file_can_be_one() {
    let Some(corpus) = Corpus::open("policies") else { return };
    let line = report(&corpus);
    assert_eq!(line.clone().without("policy").run().rule(), line.clone().but("policy", "standard").run().rule());
    assert_eq!(line.clone().without("policy").run().rule(), "S13", "Milan");
    line.clone().but("policy", test_policy("vlek-aws")).run().accepted();
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own.toml");
    let text = "name = \"own\"\nabout = \"a\"\nextends = \"hardware\"\n[sev_snp]\nsmt_allowed = { is = false, because = \"siblings\" }\n";
    let with = |text: &str| {
        fs::write(&own, text).unwrap();
        line.clone().but("policy", own.to_str().unwrap()).run()
    };
    assert_eq!(with(text).rule(), "S8");
    with(&text.replace("is = false", "is = true")).accepted();
    is_usage(&with(&text.replace("smt_allowed", "smt_alowed")), "unknown line");
    is_usage(&with(&text.replace(", because = \"siblings\"", "")), "no reason");
}

#[test]
fn people_get_claims_or_the_rule_and_the_reason() {
    let Some(corpus) = Corpus::open("reports for people") else { return };
    let said = report(&corpus).run_for_people();
    assert_eq!(said.status, Some(0), "{said}");
    assert!(
        said.stdout
            .starts_with("evidence       sev-snp\npolicy         hardware\ntime           2026-01-15T00:00:00Z\n")
    );
    assert!(said.stdout.contains("\nvmpl                           0\n"), "{said}");
    assert!(said.stdout.ends_with("\nverdict        accepted\n"), "{said}");
    assert_eq!(said.stderr, "");
    let said = report(&corpus).with("expect", "vmpl=01").run_for_people();
    assert_eq!(said.status, Some(3), "{said}");
    assert!(said.stdout.contains("\nrule           S9: "), "{said}");
    assert!(said.stdout.contains("\nreason         vmpl is not as expected"), "{said}");
    assert!(said.stdout.ends_with("\nverdict        refused\n"), "{said}");
    assert!(said.stderr.starts_with("error: S9: ") && said.stderr.contains("help: "), "{said}");
    let own = report(&corpus).but("policy", test_policy("vlek-aws")).run_for_people();
    assert!(own.stdout.contains("\npolicy         vlek-aws, from "), "{own}");
}

fn is_usage(said: &Said, what: &str) {
    assert_eq!(said.status, Some(2), "{what}: {said}");
    assert_eq!(said.stdout, "", "{what}");
    assert!(said.stderr.starts_with("error: "), "{what}: {said}");
}

#[test]
fn wrong_usage_and_unreadable_files_are_exit_status_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "nothing").unwrap();
    let (file, folder) = (file.to_str().unwrap(), folder.path().to_str().unwrap());
    for arguments in [
        &["sev-snp"][..],
        &["sev-snp", "--report", "/no/such/file"],
        &["sev-snp", "--report", folder],
        &["sev-snp", "--report", "/dev/zero"],
        &["sev-snp", "--report", file, "--vek", "/no/such/file"],
        &["sev-snp", "--report", file, "--crl", file, "--crl", "/no/such/file"],
        &["sev-snp", "--report", file, "--at", "yesterday"],
        &["sev-snp", "--report", file, "--policy", "paranoid"],
        &["sev-snp", "--report", file, "--policy", file],
        &["sev-snp", "--report", file, "--policy", folder],
        &["tdx", "--report", file],
        &["tdx", "--quote", file, "--event-log", "/no/such/file"],
        &["tpm2", "--quote", file, "--signature", file],
        &["tpm2", "--quote", file, "--signature", file, "--ak", file, "--ak-cert", file, "--ak-root", file],
        &["tpm2", "--quote", file, "--signature", file, "--ak-cert", file],
        &["tpm2", "--quote", file, "--signature", file, "--ak", file, "--nonce", ""],
        &["azure", "--hcl-report", file, "--quote", file],
        &["azure", "--hcl-report", file, "--nonce", "00"],
        &["azure", "--hcl-report", file, "--td-quote", file, "--vek", file],
        &["nvidia", "--report", file],
        &["nvidia", "--report", file, "--chain", file, "--policy", "standard"],
        &["cpu", "--report", file],
    ] {
        is_usage(&lethe(&[&["check"], arguments].concat()), &arguments.join(" "));
    }
    // What can be read but is no evidence is refused.
    assert_eq!(Line::check("sev-snp").with("report", file).run().rule(), "S1");
    assert_eq!(Line::check("tdx").with("quote", file).run().rule(), "T1");
    assert_eq!(Line::check("azure").with("hcl-report", file).run().rule(), "A1");
    assert_eq!(Line::check("nvidia").with("report", file).with("chain", file).run().rule(), "G1");
    let quote = Line::check("tpm2").with("quote", file).with("signature", file);
    assert_eq!(quote.with("ak", file).run().rule(), "P2");
}
