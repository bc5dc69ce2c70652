//! RTMR2: what Linux' EFI stub logs: load options and an initial RAM disk (PCR 9 of a TPM).

use super::{Boot, DirectBoot, Edk2, Rtmr, TdxError};
use crate::boot_events::{initrd, load_options};
use crate::register::{Bank, Candidate, Prediction};

/// RTMR2 of QEMU with OVMF. A file that carries everything, booted from a disk, leaves it zero.
///
/// # Errors
/// [`TdxError::CommandLine`] for a command line with a NUL in it.
pub fn rtmr2(boot: &Boot<'_>, edk2: Option<Edk2>) -> Result<Prediction<Rtmr>, TdxError> {
    match boot {
        Boot::Disk { .. } => Ok(Prediction::always(Vec::new())),
        Boot::Direct { initrd, cmdline, .. } => direct(*initrd, cmdline, edk2),
    }
}

/// The same register for any bank.
pub(crate) fn direct<D: Bank>(
    disk: Option<&[u8]>,
    cmdline: &str,
    edk2: Option<Edk2>,
) -> Result<Prediction<D>, TdxError> {
    if cmdline.contains('\0') {
        return Err(TdxError::CommandLine);
    }
    let Some(disk) = disk else {
        // Without load options the stub logs nothing.
        let events = if cmdline.is_empty() { Vec::new() } else { vec![load_options(cmdline)] };
        return Ok(Prediction::always(events));
    };
    let candidates = DirectBoot::possible(edk2).into_iter().map(|way| {
        let options = match way {
            DirectBoot::Older => format!("{cmdline} initrd=initrd"),
            DirectBoot::Newer => format!("initrd=initrd {cmdline}"),
        };
        Candidate::of(way.when(), vec![load_options(&options), initrd(disk)])
    });
    Ok(Prediction::Values(candidates.collect()))
}
