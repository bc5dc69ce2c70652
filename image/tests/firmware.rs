//! Firmware made by `lethe-image firmware` against the calculators of other people.
//!
//! The images are those in `LETHE_FIRMWARE`, or in `out/`; without them nothing but the refusals can be tested.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const KERNEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/pe/plus");
const MRTD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mrtd.py");

fn built(name: &str) -> Option<PathBuf> {
    let out = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../out"));
    let path = std::env::var_os("LETHE_FIRMWARE").map_or_else(out, PathBuf::from).join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: no {}; make it with `lethe-image firmware`", path.display());
    None
}

/// The environment of `scripts/test`.
fn peer() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let python = Some(cache.join("lethe/python/sev-snp-measure/bin/python")).filter(|path| path.exists());
    if python.is_none() {
        eprintln!("SKIPPED: no environment sev-snp-measure in the cache");
    }
    python
}

fn lethe_image() -> Command {
    Command::new(env!("CARGO_BIN_EXE_lethe-image"))
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(command: &mut Command) -> Value {
    serde_json::from_str(&text(&command.arg("--json").output().unwrap())).unwrap()
}

#[test]
fn launch_digests_of_our_firmware_equal_those_of_sev_snp_measure() {
    let (Some(firmware), Some(python)) = (built("OVMF.amdsev.fd"), peer()) else { return };
    let kernel = std::env::var_os("LETHE_EFI").map_or_else(|| PathBuf::from(KERNEL), PathBuf::from);
    for (vcpus, cpu) in [("1", "EPYC-v4"), ("4", "EPYC-Milan"), ("64", "EPYC-Genoa")] {
        let mut ours = lethe_image();
        ours.args(["measure", "sev-snp", "--vcpus", vcpus, "--cpu", cpu]);
        let ours = json(ours.arg("--firmware").arg(&firmware).arg("--kernel").arg(&kernel));
        let mut theirs = Command::new(python.with_file_name("sev-snp-measure"));
        theirs.args(["--mode", "snp", "--vcpus", vcpus, "--vcpu-type", cpu, "--output-format", "hex", "--append", ""]);
        let theirs = theirs.arg("--ovmf").arg(&firmware).arg("--kernel").arg(&kernel).output().unwrap();
        assert_eq!(ours["launch_digest"], text(&theirs).trim(), "{vcpus} {cpu}");
    }
}

#[test]
fn mrtd_of_our_firmware_equals_an_independent_calculation_in_both_page_orders() {
    let Some(firmware) = built("OVMF.inteltdx.fd") else { return };
    let theirs = text(&Command::new("python3").arg(MRTD).arg(&firmware).output().unwrap());
    let theirs: Vec<&str> = theirs.split_whitespace().collect();
    let ours = json(lethe_image().args(["measure", "tdx", "--firmware"]).arg(&firmware));
    for (candidate, (order, value)) in [("QEMU 9", (theirs[0], theirs[1])), ("QEMU 8", (theirs[2], theirs[3]))] {
        let values = ours["mrtd"]["values"].as_array().unwrap();
        let found = values.iter().find(|value| value["when"].as_str().unwrap().starts_with(candidate)).unwrap();
        assert_eq!(found["value"], value, "{order}");
    }
}

#[test]
fn a_source_file_of_other_bytes_is_refused_with_an_address_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("edk2.orig.tar.xz");
    std::fs::write(&wrong, "no archive").unwrap();
    let output = lethe_image()
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .env("XDG_CACHE_HOME", folder.path().join("cache"))
        .args(["firmware", "tdx", "--source"])
        .arg(&wrong)
        .arg("--out")
        .arg(folder.path().join("out"))
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    if error.starts_with("error: missing to build firmware") {
        eprintln!("SKIPPED: {error}");
        return;
    }
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("is none of the pinned sources of edk2"), "{error}");
    assert!(error.contains("\nhelp: every version is kept at https://snapshot.debian.org/package/edk2/"), "{error}");
    assert!(!folder.path().join("out").exists());
}
