//! A disk in memory that holds only what is not zero, so that a gigabyte of disk costs what lies on it.

use std::collections::BTreeMap;
use std::io::{self, Error, ErrorKind, Read, Seek, SeekFrom, Write};

use sha2::{Digest as _, Sha256};

/// Bytes of a mebibyte, the unit of partitions and disks here.
pub const MIB: u64 = 1024 * 1024;
/// Bytes that are held, or not, together. A qcow2 file has clusters of the same size.
pub const BLOCK: u64 = 64 * 1024;
const BLOCK_LENGTH: usize = 64 * 1024;
static ZEROS: [u8; BLOCK_LENGTH] = [0; BLOCK_LENGTH];

/// A disk of fixed length. What was never written reads as zeros; a write past the end is refused.
#[derive(Debug)]
pub struct Sparse {
    length: u64,
    position: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Sparse {
    /// A disk of zeros of this many mebibytes.
    #[must_use]
    pub fn of_mib(mib: u64) -> Self {
        Self { length: mib.saturating_mul(MIB), position: 0, blocks: BTreeMap::new() }
    }

    /// Its length in bytes, a multiple of [`MIB`].
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The blocks of [`BLOCK`] bytes that are not all zeros, each with its offset, in order: what they are depends on the bytes of the
    /// disk alone, not on how it was written.
    pub fn blocks(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let held = self.blocks.iter().map(|(number, block)| (number.saturating_mul(BLOCK), block.as_slice()));
        held.filter(|(_, block)| !is_zero(block))
    }

    /// The same as ranges `(offset, length)`, joined where they touch.
    #[must_use]
    pub fn ranges(&self) -> Vec<(u64, u64)> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for (offset, _) in self.blocks() {
            match ranges.last_mut() {
                Some((start, length)) if *start + *length == offset => *length += BLOCK,
                _ => ranges.push((offset, BLOCK)),
            }
        }
        ranges
    }

    /// SHA-256 of the whole disk, zeros included.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        let mut at = 0;
        for (offset, block) in self.blocks() {
            zeros(offset - at, |zeros| digest.update(zeros));
            digest.update(block);
            at = offset + BLOCK;
        }
        zeros(self.length.saturating_sub(at), |zeros| digest.update(zeros));
        digest.finalize().into()
    }

    /// Writes another disk's bytes from `offset` on.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn copy(&mut self, offset: u64, from: &Self) -> io::Result<()> {
        for (start, block) in from.blocks() {
            self.seek(SeekFrom::Start(offset + start))?;
            self.write_all(block)?;
        }
        Ok(())
    }

    /// Number of the block at the position, the place in it, and how many of `wanted` bytes it has.
    fn place(&self, wanted: usize) -> (u64, usize, usize) {
        let place = usize::try_from(self.position % BLOCK).unwrap_or_default();
        let left = usize::try_from(self.length.saturating_sub(self.position)).unwrap_or(usize::MAX);
        (self.position / BLOCK, place, wanted.min(BLOCK_LENGTH - place).min(left))
    }
}

/// Gives `take` this many zeros, in pieces.
pub fn zeros(mut count: u64, mut take: impl FnMut(&[u8])) {
    while count > 0 {
        let piece = usize::try_from(count).unwrap_or(usize::MAX).min(BLOCK_LENGTH);
        take(ZEROS.get(..piece).unwrap_or(&ZEROS));
        count -= piece as u64;
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

impl Read for Sparse {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (number, place, count) = self.place(buffer.len());
        let Some(buffer) = buffer.get_mut(..count) else { return Ok(0) };
        match self.blocks.get(&number).and_then(|block| block.get(place..place + count)) {
            Some(bytes) => buffer.copy_from_slice(bytes),
            None => buffer.fill(0),
        }
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for Sparse {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (number, place, count) = self.place(bytes.len());
        let Some(bytes) = bytes.get(..count) else { return Ok(0) };
        // Zeros need no block of their own: formatters clear whole tables.
        if self.blocks.contains_key(&number) || !is_zero(bytes) {
            let block = self.blocks.entry(number).or_insert_with(|| ZEROS.to_vec());
            if let Some(target) = block.get_mut(place..place + count) {
                target.copy_from_slice(bytes);
            }
        }
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or_else(|| Error::from(ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(at: u64, bytes: &[u8]) -> Sparse {
        let mut disk = Sparse::of_mib(1);
        disk.seek(SeekFrom::Start(at)).unwrap();
        disk.write_all(bytes).unwrap();
        disk
    }

    fn all(disk: &mut Sparse) -> Vec<u8> {
        let mut bytes = Vec::new();
        disk.seek(SeekFrom::Start(0)).unwrap();
        disk.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_is_written_across_blocks_reads_back_between_zeros() {
        let mut disk = written(BLOCK - 3, b"across");
        let bytes = all(&mut disk);
        assert_eq!(bytes.len() as u64, MIB);
        assert_eq!(&bytes[BLOCK_LENGTH - 4..BLOCK_LENGTH + 4], b"\0across\0");
        assert_eq!(disk.ranges(), [(0, 2 * BLOCK)]);
    }

    #[test]
    fn zeros_take_no_room_and_a_block_that_became_zero_does_not_count() {
        assert!(written(0, &[0; 3 * BLOCK_LENGTH]).blocks.is_empty());
        let mut disk = written(5 * BLOCK, b"x");
        assert_eq!(disk.ranges(), [(5 * BLOCK, BLOCK)]);
        disk.seek(SeekFrom::Start(5 * BLOCK)).unwrap();
        disk.write_all(b"\0").unwrap();
        assert_eq!(disk.ranges(), []);
    }

    #[test]
    fn a_write_past_the_end_is_refused() {
        let mut disk = written(MIB - 1, b"x");
        assert_eq!(disk.write_all(b"y").unwrap_err().kind(), ErrorKind::WriteZero);
        disk.seek(SeekFrom::Start(u64::MAX)).unwrap();
        assert!(disk.write_all(b"y").is_err());
        assert_eq!(disk.read(&mut [0]).unwrap(), 0);
        assert!(disk.seek(SeekFrom::End(-(MIB as i64) - 1)).is_err());
    }

    #[test]
    fn the_digest_is_the_one_of_all_bytes() {
        let mut disk = written(7 * BLOCK + 9, b"somewhere");
        assert_eq!(disk.sha256(), <[u8; 32]>::from(Sha256::digest(all(&mut disk))));
        assert_ne!(disk.sha256(), Sparse::of_mib(1).sha256());
    }

    #[test]
    fn a_disk_copied_into_another_lies_at_its_offset_and_must_fit() {
        let part = written(10, b"part");
        let mut whole = Sparse::of_mib(3);
        whole.copy(MIB, &part).unwrap();
        assert_eq!(&all(&mut whole)[MIB as usize + 10..][..5], b"part\0");
        assert!(Sparse::of_mib(1).copy(MIB, &part).is_err());
    }
}
