//! The EFI system partition: a FAT32 file system with the image as the one program that firmware starts by itself.

use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};

use fatfs::{Date, DateTime, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider};

use super::layout::{SECTOR, VOLUME_ID, VOLUME_LABEL};
use super::sparse::Sparse;

/// Where firmware looks for a program on a disk it was told nothing about (UEFI 2.10, section 3.5.1.1).
pub const BOOT_PATH: [&str; 3] = ["EFI", "BOOT", "BOOTX64.EFI"];

/// The first moment FAT can express, whatever the clock says.
#[derive(Debug)]
struct Fixed;

static FIXED: Fixed = Fixed;

impl TimeProvider for Fixed {
    fn get_current_date(&self) -> Date {
        Date { year: 1980, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime { date: self.get_current_date(), time: Time { hour: 0, min: 0, sec: 0, millis: 0 } }
    }
}

/// A file system of `length_mib` MiB with these bytes at [`BOOT_PATH`].
///
/// # Errors
/// If they do not fit.
pub fn format(length_mib: u64, image: &[u8]) -> io::Result<Sparse> {
    let mut disk = Sparse::of_mib(length_mib);
    let sector = u16::try_from(SECTOR).unwrap_or_default();
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .bytes_per_sector(sector)
        .bytes_per_cluster(u32::from(sector))
        .volume_id(VOLUME_ID)
        .volume_label(VOLUME_LABEL);
    fatfs::format_volume(&mut disk, options)?;
    disk.rewind()?;
    let system = FileSystem::new(&mut disk, FsOptions::new().time_provider(&FIXED))?;
    {
        let [efi, boot, name] = BOOT_PATH;
        let folder = system.root_dir().create_dir(efi)?.create_dir(boot)?;
        let mut file = folder.create_file(name)?;
        file.write_all(image)?;
        file.flush()?;
    }
    // Counting fills in the summary of free clusters, which readers otherwise make up for themselves.
    system.stats()?;
    system.unmount()?;
    mend_parent(&mut disk)?;
    Ok(disk)
}

/// In a folder of the root, `..` must name cluster 0 (Microsoft, "FAT: General Overview of On-Disk Format", section 6.5); fatfs 0.3 writes the
/// root's own cluster there, which `fsck.fat` finds fault with.
fn mend_parent(disk: &mut Sparse) -> io::Result<()> {
    const RESERVED: u64 = 14;
    const SECTORS_PER_TABLE: u64 = 36;
    const TABLES: u64 = 2;
    const ENTRY: u64 = 32;
    let number = |disk: &mut Sparse, at: u64, bytes: u64| -> io::Result<u64> {
        let mut field = Vec::new();
        disk.seek(SeekFrom::Start(at))?;
        disk.take(bytes).read_to_end(&mut field)?;
        Ok(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    };
    let reserved = number(disk, RESERVED, 2)?;
    let tables = TABLES * number(disk, SECTORS_PER_TABLE, 4)?;
    // The root is the first cluster of a sector behind the tables, its one folder the second.
    let parent = (reserved + tables + 1) * SECTOR + ENTRY;
    let mut name = [0; 11];
    disk.seek(SeekFrom::Start(parent))?;
    disk.read_exact(&mut name)?;
    if name != *b"..         " {
        return Err(io::Error::other("the file system is not laid out as expected"));
    }
    for half_of_cluster in [20, 26] {
        disk.seek(SeekFrom::Start(parent + half_of_cluster))?;
        disk.write_all(&[0; 2])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_reads_back_and_nothing_else_is_there() {
        let image = b"MZ and more".repeat(100_000);
        let mut disk = format(64, &image).unwrap();
        disk.rewind().unwrap();
        let system = FileSystem::new(&mut disk, FsOptions::new()).unwrap();
        assert_eq!((system.fat_type(), system.volume_id()), (FatType::Fat32, VOLUME_ID));
        let mut found = Vec::new();
        let path = BOOT_PATH.join("/");
        system.root_dir().open_file(&path).unwrap().read_to_end(&mut found).unwrap();
        assert_eq!(found, image);
        let root: Vec<_> =
            system.root_dir().iter().map(|entry| entry.unwrap().short_file_name_as_bytes().to_vec()).collect();
        assert_eq!(root, [b"EFI"]);
    }

    #[test]
    fn no_clock_is_read() {
        let mut disk = format(64, b"MZ").unwrap();
        disk.rewind().unwrap();
        let system = FileSystem::new(&mut disk, FsOptions::new()).unwrap();
        let folder = system.root_dir().open_dir("EFI/BOOT").unwrap();
        let fixed = FIXED.get_current_date_time();
        for entry in folder.iter().map(Result::unwrap) {
            assert_eq!((entry.created(), entry.modified(), entry.accessed()), (fixed, fixed, fixed.date));
        }
    }

    #[test]
    fn an_image_longer_than_the_file_system_is_refused() {
        assert!(format(64, &vec![1; 64 * 1024 * 1024]).is_err());
    }
}
