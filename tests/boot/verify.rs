//! `lethe verify` against a machine with firmware and a TPM, from end to end: accepted, and every other claim refused by the
//! label it is about.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this package is test code: what cannot go on says why and ends"
)]

use std::path::{Path, PathBuf};

use lethe_tests::machine::{Machine, TPM};
use lethe_tests::{document, program};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

const LABELS: [&str; 6] = ["hardware", "image", "configuration", "model", "keys", "freshness"];

/// What a user names.
struct Named<'a> {
    url: &'a str,
    manifest: PathBuf,
    ak: PathBuf,
    document: PathBuf,
}

impl Named<'_> {
    /// Exit status and report of `lethe verify`.
    fn verify(&self, more: &[&str]) -> (Option<i32>, Value) {
        let path = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        let (manifest, ak, document) = (path(&self.manifest), path(&self.ak), path(&self.document));
        let trust = ["--measurements", &manifest, "--ak", &ak, "--document", &document, "--json"];
        let output = program::run("lethe", &[&["verify"], &trust[..], more].concat());
        let report = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code(), report)
    }

    fn live(&self) -> (Option<i32>, Value) {
        self.verify(&[self.url])
    }

    fn with<'a>(&'a self, change: impl FnOnce(&mut Named<'a>)) -> Named<'a> {
        let mut named = Named {
            url: self.url,
            manifest: self.manifest.clone(),
            ak: self.ak.clone(),
            document: self.document.clone(),
        };
        change(&mut named);
        named
    }
}

fn labels(report: &Value, outcome: &str) -> Vec<String> {
    let all = report["labels"].as_array().expect("labels").iter();
    all.filter(|label| label["outcome"] == outcome)
        .map(|label| label["subject"].as_str().expect("text").to_owned())
        .collect()
}

#[track_caller]
fn refused((status, report): (Option<i32>, Value), expected: &[&str]) {
    assert_eq!(status, Some(3), "{report:#}");
    assert_eq!(labels(&report, "refused"), expected, "{report:#}");
}

#[test]
fn a_live_machine_is_accepted_and_nothing_else_in_its_place() {
    let directory = TempDir::new().expect("a directory");
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).expect("the file is written");
        path
    };
    let model = program::tiny_model();
    let manifest = program::root().join("out/lethe.manifest.json");
    let text = std::fs::read(&manifest).expect("a manifest");
    let named = format!("[image]\nmanifest_sha256 = \"{}\"\n", hex::encode(Sha256::digest(&text)));
    let toml = document::for_model(&model, &named).into_bytes();
    let machine = Machine::boot_with("verify", &model, &toml, &TPM);
    let ak = machine.ak.clone().expect("a machine with a TPM has a file with its key");
    let named = Named { url: &machine.url, manifest, ak, document: file("lethe.toml", &toml) };

    let bundle = directory.path().join("bundle.json");
    let bundle = bundle.to_str().expect("a path in UTF-8");
    let (status, report) = named.verify(&[&machine.url, "--save", bundle]);
    assert_eq!(status, Some(0), "{report:#}\n{}", machine.log());
    assert_eq!(labels(&report, "accepted"), LABELS);
    let bundled = || serde_json::from_slice(&std::fs::read(bundle).expect("a bundle")).expect("JSON");
    let missing = &inner(&bundled())["attestation"]["evidence"]["missing"];
    assert!(!missing.to_string().contains("image_manifest"), "the document names it: {missing}");
    // The same image, and a manifest that the document does not name.
    let other = file("spaced.manifest.json", &[text.as_slice(), b"\n"].concat());
    refused(named.with(|named| named.manifest = other).live(), &["image"]);
    let nonce = report["nonce"].as_str().expect("a nonce").to_owned();

    // The same report once more, from the file: to whoever sent the nonce, and to whoever sent another.
    assert_eq!(named.verify(&["--bundle", bundle, "--nonce", &nonce]).0, Some(0));
    refused(named.verify(&["--bundle", bundle, "--nonce", &"5a".repeat(32)]), &["freshness"]);

    // Another document, another image, another TPM.
    let other = file("other.toml", &[toml.as_slice(), b"\n"].concat());
    refused(named.with(|named| named.document = other).live(), &["configuration"]);
    let mut image: Value = serde_json::from_slice(&text).expect("JSON of a manifest");
    image["authenticode"]["sha384"] = "11".repeat(48).into();
    let other = file("other.manifest.json", image.to_string().as_bytes());
    refused(named.with(|named| named.manifest = other).live(), &["image"]);

    let second = Machine::boot_with("verify-second", &model, &toml, &TPM);
    let stranger = second.ak.clone().expect("a machine with a TPM has a file with its key");
    assert_ne!(std::fs::read(&stranger).expect("a key"), std::fs::read(&named.ak).expect("a key"));
    refused(named.with(|named| named.ak = stranger.clone()).live(), &["hardware"]);
    // The other machine is as good, and its keys are its own.
    let there = named.with(|named| {
        named.ak = stranger;
        named.url = &second.url;
    });
    assert_eq!(there.live().0, Some(0));
    refused(named.with(|named| named.url = &second.url).live(), &["hardware"]);

    // Its evidence in a report of the first machine: authentic, and about other keys.
    let theirs = directory.path().join("theirs.json");
    let theirs = theirs.to_str().expect("a path in UTF-8");
    assert_eq!(there.verify(&[&second.url, "--nonce", &nonce, "--save", theirs]).0, Some(0));
    let read = |path: &str| -> Value { serde_json::from_slice(&std::fs::read(path).expect("a bundle")).expect("JSON") };
    let (mut ours, theirs) = (read(bundle), read(theirs));
    let mut spliced = inner(&ours);
    spliced["attestation"]["evidence"] = inner(&theirs)["attestation"]["evidence"].clone();
    ours["report"] = spliced.to_string().into();
    let spliced = file("spliced.json", ours.to_string().as_bytes());
    let spliced = spliced.to_str().expect("a path in UTF-8");
    refused(there.verify(&["--bundle", spliced, "--nonce", &nonce]), &["keys", "freshness"]);
}

