//! The few facts of a PE file that decide its digest. The file is hostile: every offset is checked before it is used.

use std::ops::Range;

/// More sections than any loader takes (the format's own limit for images is 96).
const SECTIONS: u16 = 96;
const SECTION_HEADER: u64 = 40;
/// Offset of the checksum in both forms of the optional header.
const CHECKSUM: u64 = 64;
/// Index of the certificate table among the data directories.
const CERTIFICATES: u32 = 4;

/// Why a file has no well-defined digest. Offsets are in bytes from the start of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeError {
    /// The file ends inside a structure.
    #[error("file ends inside the {what} at offset {offset:#x}")]
    Truncated {
        /// The structure.
        what: &'static str,
        /// Where it starts.
        offset: u64,
    },
    /// A magic number is not what it must be.
    #[error("no {what} at offset {offset:#x}")]
    Magic {
        /// What should be there.
        what: &'static str,
        /// Where.
        offset: u64,
    },
    /// More sections than the format allows.
    #[error("{count} sections (at offset {offset:#x}) are more than a PE image can have")]
    TooManySections {
        /// What the header says.
        count: u16,
        /// Where it says so.
        offset: u64,
    },
    /// A size in a header does not fit what it describes.
    #[error("{what} at offset {offset:#x} has an impossible size")]
    Size {
        /// What is described.
        what: &'static str,
        /// Where the size stands.
        offset: u64,
    },
    /// A section starts before the part in front of it (headers or section) ends.
    #[error("section data at offset {offset:#x} overlaps the part before it")]
    Overlap {
        /// Where the section's data start.
        offset: u64,
    },
    /// Bytes lie between two parts; implementations differ in whether they are hashed.
    #[error("section data at offset {offset:#x} leaves a gap behind the part before it")]
    Gap {
        /// Where the section's data start.
        offset: u64,
    },
    /// Certificates do not stand at the very end of the file.
    #[error("certificate table at offset {offset:#x} is not the end of the file")]
    CertificatesNotLast {
        /// Where the table starts.
        offset: u64,
    },
}

/// Where the measured and the left-out parts of a PE file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Four bytes of checksum, left out.
    checksum: Range<u64>,
    /// Eight bytes of data directory entry, left out; none in an image with fewer directories.
    certificate_entry: Option<Range<u64>>,
    /// Where the measured part ends: the certificates, or the end of the file.
    end: u64,
}

impl Layout {
    /// Reads the headers and checks that they cover the file without contradiction.
    ///
    /// # Errors
    /// [`PeError`] with the offset of the first contradiction.
    pub fn parse(file: &[u8]) -> Result<Self, PeError> {
        let reader = Reader { file };
        let headers = Headers::read(&reader)?;
        let length = file.len() as u64;
        if headers.size > length {
            return Err(PeError::Size { what: "size of headers", offset: headers.size_at });
        }
        let sections = headers.sections(&reader)?;
        let table_end = headers.section_table + SECTION_HEADER * u64::from(headers.section_count);
        if table_end > headers.size {
            return Err(PeError::Size { what: "size of headers", offset: headers.size_at });
        }
        let data_end = contiguous(headers.size, &sections, length)?;
        let end = headers.measured_end(data_end, length)?;
        Ok(Self { checksum: headers.checksum..headers.checksum + 4, certificate_entry: headers.certificate_entry, end })
    }

    /// The parts of `file` a digest covers, in order.
    ///
    /// # Errors
    /// [`PeError::Truncated`] if `file` is not the file this layout was read from.
    pub fn measured<'a>(&self, file: &'a [u8]) -> Result<Vec<&'a [u8]>, PeError> {
        let reader = Reader { file };
        let mut parts = Vec::with_capacity(3);
        let mut start = 0;
        for left_out in std::iter::once(&self.checksum).chain(&self.certificate_entry) {
            parts.push(reader.bytes("measured part", start, left_out.start - start)?);
            start = left_out.end;
        }
        parts.push(reader.bytes("measured part", start, self.end - start)?);
        Ok(parts)
    }
}

/// The headers, read once.
struct Headers {
    checksum: u64,
    size: u64,
    size_at: u64,
    section_count: u16,
    section_table: u64,
    certificate_entry: Option<Range<u64>>,
    /// Offset and size of the certificate table; `(0, 0)` is none.
    certificates: (u64, u64),
}

