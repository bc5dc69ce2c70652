//! The GUID partition table, its copy at the end, and the MBR that protects both (UEFI 2.10, chapter 5).

use std::collections::BTreeMap;

use gpt::mbr::{MBRError, ProtectiveMBR};
use gpt::partition::Partition;
use gpt::partition_types::{EFI, OperatingSystem, Type};
use gpt::{GptConfig, GptError};

use super::layout::{self, Extent, Layout, SECTOR};
use super::sparse::Sparse;

/// Why the table cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The MBR.
    #[error("cannot write the protective MBR")]
    Mbr(#[source] MBRError),
    /// The table.
    #[error("cannot write the partition table")]
    Gpt(#[source] GptError),
}

/// The partitions of a layout by their numbers.
#[must_use]
pub fn partitions(layout: &Layout) -> BTreeMap<u32, Partition> {
    let mut list = BTreeMap::from([(1, partition(layout::ESP_NAME, EFI, layout::ESP, layout.esp))]);
    if let Some(extent) = layout.document {
        let kind = Type { guid: layout::DOCUMENT_TYPE, os: OperatingSystem::None };
        list.insert(2, partition(layout::DOCUMENT_NAME, kind, layout::DOCUMENT, extent));
    }
    list
}

fn partition(name: &str, part_type_guid: Type, part_guid: uuid::Uuid, extent: Extent) -> Partition {
    let (first_lba, last_lba) = extent.sectors();
    Partition { part_type_guid, part_guid, first_lba, last_lba, flags: 0, name: name.to_owned() }
}

/// Writes MBR, table and its copy.
///
/// # Errors
/// [`TableError`] if the disk is too small for them.
pub fn write(disk: &mut Sparse, layout: &Layout) -> Result<(), TableError> {
    let protected = u32::try_from((disk.length() / SECTOR).saturating_sub(1)).unwrap_or(u32::MAX);
    ProtectiveMBR::with_lb_size(protected).overwrite_lba0(disk).map_err(TableError::Mbr)?;
    // The crate's own way to add a partition draws a random identifier; this one takes ours.
    let config = GptConfig::new().writable(true);
    let mut table = config.create_from_device(disk, Some(layout::DISK)).map_err(TableError::Gpt)?;
    table.update_partitions(partitions(layout)).map_err(TableError::Gpt)?;
    table.write().map_err(TableError::Gpt)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::layout::DiskMib;
    use super::*;

    fn written(document: bool) -> (Layout, Sparse) {
        let layout = Layout::new(1, document, DiskMib(80)).unwrap();
        let mut disk = Sparse::of_mib(80);
        write(&mut disk, &layout).unwrap();
        (layout, disk)
    }

    #[test]
    fn both_tables_read_back_with_our_identifiers() {
        for document in [false, true] {
            let (layout, disk) = written(document);
            let table = GptConfig::new().only_valid_headers(true).open_from_device(disk).unwrap();
            assert_eq!(*table.guid(), layout::DISK);
            // Reading adds nothing but the names of systems, which are not on the disk.
            let found: Vec<_> = table.partitions().values().map(|part| (part.part_guid, part.first_lba)).collect();
            let expected: Vec<_> = partitions(&layout).values().map(|part| (part.part_guid, part.first_lba)).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_table_says_nothing_of_what_the_partitions_hold() {
        let (_, disk) = written(true);
        let other = Layout::new(40 << 20, true, DiskMib(80)).unwrap();
        let mut second = Sparse::of_mib(80);
        write(&mut second, &other).unwrap();
        assert_eq!(disk.sha256(), second.sha256(), "another image of another length");
        assert_ne!(disk.sha256(), written(false).1.sha256());
    }

    #[test]
    fn a_disk_without_room_for_the_tables_is_refused() {
        let layout = Layout::new(1, false, DiskMib(80)).unwrap();
        assert!(write(&mut Sparse::of_mib(0), &layout).is_err());
    }
}
