//! What QEMU changes in the header of a Linux kernel that it is given with `-kernel`, before firmware measures the file.
//!
//! Source: QEMU `hw/i386/x86-common.c` (`x86_load_linux`); Linux `Documentation/arch/x86/boot.rst`. QEMU 10.0 and later
//! also offer the file unchanged, and EDK II 2025.05 and later take that one. For SEV guests QEMU never changes it.

use crate::bytes::{Bytes, Truncated};

/// What QEMU keeps below the end of low memory for ACPI tables (`acpi_data_size` of its q35 machine).
const ACPI_DATA: u64 = 0x28000;
const SIGNATURE: u64 = 0x202;
/// Boot protocol 2.12, of Linux 3.8: older ones are laid out differently.
const OLDEST_PROTOCOL: u16 = 0x20c;
/// Load flag: the protected-mode code is loaded high.
const LOADED_HIGH: u8 = 1;
/// Extended load flag: the kernel can be loaded above 4 GiB, which QEMU takes as leave for the initial RAM disk too.
const ABOVE_4G: u16 = 2;

/// Why a kernel's header cannot be changed as QEMU does it. Offsets are in bytes from the start of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// The file ends inside the header.
    #[error("the kernel ends inside its {what} at offset {offset:#x}")]
    Truncated {
        /// The field.
        what: &'static str,
        /// Where it starts.
        offset: u64,
    },
    /// No Linux kernel of the x86 boot protocol 2.12 or later.
    #[error("no header of a Linux kernel (boot protocol 2.12 or later) at offset {offset:#x}")]
    NoLinux {
        /// Where it should be.
        offset: u64,
    },
    /// The initial RAM disk does not fit below the end of low memory.
    #[error("an initial RAM disk of {length} bytes does not fit into the machine's low memory")]
    InitrdTooLarge {
        /// Bytes of the initial RAM disk.
        length: u64,
    },
}

impl From<Truncated> for KernelError {
    fn from(Truncated { what, offset }: Truncated) -> Self {
        Self::Truncated { what, offset }
    }
}

/// The kernel as QEMU hands it to firmware, with an initial RAM disk of `initrd` bytes on a machine with `low_memory` bytes
/// below 4 GiB. Without an initial RAM disk the memory does not matter.
///
/// # Errors
/// [`KernelError`] for a file that is no such kernel, or an initial RAM disk that does not fit.
pub fn changed_by_qemu(kernel: &[u8], initrd: Option<(u64, u64)>) -> Result<Vec<u8>, KernelError> {
    let header = Bytes::new(kernel);
    if header.take("header", SIGNATURE, 4)? != b"HdrS" || header.u16("boot protocol", 0x206)? < OLDEST_PROTOCOL {
        return Err(KernelError::NoLinux { offset: SIGNATURE });
    }
    let flags = header.u8("load flags", 0x211)?;
    if flags & LOADED_HIGH == 0 {
        return Err(KernelError::NoLinux { offset: 0x211 });
    }
    let mut changes: Vec<(usize, Vec<u8>)> = vec![
        (0x210, vec![0xb0, flags | 0x80]),            // loaded by QEMU; the heap may be used
        (0x224, 0xfe00_u16.to_le_bytes().to_vec()),   // end of the heap
        (0x228, 0x2_0000_u32.to_le_bytes().to_vec()), // address of the command line
    ];
    if let Some((length, low_memory)) = initrd {
        let place = initrd_place(&header, length, low_memory)?;
        changes.push((0x218, [place.to_le_bytes(), low_u32(length)?.to_le_bytes()].concat()));
    }
    let mut changed = kernel.to_vec();
    for (at, bytes) in changes {
        changed.iter_mut().skip(at).zip(bytes).for_each(|(place, byte)| *place = byte);
    }
    Ok(changed)
}

