//! What firmware wants placed and measured in memory before an SEV-SNP launch.
//!
//! Source: EDK II `OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm`; QEMU `target/i386/sev.c`, which walks the same list.

use super::{END_ADDRESS, Firmware, FirmwareError, PAGE};
use crate::guid::Guid;

const RESET_BLOCK: Guid = Guid::from_u128(0x00f771de_1a7e_4fcb_890e_68c77e2fb44e);
const HASH_TABLE: Guid = Guid::from_u128(0x7255371f_3a3b_4b04_927b_1da6efa8d454);
const METADATA: Guid = Guid::from_u128(0xdc886566_984a_4798_a75e_5585a7bf67cc);

const HEADER: u64 = 16;
const DESCRIPTOR: u64 = 12;
/// OVMF has seven; the bound keeps the check for overlaps cheap.
const SECTIONS: usize = 64;
/// Bytes of the table of kernel hashes, padded (QEMU `PaddedSevHashTable`).
pub(crate) const HASH_TABLE_BYTES: u64 = 176;

/// What a section is for, and so how it is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionKind {
    /// Zeroed memory for the firmware's first phase.
    Memory,
    /// The page of secrets, filled by the security processor.
    Secrets,
    /// The page of CPUID values, checked by the security processor.
    Cpuid,
    /// Calling area of an SVSM; zeroed.
    SvsmCallingArea,
    /// The page of kernel hashes.
    KernelHashes,
}

impl SectionKind {
    fn of(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Memory,
            2 => Self::Secrets,
            3 => Self::Cpuid,
            4 => Self::SvsmCallingArea,
            0x10 => Self::KernelHashes,
            _ => return None,
        })
    }

    /// The number of this kind in the metadata.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Memory => 1,
            Self::Secrets => 2,
            Self::Cpuid => 3,
            Self::SvsmCallingArea => 4,
            Self::KernelHashes => 0x10,
        }
    }

    /// Kinds of exactly one page, of which there is at most one.
    fn is_single_page(self) -> bool {
        matches!(self, Self::Secrets | Self::Cpuid | Self::KernelHashes)
    }
}

/// A range of memory that is measured at launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// Guest-physical address of the first byte.
    pub address: u32,
    /// Bytes, a multiple of 4096.
    pub size: u32,
    /// How it is measured.
    pub kind: SectionKind,
}

/// What of a firmware image decides a launch, besides its own bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    sections: Vec<Section>,
    hash_table: Option<u32>,
    reset_address: u32,
}

impl Layout {
    /// Reads the layout of an image.
    ///
    /// # Errors
    /// [`FirmwareError`] for an image without SEV metadata or reset block, or with metadata that contradict themselves.
    pub fn read(firmware: &Firmware<'_>) -> Result<Self, FirmwareError> {
        let missing = |what| FirmwareError::Missing { what };
        let reset = firmware.entry(RESET_BLOCK).ok_or(missing("SEV-ES reset block"))?;
        let reset_address = firmware.u32_of("SEV-ES reset block", &reset)?;
        let entry = firmware.entry(METADATA).ok_or(missing("SEV metadata"))?;
        let start = firmware.metadata_offset("SEV metadata", &entry)?;
        let sections = read_sections(firmware, start)?;
        check(&sections, firmware.address(), start + HEADER)?;
        let hash_table = read_hash_table(firmware, &sections)?;
        Ok(Self { sections, hash_table, reset_address })
    }

    /// A layout whose parts are known from elsewhere, with the address of the table of kernel hashes and the one at
    /// which processors but the first start.
    ///
    /// # Errors
    /// [`FirmwareError`] as [`Layout::read`]; its offsets are 12 bytes for each section of the list.
    pub fn new(sections: Vec<Section>, hash_table: Option<u32>, reset_address: u32) -> Result<Self, FirmwareError> {
        check(&sections, END_ADDRESS, 0)?;
        if let Some(address) = hash_table {
            check_hash_table(&sections, address, 0)?;
        }
        Ok(Self { sections, hash_table, reset_address })
    }

    /// What is measured, in order.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Address of the table of kernel hashes; none if the firmware does not check the kernel it boots.
    #[must_use]
    pub fn hash_table(&self) -> Option<u32> {
        self.hash_table
    }

