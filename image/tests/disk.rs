//! Disks judged by other people's programs: the partition table, the file system, the formats, and that nothing of this computer gets in.
//!
//! Debian packages gdisk, dosfstools, mtools, qemu-utils; what is missing is said, and its part is left out.

#![allow(missing_docs, reason = "a test")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as tests do"
)]

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lethe_image::disk::reader::{self, ReadError};
use lethe_image::machine::process::find_program;
use sha2::{Digest as _, Sha256};

const MIB: u64 = 1024 * 1024;
const DOCUMENT: &str = "\
version = 1
model = { name = \"tiny\", sha256 = \"0707070707070707070707070707070707070707070707070707070707070707\", size_bytes = 9 }
clients = { access = \"anyone\" }
";

/// An image, a document and what is made of them, in a directory of their own.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        fs::write(place.path("lethe.efi"), program(3_000_000)).unwrap();
        fs::write(place.path("lethe.toml"), DOCUMENT).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn disk(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lethe-image"));
        command.args(["disk", "--efi", "lethe.efi"]).args(arguments).current_dir(self.directory.path());
        command
    }

    /// Writes a disk with a document, and gives its path and what the program says of it.
    fn made(&self, format: &str, more: &[&str]) -> (PathBuf, serde_json::Value) {
        let name = format!("made.{format}");
        let mut command = self.disk(&["--config", "lethe.toml", "--json", "--format", format, "--out", &name]);
        let output = command.args(more).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        (self.path(&name), serde_json::from_slice(&output.stdout).unwrap())
    }

    /// The refusal of a command line.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.disk(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        text(&output.stderr)
    }
}

/// The smallest EFI application of this length: headers, one section, no code that anyone runs.
fn program(length: u32) -> Vec<u8> {
    let mut bytes = vec![0; 0x200];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, b"MZ");
    put(60, &0x80_u32.to_le_bytes());
    put(0x80, b"PE\0\0\x64\x86\x01\0");
    put(0x94, &240_u16.to_le_bytes());
    put(0x98, &0x20b_u16.to_le_bytes());
    put(0x98 + 60, &0x200_u32.to_le_bytes());
    put(0x98 + 68, &10_u16.to_le_bytes());
    put(0x98 + 108, &16_u32.to_le_bytes());
    put(0x98 + 240 + 16, &(length - 0x200).to_le_bytes());
    put(0x98 + 240 + 20, &0x200_u32.to_le_bytes());
    bytes.extend((0x200..length).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8));
    bytes
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn sha256(path: &Path) -> String {
    let mut digest = Sha256::new();
    std::io::copy(&mut File::open(path).unwrap(), &mut digest).unwrap();
    hex::encode(digest.finalize())
}

/// Runs another people's program; none, said loudly, if it is not installed.
fn judge(program: &str, package: &str, arguments: &[&str], path: &Path) -> Option<Output> {
    let Some(program) = find_program(program) else {
        eprintln!("SKIPPED: {program} is not installed (Debian package {package})");
        return None;
    };
    Some(Command::new(program).args(arguments).arg(path).env("MTOOLS_SKIP_CHECK", "1").output().unwrap())
}

/// A part of a disk as a file.
fn cut(place: &Place, disk: &Path, partition: &serde_json::Value) -> PathBuf {
    let mut file = File::open(disk).unwrap();
    file.seek(SeekFrom::Start(partition["offset"].as_u64().unwrap())).unwrap();
    let path = place.path("partition");
    std::io::copy(&mut file.take(partition["size"].as_u64().unwrap()), &mut File::create(&path).unwrap()).unwrap();
    path
}

#[test]
fn the_partition_table_satisfies_sgdisk_and_a_damaged_one_does_not() {
    let place = Place::new();
    let (disk, _) = place.made("raw", &[]);
    let Some(output) = judge("sgdisk", "gdisk", &["-v"], &disk) else { return };
    assert!(text(&output.stdout).contains("No problems found"), "{}", text(&output.stdout));
    let printed = text(&judge("sgdisk", "gdisk", &["-p"], &disk).unwrap().stdout);
    assert!(printed.contains("89F28172-E6B2-422A-992B-EBAD2F9AFF03"), "{printed}");
    assert!(printed.contains("EF00  lethe-efi") && printed.contains("lethe-config"), "{printed}");

    let mut file = File::options().write(true).open(&disk).unwrap();
    file.seek(SeekFrom::Start(2 * 512 + 33)).unwrap();
    file.write_all(&[0xff]).unwrap();
    let output = judge("sgdisk", "gdisk", &["-v"], &disk).unwrap();
    assert!(!text(&output.stdout).contains("No problems found"), "{}", text(&output.stdout));
}

