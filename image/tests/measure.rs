//! The commands `measure` and `events` as a user sees them: what they print, what they refuse, how they end.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256, Sha384};

/// Small inputs of our own making that the fuzz targets start from.
const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus");
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/deployment/minimal");

fn seed(name: &str) -> PathBuf {
    Path::new(SEEDS).join(name)
}

struct Ended {
    status: i32,
    out: String,
    error: String,
}

impl Ended {
    fn json(&self) -> Value {
        assert_eq!((self.status, self.error.as_str()), (0, ""));
        serde_json::from_str(&self.out).unwrap()
    }
}

fn run(arguments: &[&str], files: &[(&str, &Path)]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lethe-image"));
    command.args(arguments);
    for (option, path) in files {
        command.arg(option).arg(path);
    }
    let output = command.output().unwrap();
    Ended {
        status: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        error: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The seed of a firmware image is its end: whole pages are what a launch takes.
fn firmware(folder: &Path, name: &str) -> PathBuf {
    let end = std::fs::read(seed("firmware").join(name)).unwrap();
    let mut image = vec![0; end.len().next_multiple_of(4096) - end.len()];
    image.extend(end);
    let path = folder.join(name);
    std::fs::write(&path, image).unwrap();
    path
}

const GUEST: [&str; 6] = ["measure", "sev-snp", "--vcpus", "2", "--cpu", "EPYC-Milan"];

#[test]
fn launch_digest_and_host_data_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let image = firmware(folder.path(), "sev-kernel-hashes");
    let files = [("--firmware", image.as_path()), ("--kernel", &seed("pe/plus")), ("--config", Path::new(DOCUMENT))];
    let json = run(&[GUEST.as_slice(), &["--json", "--id-block"]].concat(), &files).json();
    let digest = json["launch_digest"].as_str().unwrap();
    assert_eq!(digest.len(), 96);
    let document = std::fs::read(DOCUMENT).unwrap();
    assert_eq!(json["host_data"], hex::encode(Sha256::digest(&document)));
    assert_eq!(json["id_block"].as_str().unwrap().len(), 128);
    let text = run(&GUEST, &files).out;
    assert!(text.starts_with(&format!("launch_digest      {digest}\nhost_data")), "{text}");

    let other = [files[0], ("--kernel", &*seed("pe/pe32"))];
    assert_ne!(run(&GUEST, &other).out[..115], text[..115]);
}

#[test]
fn firmware_that_does_not_measure_the_kernel_is_an_error_and_no_digest() {
    let folder = tempfile::tempdir().unwrap();
    let image = firmware(folder.path(), "sev-plain");
    let ended = run(&GUEST, &[("--firmware", &image), ("--kernel", &seed("pe/plus"))]);
    assert_eq!((ended.status, ended.out.as_str()), (1, ""));
    assert!(ended.error.starts_with("error: the kernel would not be measured: "), "{}", ended.error);
    assert!(ended.error.contains("\nhelp: take firmware with a page for kernel hashes"), "{}", ended.error);
    assert_eq!(run(&GUEST, &[("--firmware", &image)]).status, 0);
}

#[test]
fn wrong_command_lines_end_with_status_two() {
    let folder = tempfile::tempdir().unwrap();
    let image = firmware(folder.path(), "sev-plain");
    let image = [("--firmware", image.as_path())];
    for arguments in [
        ["--vcpus", "2"].as_slice(), // no processor
        &["--vcpus", "0", "--cpu", "EPYC"],
        &["--vcpus", "2", "--cpu", "EPIC"],
        &["--vcpus", "2", "--cpu", "EPYC", "--guest-features", "0x20"],
        &["--vcpus", "2", "--cpu", "EPYC", "--initrd", "file"],
        &["--vcpus", "2", "--cpu", "EPYC", "--policy", "0x30000x"],
    ] {
        let ended = run(&[["measure", "sev-snp"].as_slice(), arguments].concat(), &image);
        assert_eq!((ended.status, ended.out.as_str()), (2, ""), "{arguments:?} {}", ended.error);
    }
    assert_eq!(run(&["measure", "sev-snp", "--vcpus", "2", "--vmm", "ec2"], &image).status, 0);
}

#[test]
fn files_of_another_kind_are_refused_with_the_offset() {
    let pe = seed("pe/plus");
    let ended = run(&["measure", "tdx"], &[("--firmware", &seed("firmware/tdx")), ("--efi", &seed("event_log/ccel"))]);
    assert_eq!(ended.status, 1);
    assert!(ended.error.contains("no DOS signature at offset 0x0"), "{}", ended.error);
    let ended = run(&["measure", "tdx"], &[("--firmware", &pe)]);
    assert!(ended.error.contains("1536 bytes are no firmware image"), "{}", ended.error);
    let ended = run(&["events"], &[]);
    assert_eq!(ended.status, 2);
    let ended = run(&["events", pe.to_str().unwrap()], &[]);
    assert_eq!(ended.status, 1);
    assert!(ended.error.contains("offset"), "{}", ended.error);
    let ended = run(&["measure", "tpm2"], &[("--efi", &pe), ("--disk", &pe)]);
    assert!(ended.error.contains("no GUID partition table at offset 0x200"), "{}", ended.error);
}

#[test]
fn registers_of_tdx_have_values_or_reasons() {
    let files =
        [("--firmware", &*seed("firmware/tdx")), ("--efi", &seed("pe/plus")), ("--config", Path::new(DOCUMENT))];
    let json = run(&["measure", "tdx", "--json", "--memory", "2G"], &files).json();
    assert_eq!(json["mrtd"]["values"].as_array().unwrap().len(), 2);
    assert!(json["rtmr0"]["unpredictable"]["reason"].as_str().unwrap().contains("boot options"));
    assert!(json["rtmr1"]["unpredictable"]["judge"].as_str().unwrap().contains("exactly one boot application"));
    assert_eq!(json["rtmr2"]["values"][0]["value"], "0".repeat(96));
    assert_eq!(json["mrconfigid"], hex::encode(Sha384::digest(std::fs::read(DOCUMENT).unwrap())));

    let disk = seed("pe/partition-table");
    let with_disk = [files.as_slice(), &[("--disk", disk.as_path())]].concat();
    let json = run(&["measure", "tdx", "--json"], &with_disk).json();
    let values = json["rtmr1"]["values"].as_array().unwrap();
    assert_eq!(values.len(), 2);
    assert_eq!(values[0]["events"].as_array().unwrap().len(), 6);

    let direct = [files[0], ("--kernel", &*seed("pe/linux"))];
    let json = run(&["measure", "tdx", "--json", "--cmdline", "quiet", "--edk2", "2025.02"], &direct).json();
    assert_eq!(json["rtmr1"]["values"].as_array().unwrap().len(), 2);
    assert_eq!(json["rtmr2"]["values"][0]["events"].as_array().unwrap().len(), 1);
}

#[test]
fn pcrs_have_values_and_the_one_event_to_find() {
    let files =
        [("--efi", &*seed("pe/plus")), ("--config", Path::new(DOCUMENT)), ("--variables", &seed("firmware/variables"))];
    let json = run(&["measure", "tpm2", "--json"], &files).json();
    assert_eq!(json["image_event"]["pcr"], 4);
    let events = json["pcr4"]["values"][0]["events"].as_array().unwrap();
    assert_eq!(events.last().unwrap()["digest"], json["image_event"]["digest"]);
    let document = Sha256::digest(std::fs::read(DOCUMENT).unwrap());
    let twelve = Sha256::new().chain_update([0; 32]).chain_update(document).finalize();
    assert_eq!(json["pcr12"]["values"][0]["value"]["sha256"], hex::encode(twelve));
    assert_eq!(json["pcr7"]["values"].as_array().unwrap().len(), 2);
    assert_eq!(json["pcr9"]["values"][0]["value"]["sha256"], "0".repeat(64));
    assert!(json["pcr0"]["values"].is_null());
    let google = run(&["measure", "tpm2", "--json", "--variant", "google"], &files[..1]).json();
    assert_eq!(google["image_event"]["pcr"], 2);
}

#[test]
fn a_document_that_an_appliance_would_refuse_is_not_measured() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lethe.toml");
    std::fs::write(&path, "version = 2").unwrap();
    let ended = run(&["measure", "tpm2"], &[("--efi", &seed("pe/plus")), ("--config", &path)]);
    assert_eq!((ended.status, ended.out.as_str()), (1, ""));
    assert!(ended.error.contains("help: lethe-image config check"), "{}", ended.error);
}

#[test]
fn a_log_is_explained_and_replayed() {
    let log = seed("event_log/banks");
    let ended = run(&["events", log.to_str().unwrap()], &[]);
    assert!(ended.out.contains("= Secure Boot is off\n"), "{}", ended.out);
    assert!(
        ended.out.contains("= application started: \\EFI\\BOOT\\BOOTX64.EFI, 2 bytes in memory\n"),
        "{}",
        ended.out
    );
    let json = run(&["events", log.to_str().unwrap(), "--json"], &[]).json();
    assert_eq!(json["format"], "crypto-agile");
    assert_eq!(json["events"].as_array().unwrap().len(), 19);
    let four = json["replay"]["sha384"]["PCR 4"].as_str().unwrap();
    assert!(ended.out.contains(&format!("PCR 4   sha384 {four}  after 3 event(s)\n")), "{}", ended.out);
    let ccel = run(&["events", seed("event_log/ccel").to_str().unwrap(), "--json"], &[]).json();
    assert!(ccel["replay"]["sha384"]["RTMR0"].is_string());
}