impl Headers {
    fn read(reader: &Reader<'_>) -> Result<Self, PeError> {
        if reader.bytes("DOS header", 0, 64)?.get(..2) != Some(b"MZ") {
            return Err(PeError::Magic { what: "DOS signature", offset: 0 });
        }
        let pe = u64::from(reader.u32("DOS header", 60)?);
        if reader.bytes("PE signature", pe, 4)? != b"PE\0\0" {
            return Err(PeError::Magic { what: "PE signature", offset: pe });
        }
        let coff = pe + 4;
        let section_count = reader.u16("COFF header", coff + 2)?;
        if section_count > SECTIONS {
            return Err(PeError::TooManySections { count: section_count, offset: coff + 2 });
        }
        let optional_size = u64::from(reader.u16("COFF header", coff + 16)?);
        let optional = coff + 20;
        let directory_count_at = match reader.u16("optional header", optional)? {
            0x10b => optional + 92,
            0x20b => optional + 108,
            _ => return Err(PeError::Magic { what: "optional header of PE32 or PE32+", offset: optional }),
        };
        let directories = directory_count_at + 4;
        let too_small = PeError::Size { what: "optional header", offset: coff + 16 };
        if optional + optional_size < directories {
            return Err(too_small);
        }
        let directory_count = reader.u32("optional header", directory_count_at)?;
        if directories + 8 * u64::from(directory_count) > optional + optional_size {
            return Err(PeError::Size { what: "number of data directories", offset: directory_count_at });
        }
        let entry = directories + 8 * u64::from(CERTIFICATES);
        let has_entry = directory_count > CERTIFICATES;
        let certificates = if has_entry {
            (
                reader.u32("certificate table entry", entry)?.into(),
                reader.u32("certificate table entry", entry + 4)?.into(),
            )
        } else {
            (0, 0)
        };
        let checksum = optional + CHECKSUM;
        let size_at = optional + 60;
        Ok(Self {
            checksum,
            size: reader.u32("optional header", size_at)?.into(),
            size_at,
            section_count,
            section_table: optional + optional_size,
            certificate_entry: has_entry.then_some(entry..entry + 8),
            certificates,
        })
    }

    /// Offset and size of the data of every section that has some, in order of the offsets.
    fn sections(&self, reader: &Reader<'_>) -> Result<Vec<(u64, u64)>, PeError> {
        let mut sections = Vec::with_capacity(self.section_count.into());
        for index in 0..u64::from(self.section_count) {
            let header = self.section_table + SECTION_HEADER * index;
            let size = u64::from(reader.u32("section header", header + 16)?);
            let offset = u64::from(reader.u32("section header", header + 20)?);
            if size != 0 {
                sections.push((offset, size));
            }
        }
        sections.sort_unstable();
        Ok(sections)
    }

    /// Bytes behind the last section are measured too, up to the certificates, which must be the last thing in the file.
    fn measured_end(&self, data_end: u64, length: u64) -> Result<u64, PeError> {
        match self.certificates {
            (_, 0) => Ok(length),
            (offset, size) if offset + size != length => Err(PeError::CertificatesNotLast { offset }),
            (offset, _) if offset < data_end => Err(PeError::Overlap { offset }),
            (offset, _) => Ok(offset),
        }
    }
}

/// Checks that headers and sections follow each other without overlap or gap; gives the end of the last.
fn contiguous(headers: u64, sections: &[(u64, u64)], length: u64) -> Result<u64, PeError> {
    let mut end = headers;
    for &(offset, size) in sections {
        if offset < end {
            return Err(PeError::Overlap { offset });
        }
        if offset > end {
            return Err(PeError::Gap { offset });
        }
        end = offset + size;
        if end > length {
            return Err(PeError::Truncated { what: "section data", offset });
        }
    }
    Ok(end)
}

struct Reader<'a> {
    file: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&self, what: &'static str, offset: u64, count: u64) -> Result<&'a [u8], PeError> {
        let truncated = PeError::Truncated { what, offset };
        let end = offset.checked_add(count).ok_or(truncated)?;
        let (Ok(start), Ok(end)) = (usize::try_from(offset), usize::try_from(end)) else { return Err(truncated) };
        self.file.get(start..end).ok_or(truncated)
    }

    fn u16(&self, what: &'static str, offset: u64) -> Result<u16, PeError> {
        match self.bytes(what, offset, 2)? {
            &[a, b] => Ok(u16::from_le_bytes([a, b])),
            _ => Err(PeError::Truncated { what, offset }),
        }
    }

    fn u32(&self, what: &'static str, offset: u64) -> Result<u32, PeError> {
        match self.bytes(what, offset, 4)? {
            &[a, b, c, d] => Ok(u32::from_le_bytes([a, b, c, d])),
            _ => Err(PeError::Truncated { what, offset }),
        }
    }
}