#[test]
fn the_file_system_satisfies_fsck_and_the_image_reads_back_with_mtools() {
    let place = Place::new();
    let (disk, said) = place.made("raw", &["--size", "80M"]);
    let esp = cut(&place, &disk, &said["partitions"][0]);
    if let Some(output) = judge("fsck.fat", "dosfstools", &["-n", "-v"], &esp) {
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        assert!(!text(&output.stdout).contains("uninitialized"), "{}", text(&output.stdout));
    }
    let read = ["-c", "mtype -i \"$1\" ::/EFI/BOOT/BOOTX64.EFI", "sh"];
    if find_program("mtype").is_some() {
        let output = judge("sh", "mtools", &read, &esp).unwrap();
        assert_eq!(Sha256::digest(&output.stdout), Sha256::digest(fs::read(place.path("lethe.efi")).unwrap()));
    } else {
        eprintln!("SKIPPED: mtype is not installed (Debian package mtools)");
    }
    let mut damaged = fs::read(&esp).unwrap();
    damaged[32 * 512 + 8] ^= 0xff; // the first table's entry of the root directory
    fs::write(&esp, damaged).unwrap();
    if let Some(output) = judge("fsck.fat", "dosfstools", &["-n"], &esp) {
        assert!(!output.status.success(), "fsck.fat would find nothing: {}", text(&output.stdout));
    }
}

#[test]
fn the_document_lies_in_its_partition_as_the_machine_reads_it() {
    let place = Place::new();
    let (disk, said) = place.made("raw", &["--size", "80M"]);
    let partition = fs::read(cut(&place, &disk, &said["partitions"][1])).unwrap();
    assert_eq!(deployment::unwrap_disk(&partition).unwrap().toml, DOCUMENT.as_bytes());
    assert_eq!(reader::document(&disk).unwrap().unwrap(), DOCUMENT.as_bytes());
    assert_eq!(said["document"]["sha256"], hex::encode(Sha256::digest(DOCUMENT)));
    assert_eq!(said["file"]["sha256"], sha256(&disk));
    assert_eq!(said["disk"]["sha256"], said["file"]["sha256"]);

    assert!(place.disk(&["--size", "80M", "--out", "bare.raw"]).output().unwrap().status.success());
    assert_eq!(reader::document(&place.path("bare.raw")).unwrap(), None);
}

#[test]
fn a_document_or_a_table_with_one_changed_byte_is_not_read_as_if_it_were_whole() {
    let place = Place::new();
    let (disk, said) = place.made("raw", &["--size", "80M"]);
    let change = |offset: u64| {
        let mut bytes = fs::read(&disk).unwrap();
        bytes[usize::try_from(offset).unwrap()] ^= 0x20;
        let path = place.path("changed.raw");
        fs::write(&path, bytes).unwrap();
        reader::document(&path)
    };
    let document = said["partitions"][1]["offset"].as_u64().unwrap();
    assert!(matches!(change(document), Err(ReadError::Document(_))), "its magic");
    assert!(matches!(change(document + 12 + DOCUMENT.len() as u64), Err(ReadError::Document(_))), "behind it");
    assert!(matches!(change(512 + 40), Err(ReadError::Table(_))), "the table's header");
    assert!(matches!(change(80 * MIB - 512 + 40), Err(ReadError::Table(_))), "its copy");
    for bytes in [&b""[..], b"QFI\xfb", &[0; 4096]] {
        let path = place.path("other.raw");
        fs::write(&path, bytes).unwrap();
        assert!(matches!(reader::document(&path), Err(ReadError::NotRaw)), "{} bytes", bytes.len());
    }
}

