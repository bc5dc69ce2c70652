//! What firmware wants placed in memory, and measured, before a TDX guest starts.
//!
//! Source: Intel 344991 "TDX Virtual Firmware Design Guide", section 11 "TDVF metadata"; EDK II
//! `OvmfPkg/ResetVector/X64/InteltdxMetadata.asm`.

use super::{END_ADDRESS, Firmware, FirmwareError, PAGE};
use crate::guid::Guid;

const METADATA: Guid = Guid::from_u128(0xe47a6535_984a_4798_865e_4685a7bf8ec2);
const HEADER: u64 = 16;
const DESCRIPTOR: u64 = 32;
/// OVMF has six or seven; the bound keeps the check for overlaps cheap.
const SECTIONS: u32 = 64;
const EXTENDED: u32 = 1;
const ADDED_LATER: u32 = 2;

/// What a section is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionKind {
    /// Boot firmware volume: code.
    Code,
    /// Configuration firmware volume: variables.
    Variables,
    /// The place where the hypervisor describes the memory (TD HOB).
    Hob,
    /// Memory for the firmware's first phase.
    Memory,
}

/// A range of memory that is placed at launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section<'a> {
    /// What it is for.
    pub kind: SectionKind,
    /// What of the image is placed there; nothing for memory.
    pub data: &'a [u8],
    /// Guest-physical address, a multiple of 4096.
    pub address: u64,
    /// Bytes in memory, a multiple of 4096.
    pub size: u64,
    /// Whether the contents enter MRTD, not only the addresses.
    pub extended: bool,
    /// Whether the pages are added only after the launch, and so are not measured at all.
    pub added_later: bool,
}

/// The sections of an image, in the order in which they are placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout<'a> {
    sections: Vec<Section<'a>>,
}

impl<'a> Layout<'a> {
    /// Reads the layout of an image.
    ///
    /// # Errors
    /// [`FirmwareError`] for an image without TDX metadata, or with metadata that contradict themselves.
    pub fn read(firmware: &Firmware<'a>) -> Result<Self, FirmwareError> {
        let what = "TDX metadata";
        let entry = firmware.entry(METADATA).ok_or(FirmwareError::Missing { what })?;
        let start = firmware.metadata_offset(what, &entry)?;
        let bytes = firmware.bytes();
        if bytes.take(what, start, 4)? != b"TDVF" {
            return Err(FirmwareError::Magic { what: "signature of TDX metadata", offset: start });
        }
        if bytes.u32(what, start + 8)? != 1 {
            return Err(FirmwareError::Magic { what: "version 1 of TDX metadata", offset: start + 8 });
        }
        let (length, count) = (u64::from(bytes.u32(what, start + 4)?), bytes.u32(what, start + 12)?);
        if count > SECTIONS || length != HEADER + DESCRIPTOR * u64::from(count) {
            return Err(FirmwareError::Size { what: "list of TDX sections", offset: start + 4, length });
        }
        let mut sections: Vec<Section<'a>> = Vec::new();
        for index in 0..u64::from(count) {
            let at = start + HEADER + DESCRIPTOR * index;
            let section = read_section(firmware, at)?;
            check(&section, &sections, firmware.address(), at)?;
            sections.push(section);
        }
        Ok(Self { sections })
    }

    /// What is placed, in order.
    #[must_use]
    pub fn sections(&self) -> &[Section<'a>] {
        &self.sections
    }

    /// The one section of that kind.
    #[must_use]
    pub fn section(&self, kind: SectionKind) -> Option<&Section<'a>> {
        self.sections.iter().find(|section| section.kind == kind)
    }
}

fn read_section<'a>(firmware: &Firmware<'a>, at: u64) -> Result<Section<'a>, FirmwareError> {
    let (what, bytes) = ("TDX section", firmware.bytes());
    let number = bytes.u32(what, at + 24)?;
    let kind = match number {
        0 => SectionKind::Code,
        1 => SectionKind::Variables,
        2 => SectionKind::Hob,
        3 => SectionKind::Memory,
        kind => return Err(FirmwareError::SectionType { kind, offset: at }),
    };
    let attributes = bytes.u32(what, at + 28)?;
    if attributes & !(EXTENDED | ADDED_LATER) != 0 {
        return Err(FirmwareError::Attributes { attributes, offset: at });
    }
    let (start, length) = (bytes.u32(what, at)?, bytes.u32(what, at + 4)?);
    Ok(Section {
        kind,
        data: bytes.take("data of a TDX section", start.into(), length.into())?,
        address: bytes.u64(what, at + 8)?,
        size: bytes.u64(what, at + 16)?,
        extended: attributes & EXTENDED != 0,
        added_later: attributes & ADDED_LATER != 0,
    })
}

/// Checks one section against those before it and against the place of the image, which starts at `image`.
fn check(section: &Section<'_>, before: &[Section<'_>], image: u64, offset: u64) -> Result<(), FirmwareError> {
    let Section { address, size, .. } = *section;
    let end = address.checked_add(size).filter(|end| *end <= END_ADDRESS).ok_or(FirmwareError::Pages { offset })?;
    let whole = address.is_multiple_of(PAGE) && size.is_multiple_of(PAGE);
    let data = section.data.len() as u64;
    let from_image = matches!(section.kind, SectionKind::Code | SectionKind::Variables);
    // Data of other lengths would be padded, by a rule that no standard gives.
    let fits = if from_image { data == size && address >= image } else { data == 0 && end <= image };
    if !whole || size == 0 || !fits || section.extended && !from_image || section.extended && section.added_later {
        return Err(FirmwareError::Pages { offset });
    }
    let unique = section.kind != SectionKind::Memory;
    if unique && before.iter().any(|other| other.kind == section.kind) {
        return Err(FirmwareError::SectionTwice { kind: section.kind as u32, offset });
    }
    if before.iter().any(|other| address < other.address + other.size && other.address < end) {
        return Err(FirmwareError::Overlap { offset });
    }
    Ok(())
}