    /// Where processors but the first start.
    #[must_use]
    pub fn reset_address(&self) -> u32 {
        self.reset_address
    }
}

fn read_sections(firmware: &Firmware<'_>, start: u64) -> Result<Vec<Section>, FirmwareError> {
    let what = "SEV metadata";
    let bytes = firmware.bytes();
    if bytes.take(what, start, 4)? != b"ASEV" {
        return Err(FirmwareError::Magic { what: "signature of SEV metadata", offset: start });
    }
    let length = u64::from(bytes.u32(what, start + 4)?);
    if bytes.u32(what, start + 8)? != 1 {
        return Err(FirmwareError::Magic { what: "version 1 of SEV metadata", offset: start + 8 });
    }
    let count = u64::from(bytes.u32(what, start + 12)?);
    if count > SECTIONS as u64 || length != HEADER + DESCRIPTOR * count {
        return Err(FirmwareError::Size { what: "list of SEV sections", offset: start + 4, length });
    }
    let mut sections = Vec::new();
    for index in 0..count {
        let at = start + HEADER + DESCRIPTOR * index;
        let number = bytes.u32("SEV section", at + 8)?;
        let kind = SectionKind::of(number).ok_or(FirmwareError::SectionType { kind: number, offset: at })?;
        sections.push(Section {
            address: bytes.u32("SEV section", at)?,
            size: bytes.u32("SEV section", at + 4)?,
            kind,
        });
    }
    Ok(sections)
}

/// Checks pages, uniqueness and overlaps. `image` is where the image itself starts, `first` the offset of the first
/// descriptor.
fn check(sections: &[Section], image: u64, first: u64) -> Result<(), FirmwareError> {
    for (index, section) in sections.iter().enumerate() {
        let offset = first + DESCRIPTOR * index as u64;
        let before = sections.get(..index).unwrap_or_default();
        let (start, end) = range(section);
        let whole = start.is_multiple_of(PAGE) && end.is_multiple_of(PAGE);
        if !whole || section.kind.is_single_page() && end - start != PAGE {
            return Err(FirmwareError::Pages { offset });
        }
        if section.kind.is_single_page() && before.iter().any(|other| other.kind == section.kind) {
            return Err(FirmwareError::SectionTwice { kind: section.kind.number(), offset });
        }
        let overlaps = |other: &Section| {
            let (other_start, other_end) = range(other);
            start < other_end && other_start < end
        };
        if end > image || before.iter().any(overlaps) {
            return Err(FirmwareError::Overlap { offset });
        }
    }
    Ok(())
}

fn range(section: &Section) -> (u64, u64) {
    (section.address.into(), u64::from(section.address) + u64::from(section.size))
}

/// Address of the kernel hash table, where both its entry and the page measured for it exist.
fn read_hash_table(firmware: &Firmware<'_>, sections: &[Section]) -> Result<Option<u32>, FirmwareError> {
    let what = "place of the kernel hash table";
    let Some(entry) = firmware.entry(HASH_TABLE) else { return Ok(None) };
    let size = FirmwareError::Size { what, offset: entry.offset, length: entry.data.len() as u64 };
    let &[a, b, c, d, e, f, g, h] = entry.data else { return Err(size) };
    let (address, room) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    let measured = sections.iter().any(|section| section.kind == SectionKind::KernelHashes);
    if address == 0 || room == 0 || !measured {
        return Ok(None);
    }
    if u64::from(room) < HASH_TABLE_BYTES {
        return Err(FirmwareError::Size { what, offset: entry.offset + 4, length: room.into() });
    }
    check_hash_table(sections, address, entry.offset)?;
    Ok(Some(address))
}

fn check_hash_table(sections: &[Section], address: u32, offset: u64) -> Result<(), FirmwareError> {
    let (start, end) = (u64::from(address), u64::from(address) + HASH_TABLE_BYTES);
    let inside = |section: &Section| {
        let (first, last) = range(section);
        section.kind == SectionKind::KernelHashes && first <= start && end <= last
    };
    if sections.iter().any(inside) { Ok(()) } else { Err(FirmwareError::HashTablePlace { offset }) }
}