#[test]
fn neither_clock_nor_umask_nor_place_nor_locale_changes_a_byte() {
    let place = Place::new();
    for format in ["raw", "qcow2", "vhd", "tar.gz"] {
        let size: &[&str] = if format == "tar.gz" { &[] } else { &["--size", "80M"] };
        let (first, said) = place.made(format, size);
        let there = Place::new();
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(86_400 * 365 * 40);
        for name in ["lethe.efi", "lethe.toml"] {
            File::options().write(true).open(there.path(name)).unwrap().set_modified(old).unwrap();
        }
        fs::create_dir(there.path("cwd")).unwrap();
        let script = "umask 077 && exec \"$@\"";
        let second = there.path("elsewhere").join("other.name");
        let mut command = Command::new("sh");
        command
            .args(["-c", script, "sh", env!("CARGO_BIN_EXE_lethe-image"), "disk", "--efi", "../lethe.efi"])
            .args(["--config", "../lethe.toml", "--format", format, "--out"])
            .arg(&second)
            .args(size)
            .current_dir(there.path("cwd"))
            .env_clear()
            .envs([("TZ", "Pacific/Chatham"), ("LC_ALL", "tr_TR.UTF-8"), ("SOURCE_DATE_EPOCH", "1")]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(sha256(&first), sha256(&second), "{format}");
        assert_eq!(said["file"]["sha256"], sha256(&first), "{format}: what is said is what is written");
    }
}

#[test]
fn another_image_or_document_is_another_disk() {
    let place = Place::new();
    let (_, first) = place.made("raw", &["--size", "80M"]);
    fs::write(place.path("lethe.toml"), DOCUMENT.replace("tiny", "tinz")).unwrap();
    let (_, document) = place.made("raw", &["--size", "80M"]);
    assert_ne!(first["disk"]["sha256"], document["disk"]["sha256"]);
    assert_eq!(first["partitions"], document["partitions"], "what firmware measures of the table stays");
    fs::write(place.path("lethe.efi"), program(3_000_001)).unwrap();
    let (_, image) = place.made("raw", &["--size", "80M"]);
    assert_ne!(document["disk"]["sha256"], image["disk"]["sha256"]);
}

#[test]
fn every_format_holds_the_same_disk() {
    let place = Place::new();
    let (raw, said) = place.made("raw", &[]);
    assert_eq!(raw.metadata().unwrap().len(), 1024 * MIB);
    for (format, driver) in [("qcow2", "qcow2"), ("vhd", "vpc")] {
        let (path, other) = place.made(format, &[]);
        assert_eq!(said["disk"], other["disk"]);
        let arguments = ["compare", "-f", "raw", "-F", driver, raw.to_str().unwrap()];
        let Some(output) = judge("qemu-img", "qemu-utils", &arguments, &path) else { return };
        assert!(output.status.success(), "{format}: {}{}", text(&output.stdout), text(&output.stderr));
        let info = judge("qemu-img", "qemu-utils", &["info", "--output", "json", "-f", driver], &path).unwrap();
        let info: serde_json::Value = serde_json::from_slice(&info.stdout).unwrap();
        assert_eq!(info["virtual-size"], 1024 * MIB, "{format}");
    }
    let checked = judge("qemu-img", "qemu-utils", &["check", "-f", "qcow2"], &place.path("made.qcow2")).unwrap();
    assert!(checked.status.success(), "{}{}", text(&checked.stdout), text(&checked.stderr));
    assert!(text(&checked.stdout).contains("No errors were found"), "{}", text(&checked.stdout));
    assert!(place.path("made.qcow2").metadata().unwrap().len() < 8 * MIB);

    let mut changed = fs::read(place.path("made.qcow2")).unwrap();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(place.path("changed.qcow2"), changed).unwrap();
    let arguments = ["compare", "-f", "raw", "-F", "qcow2", raw.to_str().unwrap()];
    let output = judge("qemu-img", "qemu-utils", &arguments, &place.path("changed.qcow2")).unwrap();
    assert_eq!(output.status.code(), Some(1), "one changed bit is a different disk: {}", text(&output.stdout));
}

#[test]
fn a_vhd_is_a_disk_of_whole_mebibytes_and_a_footer() {
    let place = Place::new();
    let (path, said) = place.made("vhd", &["--size", "81M"]);
    assert_eq!(path.metadata().unwrap().len(), 81 * MIB + 512);
    let bytes = fs::read(&path).unwrap();
    let (disk, footer) = bytes.split_at(bytes.len() - 512);
    assert_eq!(hex::encode(Sha256::digest(disk)), said["disk"]["sha256"]);
    assert_eq!((&footer[..8], &footer[48..56]), (&b"conectix"[..], &(81 * MIB).to_be_bytes()[..]));
}

#[test]
fn an_archive_unpacks_with_tar_to_disk_raw() {
    let place = Place::new();
    let (path, said) = place.made("tar.gz", &[]);
    fs::create_dir(place.path("unpacked")).unwrap();
    let folder = place.path("unpacked");
    let output = judge("tar", "tar", &["-C", folder.to_str().unwrap(), "-xSzf"], &path).unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["disk.raw"]);
    assert_eq!(sha256(&folder.join("disk.raw")), said["disk"]["sha256"]);
    let listed = text(&judge("tar", "tar", &["--utc", "--numeric-owner", "-tvzf"], &path).unwrap().stdout);
    assert_eq!(listed.trim(), "-rw-r--r-- 0/0      1073741824 1970-01-01 00:00 disk.raw");
}

