//! What `lethe-image measure` predicts and what a machine then reads in its own registers: OVMF and swtpm, emulated, from a
//! disk of `lethe-image disk`.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this package is test code: what cannot go on says why and ends"
)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use lethe_tests::machine::{Machine, TPM};
use lethe_tests::{disk, document, program};
use measurements::event_log::{Algorithm, EventType, Log};
use protocol::Nonce;
use serde_json::Value;
use sha2::{Digest as _, Sha384};
use tempfile::TempDir;

/// The variables that a machine under OVMF starts with.
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// The same firmware code with TDX metadata.
const TDX_FIRMWARE: &str = "/usr/share/ovmf/OVMF.fd";
const BANKS: [&str; 2] = ["sha256", "sha384"];

/// The files of one boot.
struct Boot {
    folder: TempDir,
    image: PathBuf,
    document: PathBuf,
    disk: PathBuf,
}

impl Boot {
    fn new(image: &[u8], toml: &[u8]) -> Self {
        let folder = TempDir::new().expect("a directory for the files");
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).expect("the file is written");
            path
        };
        let image = file("lethe.efi", image);
        let document = file("lethe.toml", toml);
        let (disk, _) = disk::of(&image, Some(toml));
        let disk = file("lethe.raw", &disk);
        Self { image, document, disk, folder }
    }

    /// Starts the machine, and gives what its evidence says of its TPM.
    fn evidence(&self, name: &str) -> Value {
        let disk = std::fs::read(&self.disk).expect("the disk is readable");
        let machine = Machine::boot_disk(name, &program::tiny_model(), &disk, &TPM);
        machine.report(&Nonce::from_bytes([7; 32])).attestation.evidence["tpm2"].clone()
    }

    fn predicted(&self, arguments: &[&OsStr]) -> Value {
        let output = Command::new(program::program("lethe-image"))
            .current_dir(self.folder.path())
            .arg("measure")
            .args(arguments)
            .arg("--json")
            .output()
            .expect("lethe-image starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("the prediction is JSON")
    }

    fn pcrs(&self) -> Value {
        self.predicted(&[
            "tpm2".as_ref(),
            "--efi".as_ref(),
            self.image.as_os_str(),
            "--disk".as_ref(),
            self.disk.as_os_str(),
            "--config".as_ref(),
            self.document.as_os_str(),
            "--variables".as_ref(),
            VARIABLES.as_ref(),
        ])
    }

    fn rtmr1(&self) -> Value {
        let all = self.predicted(&[
            "tdx".as_ref(),
            "--firmware".as_ref(),
            TDX_FIRMWARE.as_ref(),
            "--efi".as_ref(),
            self.image.as_os_str(),
            "--disk".as_ref(),
            self.disk.as_os_str(),
        ]);
        all["rtmr1"].clone()
    }
}

/// The registers that differ between two machines, of both banks.
fn changed(one: &Value, other: &Value) -> [Vec<String>; 2] {
    BANKS.map(|bank| {
        let (one, other) = (registers(one, bank), registers(other, bank));
        assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
        assert!(["0", "1", "2", "3", "4", "5", "7", "9", "11", "12"].iter().all(|index| one.contains_key(*index)));
        one.iter().filter(|(index, value)| other[*index] != **value).map(|(index, _)| index.clone()).collect()
    })
}

fn registers(tpm: &Value, bank: &str) -> BTreeMap<String, String> {
    serde_json::from_value(tpm["pcrs"][bank].clone()).expect("registers by their number")
}

