//! The probe of `--accel auto`, with real guests.

#![allow(missing_docs, reason = "a test")]

use std::path::Path;
use std::time::{Duration, Instant};

use lethe_image::machine::accel::{Finding, probe, probe_with};
use lethe_image::machine::description::Accel;
use lethe_image::machine::{tiny_guest, tools};

fn helper() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_lethe-image"))
}

#[test]
fn the_tiny_guest_gets_to_its_end_where_guests_run() {
    let finding = probe(helper(), &tools::qemu().unwrap(), Accel::Tcg);
    assert!(matches!(finding, Finding::Works(_)), "{finding:?}");
}

#[test]
fn a_guest_that_hangs_is_found_and_ended() {
    let hangs = tiny_guest::rom(&[0xfa, 0xeb, 0xfe]); // cli; jmp .
    let start = Instant::now();
    let finding = probe_with(helper(), &tools::qemu().unwrap(), Accel::Tcg, &hangs);
    assert!(matches!(&finding, Finding::Fails(why) if why.contains("did not get to its end")), "{finding:?}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_guest_that_crashes_is_no_guest_that_runs() {
    let leaves = tiny_guest::rom(&[0xb0, 0x11, 0xe6, 0xf4]); // mov $0x11, %al; out %al, $0xf4: another exit status
    let finding = probe_with(helper(), &tools::qemu().unwrap(), Accel::Tcg, &leaves);
    assert!(matches!(finding, Finding::Fails(_)), "{finding:?}");
}

#[test]
fn a_missing_qemu_is_a_failed_probe_and_no_panic() {
    let finding = probe(helper(), Path::new("/nowhere/qemu"), Accel::Tcg);
    assert!(matches!(finding, Finding::Fails(_)), "{finding:?}");
}
