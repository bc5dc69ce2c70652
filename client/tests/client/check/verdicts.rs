//! Every item of the corpus has the verdict and the fields of its manifest.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use super::{
    corpus::{Corpus, at, expectations, policy_for, test_policy},
    run::{Line, Said},
};

/// Every field that the manifest lists is a claim of the same name and value.
fn has_fields(claims: &Value, fields: &Value, context: &str) {
    for (name, value) in fields.as_object().into_iter().flatten() {
        assert_eq!(claims.get(name), Some(value), "{name} of {context}");
    }
}

fn judge(said: &Said, item: &Value, expectation: &Value, context: &str) {
    match expectation["result"].as_str().unwrap() {
        "reject" => drop(said.rule()),
        _ => has_fields(&said.accepted(), &item["fields"], context),
    }
}

#[test]
fn sev_snp_reports() {
    let Some(corpus) = Corpus::open("lethe check sev-snp") else { return };
    let mut verdicts = 0;
    for item in corpus.items("snp-report") {
        for expectation in expectations(item) {
            let said = Line::check("sev-snp")
                .file("report", corpus.file(item, "report.bin"))
                .file("vek", corpus.file(item, "leaf.der"))
                .with("policy", policy_for(expectation["policy"].as_str().unwrap()))
                .with("at", at(expectation))
                .run();
            judge(&said, item, expectation, &format!("{}: {expectation}\n{said}", item["id"]));
            verdicts += 1;
        }
    }
    // Certificates without a report of their own: no report is endorsed by them.
    let report = corpus.file(corpus.item("snp-milan-v3-oak-oc-release"), "report.bin");
    for item in corpus.items("snp-leaf") {
        for expectation in expectations(item) {
            let line = Line::check("sev-snp").file("report", report.clone()).file("vek", corpus.file(item, "leaf.der"));
            assert_eq!(line.with("policy", "hardware").with("at", at(expectation)).run().rule(), "S3");
            verdicts += 1;
        }
    }
    assert!(verdicts >= 15, "{verdicts}");
}

#[test]
fn tdx_quotes() {
    let Some(corpus) = Corpus::open("lethe check tdx") else { return };
    let mut verdicts = 0;
    for item in corpus.items("tdx-quote").chain(corpus.items("sgx-quote")) {
        let listed: Vec<&str> = expectations(item)
            .filter_map(|expectation| expectation["collateral"].as_str().filter(|name| *name != "any listed"))
            .collect();
        for expectation in expectations(item) {
            let collateral: Vec<Option<&str>> = match expectation["collateral"].as_str() {
                Some("any listed") => listed.iter().copied().map(Some).collect(),
                one => vec![one],
            };
            for name in collateral {
                let line = Line::check("tdx")
                    .file("quote", corpus.file(item, "quote.bin"))
                    .file("collateral", name.map(|name| corpus.path(&format!("collateral/{name}/collateral.json"))))
                    .file("event-log", corpus.file(item, "ccel.bin"))
                    .with("policy", "hardware")
                    .with("at", at(expectation));
                let said = line.run();
                let context = format!("{}: {expectation}\n{said}", item["id"]);
                judge(&said, item, expectation, &context);
                if expectation["result"] != "reject" {
                    has_status(&said.accepted(), expectation, &context);
                }
                // The default asks for an up-to-date platform.
                let up_to_date = expectation["result"] == "accept";
                let default = line.without("policy").run();
                assert_eq!(default.status, Some(if up_to_date { 0 } else { 3 }), "{context}\n{default}");
                verdicts += 1;
            }
        }
    }
    assert!(verdicts >= 45, "{verdicts}");
}

fn has_status(claims: &Value, expectation: &Value, context: &str) {
    let status = match expectation["result"].as_str().unwrap() {
        "accept" => "UpToDate",
        "status OutOfDate" => "OutOfDate",
        "signature and chain valid; TCB status undetermined" => "undetermined",
        other => panic!("{other} of {context}"),
    };
    assert_eq!(claims["tcb_status"], status, "{context}");
}