/// Compares each register that is predicted with what the machine read.
fn compare(predicted: &Value, tpm: &Value) {
    for index in ["2", "4", "7", "9", "11", "12"] {
        let candidates = predicted[format!("pcr{index}")]["values"].as_array();
        let candidates = candidates.unwrap_or_else(|| panic!("PCR {index} is not predicted: {predicted:#}"));
        for bank in BANKS {
            let read = &tpm["pcrs"][bank][index];
            let equal = candidates.iter().filter(|candidate| candidate["value"][bank] == *read).count();
            assert_eq!(equal, 1, "PCR {index} of {bank} is {read}, predicted is {candidates:#?}");
        }
        // Only Secure Boot's register depends on how the firmware was built.
        assert_eq!(candidates.len(), if index == "7" { 2 } else { 1 }, "PCR {index}");
    }
}

/// The image with one letter changed in a message of its start under a BIOS, which firmware never runs: the machine boots as
/// before.
fn other_image(image: &[u8]) -> Vec<u8> {
    let message = b"early console in setup code";
    let place = image.windows(message.len()).position(|window| window == message).expect("the message is there");
    let mut other = image.to_vec();
    other[place] ^= 1;
    other
}

#[test]
fn registers_are_as_predicted_and_one_changed_byte_changes_exactly_the_register_that_stands_for_it() {
    let image = std::fs::read(program::image()).expect("the image is readable");
    let toml = document::for_model(&program::tiny_model(), "# a\n").into_bytes();
    let first = Boot::new(&image, &toml);
    let tpm = first.evidence("predicted");
    let predicted = first.pcrs();
    compare(&predicted, &tpm);
    boot_events_are_those_of_rtmr1(&first.rtmr1(), &tpm);

    let other = Boot::new(&image, &document::for_model(&program::tiny_model(), "# b\n").into_bytes());
    let differing = std::fs::read(&other.document).expect("it is readable");
    assert_eq!(toml.iter().zip(&differing).filter(|(one, other)| one != other).count(), 1);
    let read = other.evidence("predicted-document");
    assert_eq!(changed(&tpm, &read), [["12"], ["12"]]);
    compare(&other.pcrs(), &read);

    let other = Boot::new(&other_image(&image), &toml);
    let read = other.evidence("predicted-image");
    assert_eq!(changed(&tpm, &read), [["4"], ["4"]]);
    compare(&other.pcrs(), &read);
    // The same prediction is wrong for the other image.
    assert_ne!(predicted["pcr4"]["values"][0]["value"]["sha256"], read["pcrs"]["sha256"]["4"]);
}

/// TDX extends RTMR1 with what a TPM gets in PCRs 2 to 6, from the same code of the same firmware, with one separator for all.
fn boot_events_are_those_of_rtmr1(predicted: &Value, tpm: &Value) {
    let log = hex::decode(tpm["event_log"].as_str().expect("a log")).expect("hexadecimal text");
    let log = Log::parse(&log).expect("the log is well formed");
    let mut digests: Vec<&[u8]> = Vec::new();
    let mut separated = false;
    for event in log.events.iter().filter(|event| (2..=6).contains(&event.register)) {
        let is_separator = event.kind == EventType::SEPARATOR;
        if event.kind != EventType::NO_ACTION && !(is_separator && separated) {
            digests.push(event.digest(Algorithm::Sha384).expect("the TPM has a bank of SHA-384"));
        }
        separated |= is_separator;
    }
    let value = digests
        .iter()
        .fold(vec![0; 48], |value, digest| Sha384::new().chain_update(value).chain_update(digest).finalize().to_vec());
    let digests: Vec<String> = digests.iter().map(hex::encode).collect();
    let candidates = predicted["values"].as_array().expect("RTMR1 is predicted");
    let of_events = |candidate: &Value| -> Vec<Value> {
        candidate["events"].as_array().expect("its events").iter().map(|event| event["digest"].clone()).collect()
    };
    let found: Vec<_> = candidates.iter().filter(|candidate| of_events(candidate) == digests).collect();
    assert_eq!(found.len(), 1, "the machine logged {digests:#?}, predicted is {predicted:#}");
    assert_eq!(found[0]["value"], hex::encode(value));
    assert!(digests.len() >= 6, "{digests:#?}");
}
