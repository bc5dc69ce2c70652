//! `disk.raw` alone in a compressed archive of the old GNU form, as Google's cloud imports disks; holes are a map in its header.

use std::io::{self, Read as _, Write};

use flate2::{Compression, GzBuilder};
use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use super::super::output::Output;
use super::super::sparse::Sparse;

/// The one name that is accepted.
const NAME: &str = "disk.raw";
/// RFC 1952: the system is not known.
const NO_SYSTEM: u8 = 255;
/// Ranges in the header itself, and in each header behind it.
const FIRST: usize = 4;
const FOLLOWING: usize = 21;

pub(super) fn write(disk: &Sparse, output: &mut Output) -> io::Result<()> {
    let compressed = GzBuilder::new().mtime(0).operating_system(NO_SYSTEM).write(output, Compression::new(6));
    let mut archive = tar::Builder::new(compressed);
    let ranges = disk.ranges();
    let (header, following) = headers(disk.length(), &ranges)?;
    let data = Blocks { blocks: disk.blocks().map(|(_, block)| block).collect(), place: 0 };
    archive.append(&header, following.as_slice().chain(data))?;
    archive.into_inner()?.finish()?.flush()
}

/// The header, and what stands between it and the data when it has more than four ranges.
fn headers(length: u64, ranges: &[(u64, u64)]) -> io::Result<(Header, Vec<u8>)> {
    let mut ranges = ranges.to_vec();
    // A hole at the end is a range of no length there; readers take the file's length from it.
    if ranges.last().is_none_or(|(offset, count)| offset + count < length) {
        ranges.push((length, 0));
    }
    let mut header = Header::new_gnu();
    header.set_path(NAME)?;
    header.set_entry_type(EntryType::GNUSparse);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(ranges.iter().map(|(_, count)| count).sum());
    let (first, rest) = ranges.split_at(ranges.len().min(FIRST));
    if let Some(gnu) = header.as_gnu_mut() {
        gnu.set_real_size(length);
        gnu.set_is_extended(!rest.is_empty());
        fill(&mut gnu.sparse, first);
    }
    header.set_cksum();
    let mut following = Vec::new();
    let mut pieces = rest.chunks(FOLLOWING).peekable();
    while let Some(piece) = pieces.next() {
        let mut more = GnuExtSparseHeader::new();
        more.set_is_extended(pieces.peek().is_some());
        fill(more.sparse_mut(), piece);
        following.extend_from_slice(more.as_bytes());
    }
    Ok((header, following))
}

fn fill(places: &mut [GnuSparseHeader], ranges: &[(u64, u64)]) {
    for (place, (offset, count)) in places.iter_mut().zip(ranges) {
        place.set_offset(*offset);
        place.set_length(*count);
    }
}

/// The disk's blocks as one stream.
struct Blocks<'a> {
    blocks: Vec<&'a [u8]>,
    place: usize,
}

impl io::Read for Blocks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(block) = self.blocks.get_mut(self.place) else { return Ok(0) };
        let count = block.read(buffer)?;
        if block.is_empty() {
            self.place += 1;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every range that a reader of the archive would see.
    fn read_back(header: &Header, following: &[u8]) -> Vec<(u64, u64)> {
        let text = |field: &[u8]| u64::from_str_radix(std::str::from_utf8(&field[..11]).unwrap(), 8);
        let bytes = header.as_bytes();
        let maps = bytes[386..386 + 24 * FIRST].chunks(24);
        let more = following.chunks(512).flat_map(|block| block[..24 * FOLLOWING].chunks(24));
        maps.chain(more).filter_map(|map| Some((text(&map[..12]).ok()?, text(&map[12..]).ok()?))).collect()
    }

    #[test]
    fn any_number_of_ranges_is_in_the_headers() {
        for count in [0, 1, 3, 4, 5, 24, 25, 26, 100] {
            let ranges: Vec<_> = (0..count).map(|number| (number * 131_072, 65_536)).collect();
            let (header, following) = headers(1 << 30, &ranges).unwrap();
            let found = read_back(&header, &following);
            assert_eq!(found.len() as u64, count + 1, "and the hole at the end");
            assert_eq!(found[..ranges.len()], ranges);
            assert_eq!(found.last(), Some(&(1 << 30, 0)));
            assert_eq!(header.size().unwrap(), 1 << 30, "what the file has when it is unpacked");
            assert_eq!(header.entry_size().unwrap(), count * 65_536, "what the archive holds of it");
        }
    }

    #[test]
    fn a_disk_that_is_used_to_its_end_has_no_hole_there() {
        let (header, following) = headers(131_072, &[(65_536, 65_536)]).unwrap();
        assert_eq!(read_back(&header, &following), [(65_536, 65_536)]);
    }
}