/// As high as the kernel allows, below what QEMU keeps for ACPI tables, at a whole page.
fn initrd_place(header: &Bytes<'_>, length: u64, low_memory: u64) -> Result<u32, KernelError> {
    let too_large = KernelError::InitrdTooLarge { length };
    let highest = if header.u16("extended load flags", 0x236)? & ABOVE_4G != 0 {
        u64::from(u32::MAX)
    } else {
        u64::from(header.u32("highest initial RAM disk", 0x22c)?)
    };
    let room = low_memory.checked_sub(ACPI_DATA).ok_or(too_large)?;
    let highest = if highest >= room { room.saturating_sub(1) } else { highest };
    if length >= highest {
        return Err(too_large);
    }
    low_u32((highest - length) & !4095)
}

fn low_u32(value: u64) -> Result<u32, KernelError> {
    u32::try_from(value).map_err(|_| KernelError::InitrdTooLarge { length: value })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A header of boot protocol 2.15 and some code behind it.
    fn kernel() -> Vec<u8> {
        let mut kernel = vec![7; 0x1000];
        for (at, bytes) in [
            (0x202, b"HdrS".as_slice()),
            (0x206, &[0x0f, 0x02]),
            (0x210, &[0, 1]),
            (0x22c, &[0xff, 0xff, 0xff, 0x7f]),
            (0x236, &[3, 0]),
        ] {
            kernel[at..at + bytes.len()].copy_from_slice(bytes);
        }
        kernel
    }

    #[test]
    fn only_the_fields_of_the_loader_change() {
        let (before, after) = (kernel(), changed_by_qemu(&kernel(), None).unwrap());
        let changed: Vec<_> = (0..before.len()).filter(|at| before[*at] != after[*at]).collect();
        assert_eq!(changed, [0x210, 0x211, 0x224, 0x225, 0x228, 0x229, 0x22a, 0x22b]);
        assert_eq!(after[0x210..0x212], [0xb0, 0x81]);
        assert_eq!(after[0x224..0x22c], [0, 0xfe, 7, 7, 0, 0, 2, 0]);
    }

    #[test]
    fn initial_ram_disk_lies_below_the_acpi_tables_at_the_end_of_low_memory() {
        let after = changed_by_qemu(&kernel(), Some((13824, 1024 * MIB))).unwrap();
        assert_eq!(after[0x218..0x21c], (0x3ffd_4000_u32).to_le_bytes());
        assert_eq!(after[0x21c..0x220], 13824_u32.to_le_bytes());
        let mut older = kernel();
        older[0x236] = 1;
        let after = changed_by_qemu(&older, Some((4096, 2048 * MIB))).unwrap();
        assert_eq!(after[0x218..0x21c], (0x7ffd_6000_u32).to_le_bytes());
    }

    #[test]
    fn other_files_and_disks_that_do_not_fit_are_refused() {
        let refusal = |change: fn(&mut Vec<u8>)| {
            let mut kernel = kernel();
            change(&mut kernel);
            changed_by_qemu(&kernel, Some((1, MIB))).unwrap_err()
        };
        assert_eq!(refusal(|kernel| kernel[0x202] = 0), KernelError::NoLinux { offset: 0x202 });
        assert_eq!(refusal(|kernel| kernel[0x206] = 0x0b), KernelError::NoLinux { offset: 0x202 });
        assert_eq!(refusal(|kernel| kernel[0x211] = 0), KernelError::NoLinux { offset: 0x211 });
        let truncated = KernelError::Truncated { what: "extended load flags", offset: 0x236 };
        assert_eq!(refusal(|kernel| kernel.truncate(0x236)), truncated);
        for (length, low_memory) in [(MIB, MIB), (u64::MAX, 1024 * MIB), (1, 0), (1, ACPI_DATA)] {
            assert_eq!(
                changed_by_qemu(&kernel(), Some((length, low_memory))),
                Err(KernelError::InitrdTooLarge { length })
            );
        }
    }
}
