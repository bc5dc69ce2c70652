//! A host that brings its own initial RAM disk: three ways in, none of which may run its program.
//!
//! Each way is first tried on a kernel without the mend, where the foreign program must run: a test of a lock that has never
//! seen the lock open proves nothing.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this package is test code: what cannot go on says why and ends"
)]

use std::fs;
use std::path::PathBuf;

use lethe_tests::guest::{Guest, Plan};
use lethe_tests::{document, foreign, program};

const STARTUP: &str = "fs0:\r\n\\lethe.efi initrd=\\foreign.cpio\r\n";

/// The image built from the same sources without the mend.
fn unmended() -> PathBuf {
    let path = program::root().join("out/lethe.unmended.efi");
    assert!(path.is_file(), "{} is not built: run `lethe-image build --variant unmended-initrd`", path.display());
    path
}

fn plan(image: PathBuf) -> Plan {
    let model = program::tiny_model();
    Plan::new(&image, &model, Some(document::for_model(&model, "").as_bytes()))
}

/// QEMU's own loader: `-kernel … -initrd`.
fn by_qemu(image: PathBuf) -> Guest {
    let mut plan = plan(image);
    plan.machine.attack.initrd = Some(plan.file("foreign.cpio", &foreign::archive()));
    plan.start()
}

/// OVMF's loader of QEMU's kernel: `-kernel … -initrd`, which the kernel's EFI stub asks for.
fn by_firmware(image: PathBuf) -> Guest {
    let mut plan = plan(image);
    plan.machine.attack.initrd = Some(plan.file("foreign.cpio", &foreign::archive()));
    plan.ovmf();
    plan.start()
}

/// A boot option with `initrd=` in its load options, and the archive on the same partition.
fn by_boot_option(image: PathBuf) -> Guest {
    let mut plan = plan(image.clone());
    let image = fs::read(image).expect("the image is readable");
    plan.ovmf();
    plan.esp(&[("lethe.efi", &image), ("foreign.cpio", &foreign::archive()), ("startup.nsh", STARTUP.as_bytes())]);
    plan.start()
}

#[test]
fn a_foreign_command_line_changes_nothing() {
    let mut plan = plan(program::image());
    let foreign = "rdinit=/nothing init=/nothing panic=1 console=null GGML_BACKEND_PATH=/nothing lethe.port=1";
    plan.machine.attack.cmdline = Some(foreign.to_owned());
    our_program_runs(plan.start());
}

fn foreign_program_runs(mut guest: Guest) {
    guest.line(foreign::MARK);
}

fn our_program_runs(mut guest: Guest) {
    guest.line("lethe: ready");
    let console = guest.console();
    assert!(!console.contains(foreign::MARK), "{console}");
}

#[test]
fn without_the_mend_a_foreign_initrd_replaces_our_program_under_qemus_loader() {
    foreign_program_runs(by_qemu(unmended()));
}

#[test]
fn a_foreign_initrd_changes_nothing_under_qemus_loader() {
    our_program_runs(by_qemu(program::image()));
}

#[test]
fn without_the_mend_a_foreign_initrd_replaces_our_program_under_ovmf() {
    foreign_program_runs(by_firmware(unmended()));
}

#[test]
fn a_foreign_initrd_changes_nothing_under_ovmf() {
    our_program_runs(by_firmware(program::image()));
}

#[test]
fn without_the_mend_a_foreign_initrd_replaces_our_program_from_a_boot_option() {
    foreign_program_runs(by_boot_option(unmended()));
}

#[test]
fn a_foreign_initrd_changes_nothing_from_a_boot_option() {
    our_program_runs(by_boot_option(program::image()));
}
