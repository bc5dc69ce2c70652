//! `lethe verify --bundle` on the capture: accepted as it is, and each change refused by the label it is about.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use measurements::release::{Banks, Digest};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{bundle, bytes, file, report};
use crate::releases::{Signer, note, release};

const LABELS: [&str; 6] = ["hardware", "image", "configuration", "model", "keys", "freshness"];

/// What the user names; each can be another than the right one.
struct Named {
    folder: TempDir,
    bundle: PathBuf,
    manifest: PathBuf,
    ak: PathBuf,
    document: PathBuf,
    more: Vec<String>,
}

impl Named {
    fn right() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            bundle: file("bundle.json"),
            manifest: file("manifest.json"),
            ak: file("ak.der"),
            document: file("document.toml"),
            more: vec!["--nonce".to_owned(), bundle()["nonce"].as_str().unwrap().to_owned()],
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// With a bundle whose report was changed.
    fn reporting(change: impl FnOnce(&mut Value)) -> Self {
        let mut named = Self::right();
        let mut bundle = bundle();
        let mut report = report(&bundle);
        change(&mut report);
        bundle["report"] = report.to_string().into();
        named.bundle = named.write("bundle.json", bundle.to_string().as_bytes());
        named
    }

    fn verify(&self) -> (Option<i32>, Value) {
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let output = Command::new(env!("CARGO_BIN_EXE_lethe"))
            .args(["verify", "--json", "--at", bundle()["time"].as_str().unwrap()])
            .args(["--bundle", &path(&self.bundle), "--measurements", &path(&self.manifest)])
            .args(["--ak", &path(&self.ak), "--document", &path(&self.document)])
            .args(&self.more)
            .output()
            .unwrap();
        let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        (output.status.code(), report)
    }

    /// Refused, with exactly these labels refused and this rule, if it is one.
    #[track_caller]
    fn refused(&self, labels: &[&str], rule: Option<&str>) {
        let (status, report) = self.verify();
        assert_eq!((status, &report["verdict"]), (Some(3), &json!("refused")), "{report:#}");
        assert_eq!(with_outcome(&report, "refused"), labels, "{report:#}");
        assert_eq!(report["rule"], json!(rule), "{report:#}");
    }
}

fn with_outcome(report: &Value, outcome: &str) -> Vec<String> {
    let labels = report["labels"].as_array().unwrap().iter().filter(|label| label["outcome"] == outcome);
    labels.map(|label| label["subject"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_capture_is_accepted_with_six_labels() {
    let (status, report) = Named::right().verify();
    assert_eq!((status, &report["verdict"]), (Some(0), &json!("accepted")), "{report:#}");
    assert_eq!(with_outcome(&report, "accepted"), LABELS);
    assert_eq!((&report["platform"], &report["policy"]), (&json!("tpm2"), &json!("standard")));
    assert!(report["labels"][0]["reason"].as_str().unwrap().contains("proves the path, not the hardware"));
    assert!(report["labels"][1]["reason"].as_str().unwrap().contains("because you named it"));
    assert_eq!(report["claims"]["ak_trusted"], "pinned");
}

#[test]
fn without_the_nonce_freshness_is_not_proven_and_not_asked_of_a_file() {
    let mut named = Named::right();
    named.more.clear();
    let (status, report) = named.verify();
    assert_eq!(status, Some(0), "{report:#}");
    assert_eq!(with_outcome(&report, "not_proven"), ["freshness"]);
}

#[test]
fn a_policy_that_asks_for_freshness_asks_it_of_a_file_too() {
    let mut named = Named::right();
    named.more.extend(["--policy".to_owned(), "strict".to_owned()]);
    assert_eq!(named.verify().0, Some(0));
    named.more.drain(..2);
    let (status, report) = named.verify();
    assert_eq!((status, &report["verdict"]), (Some(3), &json!("refused")), "{report:#}");
    assert_eq!(with_outcome(&report, "not_proven"), ["freshness"]);
}

#[test]
fn what_nobody_named_is_not_proven_and_refused() {
    let at = bundle()["time"].as_str().unwrap().to_owned();
    let path = |name: &str| file(name).to_str().unwrap().to_owned();
    let verify = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_lethe"))
            .args(["verify", "--json", "--at", &at, "--bundle", &path("bundle.json")])
            .args(arguments)
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), with_outcome(&report, "refused").len()), (Some(3), 0), "{report:#}");
        with_outcome(&report, "accepted")
    };
    assert!(verify(&[]).is_empty(), "no key is trusted, so that nothing is proven");
    assert!(verify(&["--allow-no-tee"]).is_empty(), "the flag is about platform `none` alone");
    assert!(verify(&["--measurements", &path("manifest.json")]).is_empty());
    let (ak, manifest) = (path("ak.der"), path("manifest.json"));
    assert_eq!(verify(&["--ak", &ak]), ["hardware", "keys"], "any program can extend PCR 12");
    let output = Command::new(env!("CARGO_BIN_EXE_lethe"))
        .args(["verify", "--at", &at, "--bundle", &path("bundle.json"), "--ak", &ak, "--measurements", &manifest])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "any document that is proven counts until one is named");
}