#[test]
fn evidence_of_the_boot_before_and_another_image_on_the_same_tpm_are_refused() {
    let directory = TempDir::new().expect("a directory");
    let save = |name: &str| directory.path().join(name).to_str().expect("a path in UTF-8").to_owned();
    let read = |path: &str| -> Value { serde_json::from_slice(&std::fs::read(path).expect("a bundle")).expect("JSON") };
    let model = program::tiny_model();
    let toml = document::for_model(&model, "").into_bytes();
    let document = directory.path().join("lethe.toml");
    std::fs::write(&document, &toml).expect("the file is written");
    let mut machine = Machine::boot_with("verify-again", &model, &toml, &TPM);
    let ak = machine.ak.clone().expect("a machine with a TPM has a file with its key");
    let key = std::fs::read(&ak).expect("a key");
    let manifest = program::root().join("out/lethe.manifest.json");
    let verify = |machine: &Machine, arguments: &[&str]| {
        let (ak, manifest, document) = (ak.clone(), manifest.clone(), document.clone());
        Named { url: &machine.url, manifest, ak, document }.verify(arguments)
    };
    let (before, now, nonce) = (save("before.json"), save("now.json"), "5a".repeat(32));
    assert_eq!(verify(&machine, &[&machine.url, "--nonce", &nonce, "--save", &before]).0, Some(0));

    // The same image and document on the same TPM: another boot has other keys.
    machine.again(&program::image(), &model, &toml, &TPM);
    assert_eq!(std::fs::read(&ak).expect("a key"), key);
    assert_eq!(verify(&machine, &[&machine.url, "--nonce", &nonce, "--save", &now]).0, Some(0));
    let mut bundle = read(&now);
    let mut report = inner(&bundle);
    report["attestation"]["evidence"] = inner(&read(&before))["attestation"]["evidence"].clone();
    bundle["report"] = report.to_string().into();
    let spliced = save("spliced.json");
    std::fs::write(&spliced, bundle.to_string()).expect("the file is written");
    refused(verify(&machine, &["--bundle", &spliced, "--nonce", &nonce]), &["keys", "freshness"]);

    machine.again(&program::other_image(directory.path()), &model, &toml, &TPM);
    assert_eq!(std::fs::read(&ak).expect("a key"), key);
    refused(verify(&machine, &[&machine.url]), &["image"]);
}

