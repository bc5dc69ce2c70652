//! The programs a firmware build needs, and what versions of them this machine has.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::report::advise;

/// Header of the library EDK II's own tools link.
const LIBUUID: &str = "/usr/include/uuid/uuid.h";

/// Programs with the Debian package each comes from, and whether their version decides bytes of the firmware.
const NEEDED: &[(&str, &str, bool)] = &[
    ("as", "binutils", true),
    ("g++", "g++", false),
    ("gcc", "gcc", true),
    ("iasl", "acpica-tools", true),
    ("ld", "binutils", true),
    ("make", "make", false),
    ("nasm", "nasm", true),
    ("patch", "patch", false),
    ("python3", "python3", true),
    ("tar", "tar", false),
    ("xz", "xz-utils", false),
];

/// Versions of the programs that decide bytes, by name.
pub type Versions = BTreeMap<&'static str, String>;

/// Asks every program for its version.
///
/// # Errors
/// If one is not there; the advice is the line that installs all that are missing.
pub fn probe() -> anyhow::Result<Versions> {
    let mut missing: Vec<&str> =
        NEEDED.iter().filter(|(program, ..)| !is_installed(program)).map(|(_, package, _)| *package).collect();
    if !Path::new(LIBUUID).exists() {
        missing.push("uuid-dev");
    }
    missing.sort_unstable();
    missing.dedup();
    let packages = missing.join(" ");
    ensure!(
        missing.is_empty(),
        advise(format!("missing to build firmware: {packages}"), format!("apt-get install {packages}"))
    );
    let deciding = NEEDED.iter().filter(|(_, _, decides)| *decides);
    deciding.map(|(program, ..)| Ok((*program, version(program)?))).collect()
}

/// Whether it is where the build looks for it.
fn is_installed(program: &str) -> bool {
    ["/usr/bin", "/bin"].iter().any(|folder| Path::new(folder).join(program).exists())
}

/// The line in which a program says its version.
fn version(program: &str) -> anyhow::Result<String> {
    let flag = if program == "iasl" { "-v" } else { "--version" };
    let mut command = Command::new(program);
    command.arg(flag).env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").stdin(Stdio::null());
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{program} {flag} ended with {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.chars().any(|letter| letter.is_ascii_digit()));
    Ok(line.with_context(|| format!("{program} {flag} names no version"))?.trim().to_owned())
}