#[test]
fn tpm_quotes() {
    let Some(corpus) = Corpus::open("lethe check tpm2") else { return };
    let item = corpus.item("tpm-gce-cos-85-nonce9009");
    for expectation in expectations(item) {
        for bank in ["sha1", "sha256", "sha384"] {
            let pcrs = corpus.file(item, &format!("pcrs_{bank}.json"));
            let line = Line::check("tpm2")
                .file("quote", corpus.file(item, &format!("quote_{bank}.msg")))
                .file("signature", corpus.file(item, &format!("quote_{bank}.sig")))
                .file("ak", corpus.file(item, "ak_spki.der"))
                .file("pcrs", pcrs.clone())
                .file("event-log", corpus.file(item, "eventlog.bin"))
                .with("nonce", item["checks"]["quotes"][bank]["nonce_hex"].as_str().unwrap())
                .with("at", at(expectation))
                .with("policy", policy_for(expectation["policy"].as_str().unwrap()));
            let line = if bank == "sha1" {
                assert_eq!(line.run().rule(), "P5", "the bank collides");
                line.but("policy", test_policy("sha1-bank"))
            } else {
                line
            };
            let claims = line.run().accepted();
            let values: Value = serde_json::from_slice(&fs::read(pcrs.unwrap()).unwrap()).unwrap();
            let values: BTreeMap<_, _> = values.as_object().unwrap().iter().collect();
            assert_eq!(claims["pcrs"][bank].as_object().unwrap().iter().collect::<BTreeMap<_, _>>(), values);
            assert_eq!(claims["event_log"], "replayed");
        }
    }

    let item = corpus.item("tpm-trustee-swtpm");
    let folder = tempfile::tempdir().unwrap();
    let evidence = fs::read(corpus.file(item, "tpm_evidence.json").unwrap()).unwrap();
    let evidence: Value = serde_json::from_slice(&evidence).unwrap();
    let pcrs = folder.path().join("pcrs.json");
    fs::write(&pcrs, evidence["tpm_quote"]["pcrs"].to_string()).unwrap();
    for expectation in expectations(item) {
        let claims = Line::check("tpm2")
            .file("quote", corpus.file(item, "quote.msg"))
            .file("signature", corpus.file(item, "quote.sig"))
            .file("ak", corpus.file(item, "ak_spki.der"))
            .file("pcrs", Some(pcrs.clone()))
            .with("nonce", item["checks"]["nonce_hex"].as_str().unwrap())
            .with("at", at(expectation))
            .with("policy", policy_for(expectation["policy"].as_str().unwrap()))
            .run()
            .accepted();
        assert_eq!(claims["nonce"], item["checks"]["nonce_hex"]);
    }
}

/// The corpus has certificates of attestation keys but no quotes by those keys: a chain that holds leads to the next rule.
#[test]
fn attestation_key_certificates() {
    let Some(corpus) = Corpus::open("certificates of attestation keys") else { return };
    let quoted = corpus.item("tpm-gce-cos-85-nonce9009");
    let quote = Line::check("tpm2")
        .file("quote", corpus.file(quoted, "quote_sha256.msg"))
        .file("signature", corpus.file(quoted, "quote_sha256.sig"))
        .with("policy", "hardware");
    let (azure_root, google_root) =
        (corpus.path("roots/azure-vtpm/root_2023.pem"), corpus.path("roots/gcp-vtpm/ek_ak_root.pem"));

    let azure = corpus.item("tpm-azure-ak-certs");
    for expectation in expectations(azure) {
        for name in ["ak_01.der", "ak_03.der"] {
            let line = quote
                .clone()
                .file("ak-cert", corpus.file(azure, name))
                .file("ak-issuer", Some(corpus.path("roots/azure-vtpm/intermediate_01.pem")))
                .file("ak-issuer", Some(corpus.path("roots/azure-vtpm/intermediate_03.pem")))
                .file("ak-root", Some(azure_root.clone()))
                .with("at", at(expectation));
            let rule = if expectation["result"] == "accept" { "P3" } else { "P2" };
            assert_eq!(line.run().rule(), rule, "{name} of {expectation}");
            assert_eq!(line.but("ak-root", google_root.to_str().unwrap()).run().rule(), "P2", "another root");
        }
    }
    let google = corpus.item("tpm-gce-ak-cert");
    let line = quote
        .file("ak-cert", corpus.file(google, "ak.der"))
        .file("ak-issuer", corpus.file(google, "intermediate.der"))
        .file("ak-root", Some(google_root))
        .with("at", "2026-11-21T00:00:00Z");
    assert_eq!(line.run().rule(), "P3");
    assert_eq!(line.but("ak-root", azure_root.to_str().unwrap()).run().rule(), "P2");
}

