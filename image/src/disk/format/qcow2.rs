//! QEMU's format, version 3 (QEMU, docs/interop/qcow2.txt): one cluster of header, the counts of references, two levels of tables, data.
//!
//! Written here and not by `qemu-img`, whose file depends on its version; there is no snapshot, no backing file, no compression and no
//! optional feature in it.

use std::collections::BTreeMap;
use std::io::Write as _;

use super::super::output::Output;
use super::super::sparse::{BLOCK, Sparse};
use super::FormatError;

const CLUSTER_BITS: u32 = BLOCK.trailing_zeros();
/// Entries of eight bytes in a cluster of tables.
const ENTRIES: u64 = BLOCK / 8;
/// Counts of two bytes in a cluster: one such cluster suffices for what [`FormatError::TooMuch`] does not refuse.
const COUNTS: u64 = BLOCK / 2;
const REFCOUNT_TABLE: u64 = 1;
const REFCOUNTS: u64 = 2;
const L1_TABLE: u64 = 3;
const L2_TABLES: u64 = 4;
/// The cluster is referred to once.
const COPIED: u64 = 1 << 63;

pub(super) fn write(disk: &Sparse, output: &mut Output) -> Result<(), FormatError> {
    let tables = disk.length().div_ceil(BLOCK * ENTRIES);
    let l2 = level_2(disk);
    let data = L2_TABLES + l2.len() as u64;
    let clusters = data + disk.blocks().count() as u64;
    if clusters > COUNTS || tables > ENTRIES {
        return Err(FormatError::TooMuch);
    }
    cluster(output, &header(disk.length(), u32::try_from(tables).map_err(|_| FormatError::TooMuch)?))?;
    cluster(output, &(REFCOUNTS * BLOCK).to_be_bytes())?;
    cluster(output, &(0..clusters).flat_map(|_| 1_u16.to_be_bytes()).collect::<Vec<_>>())?;
    let places: BTreeMap<u64, u64> = l2.keys().copied().zip(L2_TABLES..).collect();
    let l1 = (0..tables).flat_map(|table| entry(places.get(&table).copied()));
    cluster(output, &l1.collect::<Vec<_>>())?;
    for used in l2.values() {
        let entries = (0..ENTRIES).flat_map(|place| entry(used.get(&place).map(|number| data + number)));
        cluster(output, &entries.collect::<Vec<_>>())?;
    }
    for (_, block) in disk.blocks() {
        output.write_all(block)?;
    }
    Ok(())
}

/// For each table of the second level that is needed: its used places, and which of the data clusters they stand for.
fn level_2(disk: &Sparse) -> BTreeMap<u64, BTreeMap<u64, u64>> {
    let mut tables: BTreeMap<u64, BTreeMap<u64, u64>> = BTreeMap::new();
    for (number, (offset, _)) in (0..).zip(disk.blocks()) {
        let cluster = offset / BLOCK;
        tables.entry(cluster / ENTRIES).or_default().insert(cluster % ENTRIES, number);
    }
    tables
}

fn entry(cluster: Option<u64>) -> [u8; 8] {
    cluster.map_or(0, |cluster| (cluster * BLOCK) | COPIED).to_be_bytes()
}

fn header(length: u64, tables: u32) -> Vec<u8> {
    const VERSION: u32 = 3;
    const COUNT_BITS_ORDER: u32 = 4; // counts of 16 bits
    const HEADER_LENGTH: u32 = 104;
    let mut header = b"QFI\xfb".to_vec();
    header.extend(VERSION.to_be_bytes());
    header.extend([0; 12]); // no backing file
    header.extend(CLUSTER_BITS.to_be_bytes());
    header.extend(length.to_be_bytes());
    header.extend([0; 4]); // not encrypted
    header.extend(tables.to_be_bytes());
    header.extend((L1_TABLE * BLOCK).to_be_bytes());
    header.extend((REFCOUNT_TABLE * BLOCK).to_be_bytes());
    header.extend(1_u32.to_be_bytes()); // clusters of that table
    header.extend([0; 12]); // no snapshots
    header.extend([0; 24]); // no features
    header.extend(COUNT_BITS_ORDER.to_be_bytes());
    header.extend(HEADER_LENGTH.to_be_bytes());
    header
}

/// Writes bytes, and zeros up to the end of a cluster.
fn cluster(output: &mut Output, bytes: &[u8]) -> Result<(), FormatError> {
    output.write_all(bytes)?;
    Ok(output.zeros(output.length().next_multiple_of(BLOCK) - output.length())?)
}
