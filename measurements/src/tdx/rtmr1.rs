//! RTMR1: the kernel's file and the boot's own steps (PCR 2 to 6 of a TPM).

use super::{Boot, DirectBoot, Edk2, Memory, Rtmr, TdxError};
use crate::boot_events::{Exit, application, calling_option, exit_boot_services, separator};
use crate::bzimage::changed_by_qemu;
use crate::register::{Bank as _, Candidate, Expected, Prediction};

const JUDGE: &str =
    "replay the log to the quoted RTMR1 and require exactly one boot application, with the digest listed";

/// RTMR1 of QEMU with OVMF.
///
/// # Errors
/// [`TdxError`] for a kernel that firmware or QEMU would not take.
pub fn rtmr1(boot: &Boot<'_>, memory: Option<Memory>, edk2: Option<Edk2>) -> Result<Prediction<Rtmr>, TdxError> {
    match boot {
        Boot::Disk { efi, partition_table } => {
            let application = application("\\EFI\\BOOT\\BOOTX64.EFI", Rtmr::of_pe(efi)?);
            Ok(from_disk(application, partition_table.clone()))
        }
        Boot::Direct { kernel, initrd, .. } => direct(kernel, initrd.map(|initrd| initrd.len() as u64), memory, edk2),
    }
}

fn from_disk(application: Expected<Rtmr>, partition_table: Option<Expected<Rtmr>>) -> Prediction<Rtmr> {
    let Some(partition_table) = partition_table else {
        return Prediction::Unpredictable {
            reason: "the partition table of the disk is measured too, and the disk is not given".to_owned(),
            judge: JUDGE.to_owned(),
            events: vec![application],
        };
    };
    let candidates = Exit::BOTH.map(|exit| {
        let mut events = vec![calling_option(), separator(), partition_table.clone(), application.clone()];
        events.extend(exit_boot_services(exit));
        Candidate::of(exit.when(), events)
    });
    Prediction::Values(candidates.to_vec())
}

fn direct(
    kernel: &[u8],
    initrd: Option<u64>,
    memory: Option<Memory>,
    edk2: Option<Edk2>,
) -> Result<Prediction<Rtmr>, TdxError> {
    let low_memory = memory.map(Memory::below_4g);
    let changed = match (initrd, low_memory) {
        (None, _) => Some(changed_by_qemu(kernel, None)?),
        (Some(length), Some(low_memory)) => Some(changed_by_qemu(kernel, Some((length, low_memory)))?),
        (Some(_), None) => None,
    };
    // Both are chains of several milliseconds: side by side.
    let (unchanged, changed) = std::thread::scope(|scope| {
        let thread = scope.spawn(|| changed.as_deref().map(Rtmr::of_pe).transpose());
        let unchanged = Rtmr::of_pe(kernel);
        (unchanged, thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let unchanged: Expected<Rtmr> = application("the kernel as its file is", unchanged?);
    let Some(changed) = changed? else {
        return Ok(Prediction::Unpredictable {
            reason: "QEMU writes the place of the initial RAM disk into the kernel's header, and the memory of the \
                     machine is not given"
                .to_owned(),
            judge: "the digest of the boot application is the listed one with QEMU 10.0 and EDK II 2025.05 or later; \
                    otherwise give the memory of the machine"
                .to_owned(),
            events: vec![unchanged],
        });
    };
    let changed: Expected<Rtmr> = application("the kernel with the header that QEMU writes", changed);
    let mut ways = Vec::new();
    for way in DirectBoot::possible(edk2) {
        match way {
            DirectBoot::Older => ways.push((way.when().to_owned(), changed.clone())),
            DirectBoot::Newer => {
                ways.push((format!("{} and QEMU before 10.0", way.when()), changed.clone()));
                ways.push((format!("{} and QEMU 10.0 or later", way.when()), unchanged.clone()));
            }
        }
    }
    let candidates = ways.into_iter().flat_map(|(when, kernel)| {
        Exit::BOTH.map(|exit| {
            let mut events = vec![kernel.clone(), calling_option(), separator()];
            events.extend(exit_boot_services(exit));
            Candidate::of(format!("{when}; {}", exit.when()), events)
        })
    });
    // Firmware that differs in nothing measured here has one value.
    let mut distinct: Vec<Candidate<Rtmr>> = Vec::new();
    for candidate in candidates {
        match distinct.iter_mut().find(|known| known.value == candidate.value) {
            Some(known) => known.when = format!("{}; or: {}", known.when, candidate.when),
            None => distinct.push(candidate),
        }
    }
    Ok(Prediction::Values(distinct))
}
