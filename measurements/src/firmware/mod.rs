//! What a firmware image says about its own launch: the GUID table in front of the reset vector and what it points to.
//!
//! Source: EDK II `OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm` (layout of the table), `X64/OvmfSevMetadata.asm` and
//! `X64/InteltdxMetadata.asm`. The image is hostile: lengths are checked before use, doubtful images are refused.

mod error;
pub mod sev;
pub mod tdx;
pub mod variables;

pub use error::FirmwareError;

use crate::bytes::Bytes;
use crate::guid::Guid;

/// Where an image ends in the machine's memory.
pub(crate) const END_ADDRESS: u64 = 1 << 32;
/// Bytes of a page.
pub(crate) const PAGE: u64 = 4096;
/// Larger than any flash device of a virtual machine (8 MiB is QEMU's limit).
const LARGEST: u64 = 16 << 20;
/// The table ends this many bytes before the end of the image; the reset vector is behind it.
const BEHIND_TABLE: u64 = 32;
/// Length and GUID, at the *end* of each entry.
const ENTRY_TAIL: u64 = 18;

const FOOTER: Guid = Guid::from_u128(0x96b582de_1fb2_45f7_baea_a366c55a082d);

/// One entry of the GUID table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What the entry is.
    pub guid: Guid,
    /// What it holds.
    pub data: &'a [u8],
    /// Where `data` starts in the image.
    pub offset: u64,
}

/// A firmware image whose GUID table was read.
#[derive(Debug, Clone)]
pub struct Firmware<'a> {
    image: &'a [u8],
    entries: Vec<Entry<'a>>,
}

impl<'a> Firmware<'a> {
    /// Reads the GUID table of an image.
    ///
    /// # Errors
    /// [`FirmwareError`] for a file that is no image of whole pages, or whose table is missing, contradicts itself or
    /// names something twice.
    pub fn parse(image: &'a [u8]) -> Result<Self, FirmwareError> {
        let length = image.len() as u64;
        if !(PAGE..=LARGEST).contains(&length) || !length.is_multiple_of(PAGE) {
            return Err(FirmwareError::Length { length });
        }
        Ok(Self { image, entries: read_table(&Bytes::new(image))? })
    }

    /// The whole image.
    #[must_use]
    pub fn image(&self) -> &'a [u8] {
        self.image
    }

    /// Address of the image's first byte in the machine: it ends at 4 GiB.
    #[must_use]
    pub fn address(&self) -> u64 {
        END_ADDRESS - self.image.len() as u64
    }

    /// The entries of the GUID table, from its end to its start.
    #[must_use]
    pub fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    /// The entry of that GUID.
    #[must_use]
    pub fn entry(&self, guid: Guid) -> Option<Entry<'a>> {
        self.entries.iter().find(|entry| entry.guid == guid).copied()
    }

    pub(crate) fn bytes(&self) -> Bytes<'a> {
        Bytes::new(self.image)
    }

    /// Where the metadata named by `entry` start: the entry holds their distance from the end of the image.
    pub(crate) fn metadata_offset(&self, what: &'static str, entry: &Entry<'_>) -> Result<u64, FirmwareError> {
        let distance = self.u32_of(what, entry)?;
        let length = self.image.len() as u64;
        length.checked_sub(distance.into()).filter(|start| *start < length).ok_or(FirmwareError::Size {
            what,
            offset: entry.offset,
            length: distance.into(),
        })
    }

    /// The entry's data as one 32-bit number.
    pub(crate) fn u32_of(&self, what: &'static str, entry: &Entry<'_>) -> Result<u32, FirmwareError> {
        let data = entry.data.try_into().map_err(|_| FirmwareError::Size {
            what,
            offset: entry.offset,
            length: entry.data.len() as u64,
        })?;
        Ok(u32::from_le_bytes(data))
    }
}

/// Walks the table from its footer towards the start of the image.
fn read_table<'a>(bytes: &Bytes<'a>) -> Result<Vec<Entry<'a>>, FirmwareError> {
    // An image has at least a page: the footer is inside.
    let footer = bytes.length() - BEHIND_TABLE - ENTRY_TAIL;
    if bytes.array("footer of the GUID table", footer + 2)? != FOOTER.to_bytes() {
        return Err(FirmwareError::NoTable { offset: footer });
    }
    let length = u64::from(bytes.u16("footer of the GUID table", footer)?);
    let too_long = FirmwareError::Size { what: "GUID table", offset: footer, length };
    if length < ENTRY_TAIL {
        return Err(too_long);
    }
    let start = (footer + ENTRY_TAIL).checked_sub(length).ok_or(too_long)?;
    let mut entries: Vec<Entry<'a>> = Vec::new();
    let mut end = footer;
    while end > start {
        let entry = read_entry(bytes, start, end)?;
        if entries.iter().any(|known| known.guid == entry.guid) {
            return Err(FirmwareError::Duplicate { guid: entry.guid, offset: end - 16 });
        }
        end = entry.offset;
        entries.push(entry);
    }
    Ok(entries)
}

/// The entry that ends at `end`, of a table that starts at `start`.
fn read_entry<'a>(bytes: &Bytes<'a>, start: u64, end: u64) -> Result<Entry<'a>, FirmwareError> {
    let what = "entry of the GUID table";
    let room = end - start;
    let size = |length| FirmwareError::Size { what, offset: end.saturating_sub(ENTRY_TAIL), length };
    if room < ENTRY_TAIL {
        return Err(size(room));
    }
    let tail = end - ENTRY_TAIL;
    let length = u64::from(bytes.u16(what, tail)?);
    if length < ENTRY_TAIL || length > room {
        return Err(size(length));
    }
    let offset = end - length;
    Ok(Entry {
        guid: Guid::from_bytes(bytes.array(what, tail + 2)?),
        data: bytes.take(what, offset, tail - offset)?,
        offset,
    })
}
