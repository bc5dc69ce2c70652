//! The certificate table that a host hands to its guest: somebody else's bytes, walked with checked slices.
//!
//! Source: AMD publication 56421, "Guest-Hypervisor Communication Block Standardization", section 4.1.8.1: entries of a GUID in
//! the byte order of RFC 9562, an offset and a length, both little-endian from the table's start; an entry of zeros ends it.

use crate::cursor::{Cursor, all_zero};

/// The two kinds of endorsement certificates.
const ENDORSEMENTS: [[u8; 16]; 2] = [
    [0x63, 0xda, 0x75, 0x8d, 0xe6, 0x64, 0x45, 0x64, 0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac, 0xcd],
    [0xa8, 0x07, 0x4b, 0xc2, 0xa2, 0x5a, 0x48, 0x3e, 0xaa, 0xe6, 0x39, 0xc0, 0x45, 0xa0, 0xb8, 0xa1],
];
/// More entries than a table has.
const MAX_ENTRIES: usize = 32;

/// The VCEK or VLEK certificate in a host's table, if it is there. Nothing about it is verified.
#[must_use]
pub fn certificate_in_table(table: &[u8]) -> Option<&[u8]> {
    let mut at = Cursor::new(table);
    for _ in 0..MAX_ENTRIES {
        let guid: [u8; 16] = at.array()?;
        let (offset, length) = (usize::try_from(at.u32_le()?).ok()?, usize::try_from(at.u32_le()?).ok()?);
        if all_zero(&guid) {
            return None;
        }
        if ENDORSEMENTS.contains(&guid) {
            return table.get(offset..offset.checked_add(length)?).filter(|bytes| !bytes.is_empty());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[([u8; 16], u32, u32)], data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (guid, offset, length) in entries {
            bytes.extend(guid);
            bytes.extend(offset.to_le_bytes());
            bytes.extend(length.to_le_bytes());
        }
        bytes.extend([0; 24]);
        bytes.extend(data);
        bytes
    }

    #[test]
    fn the_endorsement_is_found_and_nothing_behind_the_end_is_read() {
        let [vcek, vlek] = ENDORSEMENTS;
        let other = [7; 16];
        let good = table(&[(other, 0, 9), (vcek, 72, 4)], b"DATAmore");
        assert_eq!(certificate_in_table(&good), Some(b"DATA".as_slice()));
        assert_eq!(certificate_in_table(&table(&[(vlek, 48, 1)], b"D")), Some(b"D".as_slice()));
        for bad in [
            table(&[(other, 48, 4)], b"DATA"),
            table(&[(vcek, 48, 5)], b"DATA"),
            table(&[(vcek, u32::MAX, u32::MAX)], b"DATA"),
            table(&[(vcek, 48, 0)], b"DATA"),
            Vec::new(),
            vec![1; 100],
        ] {
            assert_eq!(certificate_in_table(&bad), None);
        }
    }
}
