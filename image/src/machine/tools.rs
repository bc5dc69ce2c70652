//! The programs and firmware of other people that a machine needs.

use std::path::{Path, PathBuf};

use super::Error;
use super::process::find_program;

/// QEMU for this kind of machine.
///
/// # Errors
/// If it is not installed.
pub fn qemu() -> Result<PathBuf, Error> {
    program("qemu-system-x86_64", "qemu-system-x86")
}

/// The TPM emulator and the program that makes its state.
///
/// # Errors
/// If one of them is not installed.
pub fn swtpm() -> Result<(PathBuf, PathBuf), Error> {
    Ok((program("swtpm", "swtpm")?, program("swtpm_setup", "swtpm-tools")?))
}

/// OVMF's code and its empty variables.
///
/// # Errors
/// If it is not installed in one of the usual places.
pub fn ovmf() -> Result<(PathBuf, PathBuf), Error> {
    // Debian and Ubuntu, Fedora, Arch.
    let places = [
        ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
        ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
        ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ];
    let found = places.iter().find(|(code, vars)| Path::new(code).is_file() && Path::new(vars).is_file());
    found
        .map(|(code, vars)| (PathBuf::from(code), PathBuf::from(vars)))
        .ok_or(Error::NoProgram { program: "OVMF (UEFI firmware for virtual machines)", package: "ovmf" })
}

fn program(name: &'static str, package: &'static str) -> Result<PathBuf, Error> {
    find_program(name).ok_or(Error::NoProgram { program: name, package })
}
