//! The document on a disk or partition: `LETHECFG`, its length in four little-endian bytes, the TOML bytes, zeros.
//!
//! The host writes this disk, so every byte is judged: a length that lies and anything behind the document are refused.

use crate::MAX_BYTES;

const MAGIC: &[u8; 8] = b"LETHECFG";
const HEADER: usize = MAGIC.len() + 4;
/// A disk's length is a multiple of its block.
const BLOCK: usize = 512;

/// Longest disk or partition that is read for a document, in bytes: the alignment of partitions.
pub const DISK_MAX_BYTES: usize = 1024 * 1024;

/// Why a disk carries no document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// The disk is longer than anybody needs for a document.
    #[error("the document's disk is {found_bytes} bytes long, at most {DISK_MAX_BYTES} are read")]
    TooLong {
        /// Its length.
        found_bytes: usize,
    },
    /// The magic is absent.
    #[error("the document's disk does not begin with LETHECFG")]
    Magic,
    /// The length names more bytes than a document may have, or than the disk has.
    #[error("the document's disk claims {claimed_bytes} bytes, it may have {allowed_bytes}")]
    Length {
        /// What the disk says.
        claimed_bytes: u32,
        /// What could be true.
        allowed_bytes: usize,
    },
    /// Something other than zeros follows the document.
    #[error("the document's disk has data behind the document, at byte {offset}")]
    Tail {
        /// Where, from the disk's first byte.
        offset: usize,
    },
}

/// The on-disk form of a document, filled with zeros to a whole block.
///
/// The bytes are not judged: what [`crate::parse`] refuses for its length, [`unwrap_disk`] refuses too.
#[must_use]
pub fn wrap_disk(toml: &[u8]) -> Vec<u8> {
    let length = u32::try_from(toml.len()).unwrap_or(u32::MAX);
    let mut disk = Vec::with_capacity((HEADER + toml.len()).next_multiple_of(BLOCK));
    disk.extend_from_slice(MAGIC);
    disk.extend_from_slice(&length.to_le_bytes());
    disk.extend_from_slice(toml);
    disk.resize(disk.len().next_multiple_of(BLOCK), 0);
    disk
}

/// The document's bytes in a disk's or partition's bytes; the digest is taken over exactly these.
///
/// # Errors
/// [`DiskError`] if the disk is not exactly a wrapped document.
pub fn unwrap_disk(bytes: &[u8]) -> Result<&[u8], DiskError> {
    if bytes.len() > DISK_MAX_BYTES {
        return Err(DiskError::TooLong { found_bytes: bytes.len() });
    }
    let rest = bytes.strip_prefix(MAGIC.as_slice()).ok_or(DiskError::Magic)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(DiskError::Magic)?;
    let claimed_bytes = u32::from_le_bytes(*length);
    let allowed_bytes = rest.len().min(MAX_BYTES);
    let (toml, tail) = usize::try_from(claimed_bytes)
        .ok()
        .filter(|claimed| *claimed <= allowed_bytes)
        .and_then(|claimed| rest.split_at_checked(claimed))
        .ok_or(DiskError::Length { claimed_bytes, allowed_bytes })?;
    match tail.iter().position(|byte| *byte != 0) {
        Some(position) => Err(DiskError::Tail { offset: HEADER + toml.len() + position }),
        None => Ok(toml),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_document_comes_back_byte_for_byte() {
        for length in [0, 1, 499, 500, 501, MAX_BYTES] {
            let toml = vec![b'x'; length];
            let disk = wrap_disk(&toml);
            assert_eq!(disk.len() % 512, 0);
            assert_eq!(unwrap_disk(&disk), Ok(toml.as_slice()), "{length}");
        }
    }

    #[test]
    fn a_longer_partition_of_zeros_changes_nothing() {
        let mut disk = wrap_disk(b"version = 1");
        disk.resize(DISK_MAX_BYTES, 0);
        assert_eq!(unwrap_disk(&disk), Ok(b"version = 1".as_slice()));
        disk.push(0);
        assert_eq!(unwrap_disk(&disk), Err(DiskError::TooLong { found_bytes: DISK_MAX_BYTES + 1 }));
    }

    #[test]
    fn a_disk_without_the_magic_is_refused() {
        let mut disk = wrap_disk(b"version = 1");
        disk[7] = b'H';
        assert_eq!(unwrap_disk(&disk), Err(DiskError::Magic));
        assert_eq!(unwrap_disk(b""), Err(DiskError::Magic));
        assert_eq!(unwrap_disk(b"LETHECFG\x01\0\0"), Err(DiskError::Magic));
    }

    #[test]
    fn a_length_that_lies_is_refused() {
        let mut disk = wrap_disk(b"version = 1");
        disk[8..12].copy_from_slice(&501_u32.to_le_bytes());
        assert_eq!(unwrap_disk(&disk), Err(DiskError::Length { claimed_bytes: 501, allowed_bytes: 500 }));
        disk[8..12].copy_from_slice(&10_u32.to_le_bytes());
        assert_eq!(unwrap_disk(&disk), Err(DiskError::Tail { offset: 22 }), "shorter: the last byte is left behind");
        disk[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(unwrap_disk(&disk), Err(DiskError::Length { claimed_bytes: u32::MAX, allowed_bytes: 500 }));
    }

    #[test]
    fn a_document_over_the_limit_is_refused() {
        let disk = wrap_disk(&vec![b' '; MAX_BYTES + 1]);
        assert_eq!(unwrap_disk(&disk), Err(DiskError::Length { claimed_bytes: 65_537, allowed_bytes: MAX_BYTES }));
    }

    #[test]
    fn anything_behind_the_document_is_refused() {
        let mut disk = wrap_disk(b"version = 1");
        let last = disk.len() - 1;
        disk[last] = 1;
        assert_eq!(unwrap_disk(&disk), Err(DiskError::Tail { offset: last }));
    }
}
