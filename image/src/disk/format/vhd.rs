//! A fixed VHD: the disk's bytes and a footer (Microsoft, "Virtual Hard Disk Image Format Specification", version 1.0).

use std::io::{self, Write as _};

use super::super::output::Output;
use super::super::sparse::Sparse;

const FEATURES: u32 = 2; // the bit that is always set
const VERSION: u32 = 0x0001_0000;
const NO_DYNAMIC_HEADER: u64 = u64::MAX;
/// Creator and geometry as `qemu-img convert -o force_size` writes them, which Azure's own instructions ask for: readers then go by the
/// size, and not by cylinders, heads and sectors, which would cut the end off.
const CREATOR: &[u8; 4] = b"qem2";
const CREATOR_VERSION: u32 = 0x0005_0003;
const CREATOR_SYSTEM: &[u8; 4] = b"Wi2k";
/// The largest that can be expressed: 65,535 cylinders, 16 heads, 255 sectors. It stands for "go by the size".
const GEOMETRY: [u8; 4] = [0xff, 0xff, 16, 255];
const FIXED: u32 = 2;

pub(super) fn write(disk: &Sparse, sha256: &[u8; 32], output: &mut Output) -> io::Result<()> {
    output.disk(disk)?;
    output.write_all(&footer(disk.length(), sha256))
}

fn footer(length: u64, sha256: &[u8; 32]) -> [u8; 512] {
    let mut fields = b"conectix".to_vec();
    fields.extend(FEATURES.to_be_bytes());
    fields.extend(VERSION.to_be_bytes());
    fields.extend(NO_DYNAMIC_HEADER.to_be_bytes());
    fields.extend([0; 4]); // made at the first second that can be expressed
    fields.extend(CREATOR);
    fields.extend(CREATOR_VERSION.to_be_bytes());
    fields.extend(CREATOR_SYSTEM);
    fields.extend(length.to_be_bytes());
    fields.extend(length.to_be_bytes());
    fields.extend(GEOMETRY);
    fields.extend(FIXED.to_be_bytes());
    let checksum_at = fields.len();
    fields.extend([0; 4]);
    fields.extend(identifier(sha256));
    let sum: u32 = fields.iter().map(|byte| u32::from(*byte)).sum();
    let mut footer = [0; 512];
    for (target, byte) in footer.iter_mut().zip(fields) {
        *target = byte;
    }
    for (target, byte) in footer.iter_mut().skip(checksum_at).zip((!sum).to_be_bytes()) {
        *target = byte;
    }
    footer
}

/// An identifier that belongs to the disk's bytes: a UUID of version 8 (RFC 9562, section 5.8).
fn identifier(sha256: &[u8; 32]) -> [u8; 16] {
    let mut identifier = [0; 16];
    for (number, (target, byte)) in identifier.iter_mut().zip(sha256).enumerate() {
        *target = match number {
            6 => 0x80 | (byte & 0x0f),
            8 => 0x80 | (byte & 0x3f),
            _ => *byte,
        };
    }
    identifier
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_footer_sums_up_to_its_own_checksum() {
        let footer = footer(1 << 30, &[7; 32]);
        assert_eq!(footer.len(), 512);
        assert_eq!(&footer[..8], b"conectix");
        let stored = u32::from_be_bytes(footer[64..68].try_into().unwrap());
        let others = footer[..64].iter().chain(&footer[68..]);
        assert_eq!(stored, !others.map(|byte| u32::from(*byte)).sum::<u32>());
    }

    #[test]
    fn another_disk_has_another_identifier() {
        assert_ne!(identifier(&[1; 32]), identifier(&[2; 32]));
        assert_eq!(identifier(&[0xff; 32])[6..9], [0x8f, 0xff, 0xbf]);
    }
}
