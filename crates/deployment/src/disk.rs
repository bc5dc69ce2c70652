//! The document on a disk or partition: `LETHECFG`, its length in four little-endian bytes, the TOML bytes, zeros.
//!
//! From the next whole block on, what vendors say about the platform may follow, in the same form behind `LETHEEND`: it goes into the
//! evidence as it is, for verifiers to judge. The host writes this disk, so every byte is judged: a length that lies and anything behind
//! the two are refused.

use crate::MAX_BYTES;

const MAGIC: &[u8; 8] = b"LETHECFG";
const ENDORSEMENTS: &[u8; 8] = b"LETHEEND";
const HEADER: usize = MAGIC.len() + 4;
/// A disk's length is a multiple of its block.
const BLOCK: usize = 512;

/// Longest disk or partition that is read for a document, in bytes: the alignment of partitions.
pub const DISK_MAX_BYTES: usize = 1024 * 1024;

/// Longest endorsements, in bytes: what AMD or Intel say about one platform is some tens of kilobytes.
pub const ENDORSEMENTS_MAX_BYTES: usize = 128 * 1024;
/// Longest file of sealed secrets, in bytes; `protocol` seals no longer one.
pub const SEALED_MAX_BYTES: usize = 64 * 1024;

/// What a disk carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wrapped<'a> {
    /// The document's bytes; the digest is taken over exactly these.
    pub toml: &'a [u8],
    /// What vendors say about the platform, unread.
    pub endorsements: Option<&'a [u8]>,
}

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
    /// Something follows the document that is neither zeros nor endorsements.
    #[error("the document's disk has data behind the document, at byte {offset}")]
    Tail {
        /// Where, from the disk's first byte.
        offset: usize,
    },
}

/// The on-disk form of a document and of endorsements, filled with zeros to a whole block.
///
/// The bytes are not judged: what [`crate::parse`] refuses for its length, [`unwrap_disk`] refuses too.
#[must_use]
pub fn wrap_disk(Wrapped { toml, endorsements }: Wrapped<'_>) -> Vec<u8> {
    let mut disk = Vec::new();
    for (magic, bytes) in std::iter::once((MAGIC, toml)).chain(endorsements.map(|bytes| (ENDORSEMENTS, bytes))) {
        disk.extend_from_slice(magic);
        disk.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        disk.extend_from_slice(bytes);
        disk.resize(disk.len().next_multiple_of(BLOCK), 0);
    }
    disk
}

/// What a disk's or partition's bytes carry.
///
/// # Errors
/// [`DiskError`] if the disk is not exactly a wrapped document, with or without endorsements.
pub fn unwrap_disk(bytes: &[u8]) -> Result<Wrapped<'_>, DiskError> {
    if bytes.len() > DISK_MAX_BYTES {
        return Err(DiskError::TooLong { found_bytes: bytes.len() });
    }
    let rest = bytes.strip_prefix(MAGIC.as_slice()).ok_or(DiskError::Magic)?;
    let (toml, tail) = counted(rest, MAX_BYTES)?;
    let padding = (HEADER + toml.len()).next_multiple_of(BLOCK) - HEADER - toml.len();
    let (padding, behind) = tail.split_at(padding.min(tail.len()));
    let start = HEADER + toml.len();
    zeros(padding, start)?;
    let start = start + padding.len();
    let Some(rest) = behind.strip_prefix(ENDORSEMENTS.as_slice()) else {
        return zeros(behind, start).map(|()| Wrapped { toml, endorsements: None });
    };
    let (endorsements, tail) = counted(rest, ENDORSEMENTS_MAX_BYTES)?;
    zeros(tail, start + HEADER + endorsements.len())?;
    Ok(Wrapped { toml, endorsements: Some(endorsements) })
}

/// Bytes behind their length, and what follows them.
fn counted(bytes: &[u8], most: usize) -> Result<(&[u8], &[u8]), DiskError> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(DiskError::Magic)?;
    let claimed_bytes = u32::from_le_bytes(*length);
    let allowed_bytes = rest.len().min(most);
    usize::try_from(claimed_bytes)
        .ok()
        .filter(|claimed| *claimed <= allowed_bytes)
        .and_then(|claimed| rest.split_at_checked(claimed))
        .ok_or(DiskError::Length { claimed_bytes, allowed_bytes })
}