#[test]
fn a_demanded_tls_key_is_not_forgotten_because_a_file_has_none() {
    let mut named = Named::right();
    let mut without = bundle();
    without["tls"] = Value::Null;
    named.bundle = named.write("bundle.json", without.to_string().as_bytes());
    named.more.extend(["--pin".to_owned(), format!("sha256:{}", "11".repeat(32))]);
    let (status, report) = named.verify();
    assert_eq!((status, &report["verdict"]), (Some(3), &json!("refused")), "{report:#}");
}

#[test]
fn another_image_is_refused() {
    let mut named = Named::right();
    let mut manifest: Value = serde_json::from_slice(&bytes("manifest.json")).unwrap();
    manifest["authenticode"]["sha256"] = "11".repeat(32).into();
    named.manifest = named.write("manifest.json", manifest.to_string().as_bytes());
    named.refused(&["image"], Some("P7"));
}

#[test]
fn another_document_is_refused_whoever_brings_it() {
    let mut named = Named::right();
    let other = [bytes("document.toml"), b"\n".to_vec()].concat();
    named.document = named.write("document.toml", &other);
    named.refused(&["configuration"], None);
    // The machine shows the document that was expected, and was started with another.
    let mut lying =
        Named::reporting(|report| report["attestation"]["evidence"]["document"] = hex::encode(&other).into());
    lying.document = named.document.clone();
    lying.refused(&["configuration"], Some("P10"));
}

#[test]
fn another_model_than_the_documents_is_refused() {
    let named = Named::reporting(|report| report["attestation"]["evidence"]["model_sha256"] = "11".repeat(32).into());
    named.refused(&["model"], None);
}

#[test]
fn a_replayed_report_is_refused() {
    let mut named = Named::right();
    named.more = vec!["--nonce".to_owned(), "5a".repeat(32)];
    named.refused(&["freshness"], None);
}

#[test]
fn a_swapped_keyset_is_refused_however_well_it_is_made() {
    let swap = |report: &mut Value| report["attestation"]["workload_keyset"]["subject"] = "another".into();
    Named::reporting(swap).refused(&["keys"], None);
    // Its digest put right: what was signed is about other keys, or about another nonce.
    let digest = |report: &mut Value| {
        swap(report);
        let keyset: protocol::Keyset =
            serde_json::from_value(report["attestation"]["workload_keyset"].clone()).unwrap();
        let digest = keyset.digest().unwrap();
        report["workload_keyset_digest"] = serde_json::to_value(digest).unwrap();
        digest
    };
    Named::reporting(|report| {
        digest(report);
    })
    .refused(&["freshness"], None);
    // The statement put right as well: the hardware has not signed that one.
    let nonce = protocol::Nonce::parse(bundle()["nonce"].as_str().unwrap()).unwrap();
    let all = Named::reporting(|report| {
        let digest = digest(report);
        report["attestation"]["report_data"] = hex::encode(protocol::report_data(digest, Some(&nonce))).into();
    });
    all.refused(&["keys", "freshness"], Some("P4"));
}

#[test]
fn another_attestation_key_is_refused() {
    let mut named = Named::right();
    named.ak = named.write("ak.der", &super::signer::Tpm::new().ak());
    named.refused(&["hardware"], Some("P3"));
    named.ak = named.write("ak.der", b"not a key");
    named.refused(&["hardware"], Some("P2"));
}

#[test]
fn a_quote_of_another_boot_is_refused() {
    // The same TPM, image, document and nonce; the keys alone are those of another boot.
    let other: Value = serde_json::from_slice(&bytes("other-boot.json")).unwrap();
    let named = Named::reporting(|report| {
        for member in ["quote", "signature", "pcrs"] {
            report["attestation"]["evidence"]["tpm2"][member] = other[member].clone();
        }
    });
    named.refused(&["keys", "freshness"], Some("P4"));
}

#[test]
fn evidence_that_was_tampered_with_proves_nothing() {
    let flip = |member: &'static str| {
        move |report: &mut Value| {
            let member = &mut report["attestation"]["evidence"]["tpm2"][member];
            let mut bytes = hex::decode(member.as_str().unwrap()).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            *member = hex::encode(bytes).into();
        }
    };
    Named::reporting(flip("quote")).refused(&["hardware"], Some("P3"));
    Named::reporting(flip("signature")).refused(&["hardware"], Some("P3"));
    let register = |report: &mut Value| {
        report["attestation"]["evidence"]["tpm2"]["pcrs"]["sha256"]["4"] = "00".repeat(32).into();
    };
    Named::reporting(register).refused(&["hardware"], Some("P5"));
    let log = |report: &mut Value| report["attestation"]["evidence"]["tpm2"]["event_log"] = "".into();
    Named::reporting(log).refused(&["image"], Some("P6"));
}

