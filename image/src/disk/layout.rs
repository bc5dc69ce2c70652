//! Where things lie on the disk, in whole mebibytes, and the names and numbers that never change.
//!
//! Firmware measures the partition table (TPM PCR 5, TDX RTMR1). So it says nothing of what the partitions hold: the identifiers are
//! constants, and the table depends on the disk's size, the size of the EFI system partition and whether there is a document, alone.

use std::str::FromStr;

use uuid::Uuid;

use super::sparse::MIB;

/// The disk's identifier.
pub const DISK: Uuid = Uuid::from_u128(0x89f28172_e6b2_422a_992b_ebad2f9aff03);
/// Name of the EFI system partition.
pub const ESP_NAME: &str = "lethe-efi";
/// Identifier of the EFI system partition.
pub const ESP: Uuid = Uuid::from_u128(0x213139a0_2eac_4a65_ac8b_59d6ce8fa48b);
/// Name of the partition with the deployment document.
pub const DOCUMENT_NAME: &str = "lethe-config";
/// Identifier of the partition with the deployment document.
pub const DOCUMENT: Uuid = Uuid::from_u128(0x2c79ca80_4895_4ae4_b78c_c2c906ce26fb);
/// Type of the partition with the deployment document: one of our own, which no system mounts.
pub const DOCUMENT_TYPE: Uuid = Uuid::from_u128(0xc183bcae_ffaa_408f_9eb4_5badd29b0a45);
/// Serial number of the FAT file system.
pub const VOLUME_ID: u32 = 0x4c45_5448;
/// Label of the FAT file system, filled with spaces.
pub const VOLUME_LABEL: [u8; 11] = *b"LETHE      ";

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
/// Longest image that is put on a disk, in bytes.
pub const IMAGE_MAX_BYTES: u64 = 1024 * MIB;
/// Size of a disk unless told otherwise: Google's cloud counts in whole GiB, and AWS has no smaller volume, so that one partition table
/// is right everywhere.
pub const DEFAULT_MIB: u64 = 1024;
/// More than an MBR's 32 bits of sectors can protect.
const TOO_MANY_MIB: u64 = 2 * 1024 * 1024;
/// The table in front and its copy at the end have a mebibyte each, which is how partitions are aligned.
const EDGE_MIB: u64 = 1;
/// Exactly what the machine reads for a document (`deployment::DISK_MAX_BYTES`).
const DOCUMENT_MIB: u64 = 1;
/// UEFI wants FAT32, which begins at 65,525 clusters; with room for a larger image than today's.
const ESP_LEAST_MIB: u64 = 64;

/// A disk's size in MiB, written `512M` or `4G`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskMib(pub u64);

impl FromStr for DiskMib {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, unit) = match text.strip_suffix(['M', 'm']) {
            Some(number) => (number, 1),
            None => (text.strip_suffix(['G', 'g']).ok_or("write a size such as 512M or 4G")?, 1024),
        };
        // Not `parse` alone, which takes a sign.
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let mib = digits.then(|| number.parse::<u64>().ok()?.checked_mul(unit)).flatten();
        mib.filter(|mib| (1..TOO_MANY_MIB).contains(mib)).map(Self).ok_or("between 1M and 2047G")
    }
}

/// Why a disk cannot be laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The image is longer than anybody needs.
    #[error("the image has {found_bytes} bytes, at most {IMAGE_MAX_BYTES} are put on a disk")]
    Image {
        /// Its length.
        found_bytes: u64,
    },
    /// The partitions need more room.
    #[error("a disk of {size_mib} MiB is too small: image and partition table need {needed_mib} MiB")]
    Size {
        /// What was asked for.
        size_mib: u64,
        /// What is needed.
        needed_mib: u64,
    },
}

/// A part of the disk, in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where it begins.
    pub start_mib: u64,
    /// How long it is.
    pub length_mib: u64,
}

/// Where things lie on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The whole disk.
    pub size_mib: u64,
    /// The EFI system partition.
    pub esp: Extent,
    /// The partition with the deployment document.
    pub document: Option<Extent>,
}

impl Layout {
    /// A layout for an image of `image_bytes`, with or without a document.
    ///
    /// # Errors
    /// [`LayoutError`] if the image is too long, or the disk too small.
    pub fn new(image_bytes: u64, document: bool, DiskMib(size_mib): DiskMib) -> Result<Self, LayoutError> {
        if image_bytes > IMAGE_MAX_BYTES {
            return Err(LayoutError::Image { found_bytes: image_bytes });
        }
        // Two file allocation tables of four bytes for each 512, directories and reserved sectors.
        let wanted = (image_bytes + image_bytes / 64 + 2 * MIB).div_ceil(MIB);
        let esp = Extent { start_mib: EDGE_MIB, length_mib: wanted.max(ESP_LEAST_MIB) };
        let document = document.then(|| Extent { start_mib: esp.end_mib(), length_mib: DOCUMENT_MIB });
        let needed_mib = document.unwrap_or(esp).end_mib() + EDGE_MIB;
        if size_mib < needed_mib {
            return Err(LayoutError::Size { size_mib, needed_mib });
        }
        Ok(Self { size_mib, esp, document })
    }
}

impl Extent {
    fn end_mib(self) -> u64 {
        self.start_mib + self.length_mib
    }

    /// Its first byte.
    #[must_use]
    pub fn offset(self) -> u64 {
        self.start_mib * MIB
    }

    /// Its first and its last sector.
    #[must_use]
    pub fn sectors(self) -> (u64, u64) {
        (self.start_mib * MIB / SECTOR, self.end_mib() * MIB / SECTOR - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit_and_a_range() {
        assert_eq!("512M".parse(), Ok(DiskMib(512)));
        assert_eq!("4G".parse(), Ok(DiskMib(4096)));
        assert_eq!("2047g".parse(), Ok(DiskMib(2047 * 1024)));
        for text in ["", "1", "M", "0M", "+1G", "-1G", "1.5G", "1T", "2048G", "18446744073709551615G", "1 G"] {
            assert!(text.parse::<DiskMib>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn partitions_follow_each_other_between_the_two_tables() {
        let layout = Layout::new(12 * MIB, true, DiskMib(67)).unwrap();
        assert_eq!(layout.esp, Extent { start_mib: 1, length_mib: 64 });
        assert_eq!(layout.esp.sectors(), (2048, 65 * 2048 - 1));
        assert_eq!(layout.document, Some(Extent { start_mib: 65, length_mib: 1 }));
        assert_eq!(Layout::new(12 * MIB, false, DiskMib(66)).unwrap().document, None);
    }

    #[test]
    fn one_mebibyte_too_little_is_refused() {
        let refused = |document, size_mib| Layout::new(12 * MIB, document, DiskMib(size_mib)).unwrap_err();
        assert_eq!(refused(true, 66), LayoutError::Size { size_mib: 66, needed_mib: 67 });
        assert_eq!(refused(false, 65), LayoutError::Size { size_mib: 65, needed_mib: 66 });
    }

    #[test]
    fn the_system_partition_grows_with_the_image_up_to_a_limit() {
        let of = |bytes| Layout::new(bytes, false, DiskMib(4096));
        assert_eq!(of(60 * MIB).unwrap().esp.length_mib, 64);
        assert_eq!(of(200 * MIB).unwrap().esp.length_mib, 206);
        assert!(of(IMAGE_MAX_BYTES).is_ok());
        assert_eq!(of(IMAGE_MAX_BYTES + 1), Err(LayoutError::Image { found_bytes: IMAGE_MAX_BYTES + 1 }));
    }
}
