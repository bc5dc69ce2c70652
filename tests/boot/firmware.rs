//! Firmware of `lethe-image firmware` on machines without SEV and TDX, which it does not need to boot: what it starts, and
//! what not.
//!
//! The table of hashes that QEMU and the security processor place for an SEV guest lies in plain memory here. The images are
//! those in `LETHE_FIRMWARE`, or in `out/`.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this package is test code: what cannot go on says why and ends"
)]

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use lethe_image::machine::description::Firmware;
use lethe_tests::guest::{Guest, Plan};
use lethe_tests::{document, foreign, program};
use measurements::bzimage::changed_by_qemu;
use measurements::firmware;
use measurements::firmware::sev::Layout;
use sha2::{Digest as _, Sha256};

/// The GUIDs of the table and of its entries for command line, initial RAM disk and kernel, as they lie in memory.
const TABLE: &str = "06d63894224fc94cb479a793d411fd21";
const ENTRIES: [&str; 3] =
    ["d82dd09720bd944caa78e7714d36ab2a", "31f7ba442f3ad74b9af141e29169781d", "3794e74dd2ab7f42b835d5b172d2045b"];

fn built(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("LETHE_FIRMWARE").map_or_else(|| program::root().join("out"), PathBuf::from);
    let path = folder.join(name);
    if path.is_file() {
        return Some(path);
    }
    eprintln!("SKIPPED: no {}; make it with `lethe-image firmware`", path.display());
    None
}

/// The image with `-kernel` under this firmware, with the document and the tiny model.
fn plan(firmware: PathBuf) -> Plan {
    let model = program::tiny_model();
    let mut plan = Plan::new(&program::image(), &model, Some(document::for_model(&model, "").as_bytes()));
    plan.machine.firmware = Firmware::Path(firmware);
    plan
}

/// As [`plan`], with a table that allows this kernel, no initial RAM disk and an empty command line.
fn allowing(kernel: &[u8], path: PathBuf) -> Plan {
    let image = std::fs::read(&path).expect("the firmware is readable");
    let parsed = firmware::Firmware::parse(&image).expect("it is firmware");
    let layout = Layout::read(&parsed).expect("it has SEV metadata");
    let address = layout.hash_table().expect("it checks the kernel");
    let mut table = hex::decode(TABLE).expect("hexadecimal text");
    table.extend(168_u16.to_le_bytes());
    // Without SEV QEMU writes its few fields into the kernel's header first.
    let kernel = changed_by_qemu(kernel, None).expect("it is a kernel");
    for (guid, blob) in ENTRIES.iter().zip([&b"\0"[..], b"", &kernel]) {
        table.extend(hex::decode(guid).expect("hexadecimal text"));
        table.extend(50_u16.to_le_bytes());
        table.extend(Sha256::digest(blob));
    }
    let mut plan = plan(path);
    let table = plan.file("table", &table);
    let loader = format!("loader,file={},addr={address:#x},force-raw=on", table.display());
    plan.extra.extend(["-device".into(), loader.into()]);
    plan
}

/// How long a machine takes that starts the image.
fn starts_the_image(plan: Plan) -> Duration {
    let start = Instant::now();
    plan.start().line("lethe: ready");
    start.elapsed()
}

/// Waits twice as long as a machine took that started the image.
fn starts_nothing(what: &str, plan: Plan, usual: Duration) {
    let mut guest: Guest = plan.start();
    let start = Instant::now();
    while start.elapsed() < 2 * usual {
        let console = guest.console();
        assert!(!console.contains("lethe:") && !console.contains(foreign::MARK), "{what}: {console}");
        assert!(guest.runs(), "{what}: {console}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn sev_firmware_starts_exactly_the_kernel_of_the_measured_table() {
    let Some(firmware) = built("OVMF.amdsev.fd") else { return };
    let image = std::fs::read(program::image()).expect("the image is readable");
    let usual = starts_the_image(allowing(&image, firmware.clone()));
    eprintln!("served after {:.1} s", usual.as_secs_f64());

    let mut other = image.clone();
    *other.last_mut().expect("it has bytes") ^= 1;
    starts_nothing("another kernel", allowing(&other, firmware.clone()), usual);
    // No table at all: the host left kernel hashes out.
    starts_nothing("no table", plan(firmware.clone()), usual);
    // A command line and an initial RAM disk are checked as the kernel is.
    let mut with_command_line = allowing(&image, firmware.clone());
    with_command_line.machine.attack.cmdline = Some("quiet".to_owned());
    starts_nothing("a command line", with_command_line, usual);
    // A second program beside the kernel, which firmware without our patch starts in the kernel's place.
    let mut with_shim = allowing(&image, firmware);
    let shim = with_shim.file("shim.efi", &foreign::application());
    with_shim.extra.extend(["-fw_cfg".into(), format!("name=etc/boot/shim,file={}", shim.display()).into()]);
    starts_nothing("a second program", with_shim, usual);
}

/// The control of the test above: the program that must not start is one that firmware can start.
#[test]
fn the_second_program_shows_itself_where_it_is_started() {
    let model = program::tiny_model();
    let mut plan = Plan::new(&program::image(), &model, Some(document::for_model(&model, "").as_bytes()));
    plan.ovmf().esp(&[("EFI/BOOT/BOOTX64.EFI", &foreign::application())]);
    plan.start().line(foreign::MARK);
}

#[test]
fn tdx_firmware_starts_the_image_where_there_is_no_tdx() {
    let Some(firmware) = built("OVMF.inteltdx.fd") else { return };
    let usual = starts_the_image(plan(firmware));
    eprintln!("served after {:.1} s", usual.as_secs_f64());
}