#[test]
fn a_report_over_another_channel_is_refused() {
    let mut named = Named::right();
    let mut bundle = bundle();
    bundle["tls"]["spki"] = format!("sha256:{}", "11".repeat(32)).into();
    named.bundle = named.write("bundle.json", bundle.to_string().as_bytes());
    named.refused(&["keys"], None);
    // The channel that was saved, for somebody who demanded another.
    let mut demanding = Named::right();
    let seen = super::bundle()["tls"]["spki"].as_str().unwrap().to_owned();
    demanding.more.extend(["--pin".to_owned(), seen]);
    assert_eq!(demanding.verify().0, Some(0));
    *demanding.more.last_mut().unwrap() = format!("sha256:{}", "11".repeat(32));
    demanding.refused(&["keys"], None);
}

#[test]
fn a_keyset_past_its_end_is_refused() {
    let mut named = Named::right();
    let report = report(&bundle());
    let end = report["attestation"]["workload_keyset"]["not_after"].as_i64().unwrap();
    named.more.extend(["--at".to_owned(), evidence::Time::from_unix(end).to_string()]);
    // The option is there once: the capture's time gives way.
    let output = Command::new(env!("CARGO_BIN_EXE_lethe"))
        .args(["verify", "--json", "--bundle", named.bundle.to_str().unwrap()])
        .args(["--measurements", named.manifest.to_str().unwrap(), "--ak", named.ak.to_str().unwrap()])
        .args(&named.more)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), with_outcome(&report, "refused")), (Some(3), vec!["keys".to_owned()]));
}

#[test]
fn what_is_no_bundle_is_wrong_usage() {
    let mut named = Named::right();
    for bytes in [b"".as_slice(), b"{}", b"[]"] {
        named.bundle = named.write("bundle.json", bytes);
        assert_eq!(named.verify().0, Some(2));
    }
    let mut bundle = bundle();
    bundle["of_the_future"] = 1.into();
    named.bundle = named.write("bundle.json", bundle.to_string().as_bytes());
    assert_eq!(named.verify().0, Some(2));
    named.bundle = file("bundle.json");
    named.manifest = named.write("manifest.json", b"{\"format\":2}");
    assert_eq!(named.verify().0, Some(2));
}

#[test]
fn a_release_counts_when_enough_of_the_users_keys_have_signed_it() {
    let manifest: Value = serde_json::from_slice(&bytes("manifest.json")).unwrap();
    let image: Banks = serde_json::from_value(manifest["authenticode"].clone()).unwrap();
    let (alice, bob, eve) = (Signer::new(1), Signer::new(2), Signer::new(3));
    let verify = |note: &str, arguments: &[&str]| {
        let mut named = Named::right();
        named.manifest = named.write("0.2.0.note", note.as_bytes());
        named.more.extend(arguments.iter().map(|&argument| argument.to_owned()));
        named.verify()
    };
    let good = release(image, [0; 48]);
    let both = ["--release-key", &alice.text(), "--release-key", &bob.text()];
    let (status, report) = verify(&note(&good, &[&alice, &bob]), &both);
    assert_eq!(status, Some(0), "{report:#}");
    let reason = report["labels"][1]["reason"].as_str().unwrap();
    assert!(reason.starts_with("release 0.2.0 of commit aaaaaaaaaaaa, signed by signer-1, signer-2"), "{reason}");
    let one = note(&good, &[&alice, &eve]);
    assert_eq!(verify(&one, &[&both[..], &["--threshold", "1"]].concat()).0, Some(0));
    assert_eq!(verify(&one, &both).0, Some(2), "one of two is not all");
    assert_eq!(verify(&one, &[]).0, Some(2), "nobody's signature counts by itself");
    assert_eq!(verify(&good.render().unwrap(), &both).0, Some(2), "the file without its signatures");
    let changed = one.replace("qemu", "qume");
    assert_eq!(verify(&changed, &[&both[..], &["--threshold", "1"]].concat()).0, Some(2), "another text");
    let other = release(Banks { sha256: Digest([0x11; 32]), ..image }, [0; 48]);
    let (status, report) = verify(&note(&other, &[&alice, &bob]), &both);
    assert_eq!((status, &report["rule"]), (Some(3), &json!("P7")), "a good release of another image");
    // Keys that nobody used are a mistake worth telling.
    let mut named = Named::right();
    named.more.extend(["--release-key".to_owned(), alice.text()]);
    assert_eq!(named.verify().0, Some(2));
}
