//! What firmware measures of the GUID partition table of the disk it boots from.
//!
//! Source: EDK II `SecurityPkg/Library/DxeTpm2MeasureBootLib` (`Tcg2MeasureGptTable`); UEFI 2.10, section 5.3.

use crate::bytes::{Bytes, Truncated};
use crate::event_log::EventType;
use crate::register::{Bank, Expected};

const SECTOR: u64 = 512;
/// Bytes of the header that are measured (`EFI_PARTITION_TABLE_HEADER`).
const HEADER: u64 = 92;
/// Bytes of an entry; other sizes are allowed by the standard and used by nobody.
const ENTRY: u32 = 128;
/// More entries than any tool writes.
const ENTRIES: u32 = 1024;

/// Why a disk has no partition table that can be measured. Offsets are in bytes from the start of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// The disk, or the part of it that was read, ends inside the table.
    #[error("the disk ends inside the {what} at offset {offset:#x}")]
    Truncated {
        /// The structure.
        what: &'static str,
        /// Where it starts.
        offset: u64,
    },
    /// No GUID partition table in the second sector of 512 bytes.
    #[error("no GUID partition table at offset {offset:#x}")]
    Magic {
        /// Where its signature should be.
        offset: u64,
    },
    /// A number in the header that cannot be.
    #[error("{what} at offset {offset:#x} is {value}, which cannot be")]
    Value {
        /// What the number stands for.
        what: &'static str,
        /// Where it stands.
        offset: u64,
        /// What it is.
        value: u64,
    },
}

impl From<Truncated> for DiskError {
    fn from(Truncated { what, offset }: Truncated) -> Self {
        Self::Truncated { what, offset }
    }
}

/// The event of a disk with sectors of 512 bytes, from its first 2 MiB or more.
///
/// # Errors
/// [`DiskError`] for a disk without a table, or with one that contradicts itself.
pub fn event<D: Bank>(disk: &[u8]) -> Result<Expected<D>, DiskError> {
    let data = measured(disk)?;
    Ok(Expected::of(EventType::EFI_GPT_EVENT, "partition table of the disk", &data))
}

/// `UEFI_GPT_DATA`: header, number of used entries, used entries.
fn measured(disk: &[u8]) -> Result<Vec<u8>, DiskError> {
    let bytes = Bytes::new(disk);
    let header = bytes.take("header of the partition table", SECTOR, HEADER)?;
    if !header.starts_with(b"EFI PART") {
        return Err(DiskError::Magic { offset: SECTOR });
    }
    let number = |what, offset| bytes.u32(what, SECTOR + offset);
    let (count, size) = (number("number of entries", 80)?, number("size of an entry", 84)?);
    if count > ENTRIES {
        return Err(DiskError::Value { what: "number of entries", offset: SECTOR + 80, value: count.into() });
    }
    if size != ENTRY {
        return Err(DiskError::Value { what: "size of an entry", offset: SECTOR + 84, value: size.into() });
    }
    let first = bytes.u64("place of the entries", SECTOR + 72)?;
    let impossible = DiskError::Value { what: "place of the entries", offset: SECTOR + 72, value: first };
    let start = first.checked_mul(SECTOR).filter(|start| *start > SECTOR).ok_or(impossible)?;
    let table = bytes.take("entries of the partition table", start, u64::from(count) * u64::from(ENTRY))?;
    let used: Vec<_> = table.chunks_exact(ENTRY as usize).filter(|entry| is_used(entry)).collect();
    Ok([header, &(used.len() as u64).to_le_bytes(), &used.concat()].concat())
}

/// An entry whose type is not zero.
fn is_used(entry: &[u8]) -> bool {
    entry.iter().take(16).any(|byte| *byte != 0)
}