#[test]
fn a_machine_without_a_tpm_is_refused_whatever_is_named() {
    let model = program::tiny_model();
    let machine = Machine::boot("verify-none", &model, "", &[]);
    let manifest = program::root().join("out/lethe.manifest.json");
    let manifest = manifest.to_str().expect("a path in UTF-8");
    let output = program::run("lethe", &["verify", &machine.url, "--measurements", manifest, "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    refused((output.status.code(), report), &["hardware"]);
    let output = program::run("lethe", &["verify", &machine.url, "--policy", "dev"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("DEVELOPMENT ONLY"));
}

/// A document whose epochs end quickly.
const SHORT_EPOCHS: &str = "[keys]\nepoch_seconds = 10\ngrace_seconds = 0\n";

fn inner(bundle: &Value) -> Value {
    serde_json::from_str(bundle["report"].as_str().expect("a report")).expect("the JSON of a report")
}

fn get(url: &str) -> String {
    let output = std::process::Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--insecure", "--max-time", "60", url])
        .output()
        .expect("curl is installed");
    assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("JSON")
}

#[test]
fn the_evidence_of_an_epoch_that_is_over_is_kept_and_answers_no_new_question() {
    let directory = TempDir::new().expect("a directory");
    let save = |name: &str| directory.path().join(name).to_str().expect("a path in UTF-8").to_owned();
    let read = |path: &str| -> Value { serde_json::from_slice(&std::fs::read(path).expect("a bundle")).expect("JSON") };
    let model = program::tiny_model();
    let toml = document::for_model(&model, SHORT_EPOCHS).into_bytes();
    let vendors = "{\"vek\":null,\"crls\":[\"0aff\"],\"tdx_collateral\":null}\n";
    let endorsements = save("endorsements.json");
    std::fs::write(&endorsements, vendors).expect("the file is written");
    let machine = Machine::boot_with("epochs", &model, &toml, &[&TPM[..], &["--endorsements", &endorsements]].concat());
    let document = directory.path().join("lethe.toml");
    std::fs::write(&document, &toml).expect("the file is written");
    let named = Named {
        url: &machine.url,
        manifest: program::root().join("out/lethe.manifest.json"),
        ak: machine.ak.clone().expect("a machine with a TPM has a file with its key"),
        document,
    };
    let (first, second) = (save("first.json"), save("second.json"));
    let (status, report) = named.verify(&[&machine.url, "--save", &first]);
    assert_eq!(status, Some(0), "{report:#}\n{}", machine.log());
    let old = inner(&read(&first));
    // What the operator gave for clients to judge is handed on byte for byte.
    assert_eq!(old["attestation"]["evidence"]["endorsements"], hex::encode(vendors));
    let digest = |report: &Value| report["workload_keyset_digest"].as_str().expect("a digest").to_owned();
    let start = std::time::Instant::now();
    let nonce = loop {
        let (status, report) = named.verify(&[&machine.url, "--save", &second]);
        assert_eq!(status, Some(0), "{report:#}\n{}", machine.log());
        if digest(&inner(&read(&second))) != digest(&old) {
            break report["nonce"].as_str().expect("a nonce").to_owned();
        }
        assert!(start.elapsed().as_secs() < 120, "the epoch never ends");
    };

    // What was said about the old keyset, asked for by its digest, in the place of an answer to our nonce.
    let past = get(&format!("{}/v1/aci/attestation?keyset={}", machine.url, digest(&old)));
    assert_eq!(digest(&serde_json::from_str(&past).expect("JSON")), digest(&old));
    let instead = |report: String| {
        let mut bundle = read(&second);
        bundle["report"] = report.into();
        let path = save("instead.json");
        std::fs::write(&path, bundle.to_string()).expect("the file is written");
        named.verify(&["--bundle", &path, "--nonce", &nonce])
    };
    assert_eq!(instead(inner(&read(&second)).to_string()).0, Some(0));
    refused(instead(past), &["freshness"]);
    refused(instead(old.to_string()), &["freshness"]);
    // The old keys in the new report.
    let mut spliced = inner(&read(&second));
    spliced["workload_keyset_digest"] = old["workload_keyset_digest"].clone();
    spliced["attestation"]["workload_keyset"] = old["attestation"]["workload_keyset"].clone();
    let (status, report) = instead(spliced.to_string());
    assert!(!labels(&report, "accepted").contains(&"keys".to_owned()), "{report:#}");
    refused((status, report), &["freshness"]);
}