#[test]
fn what_cannot_be_put_on_a_disk_is_refused_and_nothing_is_written() {
    let place = Place::new();
    fs::write(place.path("lethe.efi"), "#!/bin/sh\n").unwrap();
    let refused = place.refused(&["--out", "x.raw"]);
    assert!(refused.contains("the image lethe.efi cannot be started"), "{refused}");
    fs::write(place.path("lethe.efi"), program(3_000_000)).unwrap();

    let mut long = DOCUMENT.as_bytes().to_vec();
    long.resize(64 * 1024 + 1, b'\n');
    fs::write(place.path("long.toml"), &long).unwrap();
    let refused = place.refused(&["--config", "long.toml", "--out", "x.raw"]);
    assert!(refused.contains("long.toml is not a deployment document"), "{refused}");
    fs::write(place.path("long.toml"), &long[..64 * 1024]).unwrap();
    assert!(
        place.disk(&["--config", "long.toml", "--size", "80M", "--out", "y.raw"]).output().unwrap().status.success()
    );

    fs::write(place.path("wrong.toml"), DOCUMENT.replace("access", "acess")).unwrap();
    let refused = place.refused(&["--config", "wrong.toml", "--out", "x.raw"]);
    assert!(refused.contains("help: see `lethe-image config check wrong.toml`"), "{refused}");

    let refused = place.refused(&["--size", "65M", "--out", "x.raw"]);
    assert!(refused.contains("need 66 MiB"), "{refused}");
    let refused = place.refused(&["--size", "1500M", "--format", "tar.gz", "--out", "x.raw"]);
    assert!(refused.contains("whole GiB"), "{refused}");
    assert!(!place.path("x.raw").exists());
}

#[test]
fn a_disk_with_a_document_of_its_own_takes_no_second_one() {
    let place = Place::new();
    let (disk, _) = place.made("raw", &["--size", "80M"]);
    fs::write(place.path("model.gguf"), b"weights").unwrap();
    let boot = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lethe-image"));
        command.args(["boot", "--model", "model.gguf", "--accel", "tcg", "--print-command", "--disk"]);
        let output = command.arg(&disk).args(more).current_dir(place.directory.path()).output().unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (status, _, refusal) = boot(&["--config", "lethe.toml"]);
    assert_eq!(status, Some(2), "{refusal}");
    assert!(refusal.contains("has a deployment document of its own"), "{refusal}");
    let (status, _, refusal) = boot(&[]);
    assert_eq!(status, Some(1), "the document is for another model: {refusal}");
    assert!(refusal.contains("the model is not the one of the document"), "{refusal}");
    let (status, command, _) = boot(&["--no-check", "--disk-bus", "nvme"]);
    assert_eq!(status, Some(0));
    assert!(command.contains("nvme,drive=boot") && !command.contains("fw_cfg"), "{command}");
}
