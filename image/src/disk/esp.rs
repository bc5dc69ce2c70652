//! The EFI system partition: a FAT32 file system with the image as the one program that firmware starts by itself.

use std::io::{self, Seek as _, Write as _};

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
    system.unmount()?;
    Ok(disk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

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
