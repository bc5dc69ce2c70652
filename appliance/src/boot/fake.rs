//! A machine made of tables, for tests.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Cursor};

use super::mounts::Mount;
use super::system::{Disk, System};

/// What was asked of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    Mount(String),
    RootReadOnly,
    Unmount(String),
    Read(String),
    OpenDisk(String),
}

#[derive(Default)]
pub struct Fake {
    pub files: BTreeMap<String, Vec<u8>>,
    pub disks: BTreeMap<String, Vec<u8>>,
    /// Disks that appear after this many waits.
    pub late_disks: Vec<(u32, String, Vec<u8>)>,
    pub fails: Option<Call>,
    pub waits: RefCell<u32>,
    pub calls: RefCell<Vec<Call>>,
}

impl Fake {
    pub fn calls(&self) -> Vec<Call> {
        self.calls.borrow().clone()
    }

    fn call(&self, call: Call) -> io::Result<()> {
        let failed = self.fails.as_ref() == Some(&call);
        self.calls.borrow_mut().push(call);
        if failed { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }

    fn disk(&self, name: &str) -> Option<&Vec<u8>> {
        let waits = *self.waits.borrow();
        let late = self.late_disks.iter().find(|(after, late, _)| *after <= waits && late == name);
        self.disks.get(name).or(late.map(|(_, _, bytes)| bytes))
    }
}

impl Disk for Cursor<Vec<u8>> {
    fn length(&mut self) -> io::Result<u64> {
        Ok(self.get_ref().len() as u64)
    }
}

impl System for Fake {
    type Disk = Cursor<Vec<u8>>;

    fn mount(&self, mount: &Mount) -> io::Result<()> {
        self.call(Call::Mount(mount.target.to_owned()))
    }

    fn make_root_read_only(&self) -> io::Result<()> {
        self.call(Call::RootReadOnly)
    }

    fn unmount(&self, target: &str) -> io::Result<()> {
        self.call(Call::Unmount(target.to_owned()))
    }

    fn read(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        self.call(Call::Read(path.to_owned()))?;
        Ok(self.files.get(path).map(|bytes| bytes.iter().copied().take(limit as usize).collect()))
    }

    fn block_devices(&self) -> io::Result<Vec<String>> {
        let waits = *self.waits.borrow();
        let late = self.late_disks.iter().filter(|(after, ..)| *after <= waits).map(|(_, name, _)| name);
        Ok(self.disks.keys().chain(late).cloned().collect())
    }

    fn open_disk(&self, name: &str) -> io::Result<Self::Disk> {
        self.call(Call::OpenDisk(name.to_owned()))?;
        self.disk(name).cloned().map(Cursor::new).ok_or_else(|| io::Error::from_raw_os_error(2))
    }

    fn wait_for_devices(&self) -> bool {
        *self.waits.borrow_mut() += 1;
        *self.waits.borrow() <= 3
    }
}