/// Refuses anything but zeros; `start` is where `bytes` begin on the disk.
fn zeros(bytes: &[u8], start: usize) -> Result<(), DiskError> {
    match bytes.iter().position(|byte| *byte != 0) {
        Some(position) => Err(DiskError::Tail { offset: start + position }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(toml: &[u8]) -> Vec<u8> {
        wrap_disk(Wrapped { toml, endorsements: None })
    }

    fn toml(disk: &[u8]) -> Result<&[u8], DiskError> {
        unwrap_disk(disk).map(|wrapped| wrapped.toml)
    }

    #[test]
    fn a_wrapped_document_comes_back_byte_for_byte() {
        for length in [0, 1, 499, 500, 501, MAX_BYTES] {
            let document = vec![b'x'; length];
            let disk = wrap(&document);
            assert_eq!(disk.len() % 512, 0);
            assert_eq!(toml(&disk), Ok(document.as_slice()), "{length}");
        }
    }

    #[test]
    fn a_longer_partition_of_zeros_changes_nothing() {
        let mut disk = wrap(b"version = 1");
        disk.resize(DISK_MAX_BYTES, 0);
        assert_eq!(toml(&disk), Ok(b"version = 1".as_slice()));
        disk.push(0);
        assert_eq!(toml(&disk), Err(DiskError::TooLong { found_bytes: DISK_MAX_BYTES + 1 }));
    }

    #[test]
    fn a_disk_without_the_magic_is_refused() {
        let mut disk = wrap(b"version = 1");
        disk[7] = b'H';
        assert_eq!(toml(&disk), Err(DiskError::Magic));
        assert_eq!(toml(b""), Err(DiskError::Magic));
        assert_eq!(toml(b"LETHECFG\x01\0\0"), Err(DiskError::Magic));
    }

    #[test]
    fn a_length_that_lies_is_refused() {
        let mut disk = wrap(b"version = 1");
        disk[8..12].copy_from_slice(&501_u32.to_le_bytes());
        assert_eq!(toml(&disk), Err(DiskError::Length { claimed_bytes: 501, allowed_bytes: 500 }));
        disk[8..12].copy_from_slice(&10_u32.to_le_bytes());
        assert_eq!(toml(&disk), Err(DiskError::Tail { offset: 22 }), "shorter: the last byte is left behind");
        disk[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(toml(&disk), Err(DiskError::Length { claimed_bytes: u32::MAX, allowed_bytes: 500 }));
    }

    #[test]
    fn a_document_over_the_limit_is_refused() {
        let disk = wrap(&vec![b' '; MAX_BYTES + 1]);
        assert_eq!(toml(&disk), Err(DiskError::Length { claimed_bytes: 65_537, allowed_bytes: MAX_BYTES }));
    }

    #[test]
    fn anything_behind_the_document_is_refused() {
        let mut disk = wrap(b"version = 1");
        let last = disk.len() - 1;
        disk[last] = 1;
        assert_eq!(toml(&disk), Err(DiskError::Tail { offset: last }));
    }

    #[test]
    fn endorsements_follow_in_the_next_block_and_nothing_follows_them() {
        for length in [0, 1, 499, 500, 501, MAX_BYTES] {
            let (document, vendors) = (vec![b'x'; length], vec![7; ENDORSEMENTS_MAX_BYTES]);
            let wrapped = Wrapped { toml: &document, endorsements: Some(&vendors) };
            let mut disk = wrap_disk(wrapped);
            assert_eq!(unwrap_disk(&disk), Ok(wrapped), "{length}");
            disk.resize(DISK_MAX_BYTES, 0);
            assert_eq!(unwrap_disk(&disk), Ok(wrapped), "{length}");
            *disk.last_mut().unwrap() = 1;
            assert_eq!(unwrap_disk(&disk), Err(DiskError::Tail { offset: DISK_MAX_BYTES - 1 }), "{length}");
        }
    }

    #[test]
    fn endorsements_over_the_limit_or_at_another_place_are_refused() {
        let long = vec![7; ENDORSEMENTS_MAX_BYTES + 1];
        let disk = wrap_disk(Wrapped { toml: b"x", endorsements: Some(&long) });
        let allowed_bytes = ENDORSEMENTS_MAX_BYTES;
        assert_eq!(unwrap_disk(&disk), Err(DiskError::Length { claimed_bytes: 131_073, allowed_bytes }));
        let mut disk = wrap_disk(Wrapped { toml: b"x", endorsements: Some(b"vendors") });
        disk.insert(20, 0);
        assert_eq!(unwrap_disk(&disk), Err(DiskError::Tail { offset: 513 }));
        disk.remove(20);
        disk[520..524].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(unwrap_disk(&disk), Err(DiskError::Length { .. })));
    }
}