#[test]
fn azure_machines() {
    let Some(corpus) = Corpus::open("lethe check azure") else { return };
    let mut machines = 0;
    for item in corpus.items("azure-cvm") {
        for expectation in expectations(item) {
            let collateral = expectation["collateral"].as_str();
            let mut line = Line::check("azure")
                .file("hcl-report", corpus.file(item, "hcl_report.bin"))
                .file("vek", corpus.file(item, "vcek.der"))
                .file("td-quote", corpus.file(item, "td_quote.bin").or_else(|| corpus.file(item, "quote.bin")))
                .file("collateral", collateral.map(|name| corpus.path(&format!("collateral/{name}/collateral.json"))))
                .file("quote", corpus.file(item, "tpm_quote.msg"))
                .file("signature", corpus.file(item, "tpm_quote.sig"))
                .file("pcrs", corpus.file(item, "pcrs.json"))
                .with("policy", policy_for(expectation["policy"].as_str().unwrap_or("any")))
                .with("at", at(expectation));
            let nonce = item["checks"]["tpm_quote_nonce_hex"].as_str();
            if let Some(nonce) = nonce {
                line = line.with("nonce", nonce);
            }
            let said = line.run();
            let context = format!("{}\n{said}", item["id"]);
            assert_eq!(expectation["result"], "accept", "{context}");
            let claims = said.accepted();
            has_fields(&claims, &item["fields"], &context);
            for name in ["hcl_version", "hw_report_kind", "runtime_claims"] {
                if let Some(value) = item["checks"].get(name) {
                    assert_eq!(claims.get(name), Some(value), "{name} of {context}");
                }
            }
            if nonce.is_some() {
                assert_eq!(line.but("nonce", "00").run().rule(), "P4", "{context}");
            }
            machines += 1;
        }
    }
    assert_eq!(machines, 6);
}

#[test]
fn nvidia_devices() {
    let Some(corpus) = Corpus::open("lethe check nvidia") else { return };
    let mut devices = 0;
    for item in corpus.items("nvidia-gpu") {
        for expectation in expectations(item) {
            let line = Line::check("nvidia")
                .file("report", corpus.file(item, "report.bin"))
                .file("chain", corpus.file(item, "chain.pem"))
                .with("nonce", item["fields"]["nonce"].as_str().unwrap())
                .with("at", at(expectation));
            let said = line.run();
            judge(&said, item, expectation, &format!("{}\n{said}", item["id"]));
            assert_eq!(line.but("nonce", "00".repeat(32)).run().rule(), "G1");
            devices += 1;
        }
    }
    assert_eq!(devices, 10);
    // Claims that nobody signed.
    for item in corpus.items("nvidia-eat") {
        for expectation in expectations(item) {
            let line = Line::check("nvidia")
                .file("report", corpus.file(item, "gpu_attestation_h100.json"))
                .file("chain", corpus.file(corpus.item("gpu-h100-nvtrust"), "chain.pem"))
                .with("at", at(expectation));
            assert_eq!(line.run().rule(), "G1");
        }
    }
}

/// Of twelve measurements that the manifest has for this VBIOS the device measured eleven so.
#[test]
fn nvidias_manifest_beside_a_device() {
    let Some(corpus) = Corpus::open("lethe check nvidia --rim") else { return };
    let item = corpus.item("gpu-h100-coco-vbios-960074001A");
    let line = Line::check("nvidia")
        .file("report", corpus.file(item, "report.bin"))
        .file("chain", corpus.file(item, "chain.pem"))
        .with("at", "2024-06-01T00:00:00Z");
    let claims = line.run().accepted();
    assert_eq!(claims["measurements_are"], "undetermined");
    let with_manifest = line.clone().file("rim", corpus.file(item, "vbios_rim.swidtag"));
    let said = with_manifest.run();
    assert_eq!(said.rule(), "G4");
    assert_eq!(said.verdict()["reason"], "not as in the manifests, by their index: 9 (vbios)");
    assert_eq!(with_manifest.clone().but("at", "2026-11-21T00:00:00Z").run().rule(), "G6", "the signer's has expired");
    let other = corpus.item("gpu-h100-nvtrust");
    let other = with_manifest
        .but("report", corpus.file(other, "report.bin").unwrap().to_str().unwrap())
        .but("chain", corpus.file(other, "chain.pem").unwrap().to_str().unwrap());
    assert_eq!(other.run().rule(), "G8", "another VBIOS");
    assert_eq!(line.file("rim", corpus.file(item, "report.bin")).run().rule(), "G5", "no manifest");
}

#[test]
fn no_kind_of_item_with_a_verdict_is_left_out() {
    let Some(corpus) = Corpus::open("the kinds of the corpus") else { return };
    let known = [
        "snp-report",
        "snp-leaf",
        "tdx-quote",
        "sgx-quote",
        "tpm-quote",
        "vtpm-ak-cert",
        "azure-cvm",
        "nvidia-gpu",
        "nvidia-eat",
    ];
    let quotes = ["tpm-gce-cos-85-nonce9009", "tpm-trustee-swtpm", "tpm-azure-ak-certs"];
    for item in corpus.all().iter().filter(|item| expectations(item).next().is_some()) {
        let (kind, id) = (item["kind"].as_str().unwrap(), item["id"].as_str().unwrap());
        assert!(known.contains(&kind), "{id}");
        assert!(!matches!(kind, "tpm-quote" | "vtpm-ak-cert") || quotes.contains(&id), "{id}");
    }
}
