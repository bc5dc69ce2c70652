//! The effects of the early boot behind one trait, so that its order and its refusals are tested without a machine.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::mounts::Mount;

/// A disk that is read from its first byte.
pub trait Disk: Read {
    /// Its length in bytes.
    ///
    /// # Errors
    /// If it cannot be asked.
    fn length(&mut self) -> io::Result<u64>;
}

/// What the early boot asks of the machine.
pub trait System {
    /// What [`System::open_disk`] gives.
    type Disk: Disk;

    /// mount(2).
    ///
    /// # Errors
    /// The kernel's.
    fn mount(&self, mount: &Mount) -> io::Result<()>;

    /// Remounts the root read-only.
    ///
    /// # Errors
    /// The kernel's.
    fn make_root_read_only(&self) -> io::Result<()>;

    /// umount2(2), detaching.
    ///
    /// # Errors
    /// The kernel's.
    fn unmount(&self, target: &str) -> io::Result<()>;

    /// At most `limit` bytes of a file, opened once and read once; `None` if there is no such file.
    ///
    /// # Errors
    /// The kernel's.
    fn read(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>>;

    /// Names of the block devices, disks and partitions.
    ///
    /// # Errors
    /// The kernel's.
    fn block_devices(&self) -> io::Result<Vec<String>>;

    /// Opens a block device by name, read-only.
    ///
    /// # Errors
    /// The kernel's.
    fn open_disk(&self, name: &str) -> io::Result<Self::Disk>;

    /// Waits a moment for devices that are still being found; false when there has been waiting enough.
    fn wait_for_devices(&self) -> bool;
}

/// The machine itself.
#[derive(Debug, Default)]
pub struct Linux {
    waits: std::cell::Cell<u32>,
}

/// How often, and how long each time, [`Linux::wait_for_devices`] waits: five seconds in all. virtio disks are there
/// before PID 1 runs; NVMe namespaces appear a little later.
const WAITS: u32 = 100;
const WAIT: std::time::Duration = std::time::Duration::from_millis(50);

impl Disk for File {
    fn length(&mut self) -> io::Result<u64> {
        let length = self.seek(SeekFrom::End(0))?;
        self.rewind()?;
        Ok(length)
    }
}

impl System for Linux {
    type Disk = File;

    fn mount(&self, entry: &Mount) -> io::Result<()> {
        mount(Some(entry.fstype), entry.target, Some(entry.fstype), entry.flags, entry.options).map_err(io::Error::from)
    }

    fn make_root_read_only(&self) -> io::Result<()> {
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, None::<&str>)
            .map_err(io::Error::from)
    }

    fn unmount(&self, target: &str) -> io::Result<()> {
        umount2(target, MntFlags::MNT_DETACH).map_err(io::Error::from)
    }

    fn read(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn block_devices(&self) -> io::Result<Vec<String>> {
        fs::read_dir("/sys/class/block")?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn open_disk(&self, name: &str) -> io::Result<File> {
        File::open(format!("/dev/{name}"))
    }

    fn wait_for_devices(&self) -> bool {
        let waits = self.waits.get();
        if waits >= WAITS {
            return false;
        }
        self.waits.set(waits + 1);
        std::thread::sleep(WAIT);
        true
    }
}
