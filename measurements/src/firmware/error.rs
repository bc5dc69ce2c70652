//! Why a firmware image cannot be measured.

use crate::bytes::Truncated;
use crate::guid::Guid;

/// What is wrong with a firmware image. Offsets are in bytes from the start of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FirmwareError {
    /// Not a whole number of pages, empty, or larger than any flash device of a virtual machine.
    #[error("{length} bytes are no firmware image: 4 KiB to 16 MiB in whole 4 KiB pages are")]
    Length {
        /// Bytes of the file.
        length: u64,
    },
    /// The file ends inside a structure, or a structure starts outside the file.
    #[error("the {what} at offset {offset:#x} reaches outside the firmware image")]
    Truncated {
        /// The structure.
        what: &'static str,
        /// Where it starts.
        offset: u64,
    },
    /// No GUID table at its place: a variable store or another file, or firmware for machines without SEV and TDX.
    #[error("no GUID table at offset {offset:#x}: the image describes no launch of a confidential machine")]
    NoTable {
        /// Where its footer should be.
        offset: u64,
    },
    /// An entry of the table has a length that does not fit.
    #[error("{what} at offset {offset:#x} has an impossible length of {length}")]
    Size {
        /// The structure.
        what: &'static str,
        /// Where the length stands.
        offset: u64,
        /// What it says.
        length: u64,
    },
    /// A GUID stands in the table twice; readers differ in which one they take.
    #[error("entry {guid} stands in the GUID table a second time at offset {offset:#x}")]
    Duplicate {
        /// The entry.
        guid: Guid,
        /// Where the second one (nearer to the start of the file) has its GUID.
        offset: u64,
    },
    /// The image lacks what the platform needs.
    #[error("the firmware image has no {what}")]
    Missing {
        /// What is missing.
        what: &'static str,
    },
    /// A signature or version is not what it must be.
    #[error("no {what} at offset {offset:#x}")]
    Magic {
        /// What should be there.
        what: &'static str,
        /// Where.
        offset: u64,
    },
    /// A section has a type this reader does not know; what is measured for it is unknown too.
    #[error("section of unknown type {kind:#x} at offset {offset:#x}")]
    SectionType {
        /// The type.
        kind: u32,
        /// Where the section's descriptor starts.
        offset: u64,
    },
    /// A section covers memory that another section, or the image itself, covers.
    #[error("the section described at offset {offset:#x} overlaps another one in memory")]
    Overlap {
        /// Where the section's descriptor starts.
        offset: u64,
    },
    /// A section does not consist of whole pages, or not of as many as its type needs.
    #[error("the section described at offset {offset:#x} has an address or size that its type cannot have")]
    Pages {
        /// Where the section's descriptor starts.
        offset: u64,
    },
    /// A section with attributes that this reader does not know.
    #[error("section with unknown attributes {attributes:#x} at offset {offset:#x}")]
    Attributes {
        /// All attributes of the section.
        attributes: u32,
        /// Where the section's descriptor starts.
        offset: u64,
    },
    /// A second section of a type of which there can be one.
    #[error("a second section of type {kind:#x} at offset {offset:#x}")]
    SectionTwice {
        /// The type.
        kind: u32,
        /// Where the second descriptor starts.
        offset: u64,
    },
    /// The table of kernel hashes lies outside of the page that is measured for it.
    #[error("the kernel hash table named at offset {offset:#x} is not inside the section measured for it")]
    HashTablePlace {
        /// Where the entry that names it starts.
        offset: u64,
    },
}

impl From<Truncated> for FirmwareError {
    fn from(Truncated { what, offset }: Truncated) -> Self {
        Self::Truncated { what, offset }
    }
}
