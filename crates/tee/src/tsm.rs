//! Reports through configfs: `/sys/kernel/config/tsm/report/NAME`.
//!
//! The directory is opened once, at boot; every file of it is opened relative to that descriptor, because configfs acts
//! when a file is closed (the request) or first read (the answer), and because no path leads there while serving.
//!
//! Source: Linux, Documentation/ABI/testing/configfs-tsm, drivers/virt/coco/tsm.c and fs/configfs/file.c (6.12).

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::ReportData;

/// Name of the one entry this program makes.
const ENTRY: &str = "lethe";
/// How often a report is asked for before it is given up.
const ATTEMPTS: u32 = 3;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(20);
/// Longest answer that is read, in bytes: the kernel's `TSM_OUTBLOB_MAX` is 32 KiB, newer ones allow more.
const BLOB_MAX_BYTES: usize = 256 * 1024;
/// Longest text attribute, in bytes: a page.
const TEXT_MAX_BYTES: usize = 4096;

/// Who answers behind configfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// SEV-SNP's secure processor.
    SevGuest,
    /// TDX's module and the host's quoting service.
    TdxGuest,
}

impl Provider {
    const fn name(self) -> &'static str {
        match self {
            Self::SevGuest => "sev_guest",
            Self::TdxGuest => "tdx_guest",
        }
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The entry cannot be made or opened.
    #[error("cannot open configfs' report directory")]
    Directory(#[source] io::Error),
    /// A file of it cannot be read or written.
    #[error("cannot use {file} of configfs' report directory")]
    File {
        /// Which.
        file: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another driver answers.
    #[error("reports come from another provider than this platform's")]
    Provider,
    /// The counter is not a number.
    #[error("the report's generation is not a number")]
    Generation,
    /// Somebody else writes to the same entry.
    #[error("the report's generation changed during {ATTEMPTS} requests")]
    Conflict,
    /// The answer is larger than any that is honest.
    #[error("{file} is longer than {BLOB_MAX_BYTES} bytes")]
    TooLong {
        /// Which.
        file: &'static str,
    },
}

/// The files of one entry. A trait, so that the protocol over them is tested without the kernel's part.
pub trait Entry: Send {
    /// Everything in a file, which is shorter than `limit`.
    ///
    /// # Errors
    /// The kernel's; `FileTooLarge` for more.
    fn read(&self, file: &'static str, limit: usize) -> io::Result<Vec<u8>>;

    /// Writes a file as a whole; the kernel takes it when it is closed.
    ///
    /// # Errors
    /// The kernel's.
    fn write(&self, file: &'static str, bytes: &[u8]) -> io::Result<()>;
}

/// What the kernel answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The report.
    pub outblob: Vec<u8>,
    /// What came with it, from the host.
    pub auxblob: Option<Vec<u8>>,
}

/// Reports of one provider, one request at a time.
#[derive(Debug)]
pub struct Reports<E> {
    entry: Mutex<E>,
}

impl<E: Entry> Reports<E> {
    /// Takes an entry whose provider is the expected one.
    ///
    /// # Errors
    /// [`ReportError::Provider`] for another, [`ReportError::File`] where a file cannot be used.
    pub fn new(entry: E, provider: Provider) -> Result<Self, ReportError> {
        let name = text(&entry, "provider")?;
        if name != provider.name() {
            return Err(ReportError::Provider);
        }
        if provider == Provider::SevGuest {
            // Explicitly the guest's own level: the driver's default follows the kernel, not this program.
            entry.write("privlevel", b"0").map_err(|source| ReportError::File { file: "privlevel", source })?;
        }
        Ok(Self { entry: Mutex::new(entry) })
    }

    /// A report over 64 bytes, checked to be the answer to this very request.
    ///
    /// # Errors
    /// [`ReportError`] after a bounded number of attempts. A failure of the platform itself is not tried again: after one
    /// the kernel forgets its key to the secure processor.
    pub fn ask(&self, report_data: &ReportData) -> Result<Answer, ReportError> {
        let entry = self.entry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = ReportError::Conflict;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                std::thread::sleep(PAUSE);
            }
            match once(&*entry, report_data) {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => last = ReportError::Conflict,
                Err(ReportError::File { file, source }) if passing(&source) => {
                    last = ReportError::File { file, source }
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }
}

/// One attempt; nothing if somebody else wrote in between.
fn once(entry: &impl Entry, report_data: &ReportData) -> Result<Option<Answer>, ReportError> {
    let before = generation(entry)?;
    entry.write("inblob", report_data).map_err(|source| ReportError::File { file: "inblob", source })?;
    if Some(generation(entry)?) != before.checked_add(1) {
        return Ok(None);
    }
    let outblob = blob(entry, "outblob")?.unwrap_or_default();
    let auxblob = blob(entry, "auxblob")?.filter(|blob| !blob.is_empty());
    let same = Some(generation(entry)?) == before.checked_add(1);
    Ok(same.then_some(Answer { outblob, auxblob }))
}

/// An interrupted call, or a provider that is busy.
fn passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::ResourceBusy)
}

fn blob(entry: &impl Entry, file: &'static str) -> Result<Option<Vec<u8>>, ReportError> {
    match entry.read(file, BLOB_MAX_BYTES) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Err(ReportError::TooLong { file }),
        // Not every provider has one.
        Err(error) if file == "auxblob" && error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ReportError::File { file, source }),
    }
}

fn generation(entry: &impl Entry) -> Result<u64, ReportError> {
    text(entry, "generation")?.parse().map_err(|_| ReportError::Generation)
}

fn text(entry: &impl Entry, file: &'static str) -> Result<String, ReportError> {
    let bytes = entry.read(file, TEXT_MAX_BYTES).map_err(|source| ReportError::File { file, source })?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// The entry in configfs.
#[derive(Debug)]
pub struct Directory(OwnedFd);

impl Directory {
    /// Makes the entry under `reports` (`/sys/kernel/config/tsm/report`) and opens it.
    ///
    /// # Errors
    /// [`ReportError::Directory`].
    pub fn open(reports: &Path) -> Result<Self, ReportError> {
        let path = reports.join(ENTRY);
        match DirBuilder::new().create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(ReportError::Directory(error)),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW);
        Ok(Self(options.open(path).map_err(ReportError::Directory)?.into()))
    }

    /// A second descriptor of the same directory.
    ///
    /// # Errors
    /// [`ReportError::Directory`].
    pub fn again(&self) -> Result<OwnedFd, ReportError> {
        self.0.try_clone().map_err(ReportError::Directory)
    }
}

/// Opens a file of the entry.
fn file(directory: BorrowedFd<'_>, name: &str, flags: OFlag) -> io::Result<File> {
    let descriptor = openat(directory, name, flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty())?;
    Ok(File::from(descriptor))
}

/// Gives the files of an entry to another user: configfs makes them for root alone.
///
/// # Errors
/// [`ReportError::File`].
pub fn hand_over(directory: BorrowedFd<'_>, user: u32, group: u32) -> Result<(), ReportError> {
    let files = [
        ("generation", OFlag::O_RDONLY),
        ("inblob", OFlag::O_WRONLY),
        ("outblob", OFlag::O_RDONLY),
        ("auxblob", OFlag::O_RDONLY),
    ];
    for (name, flags) in files {
        match file(directory, name, flags) {
            Ok(file) => std::os::unix::fs::fchown(&file, Some(user), Some(group))
                .map_err(|source| ReportError::File { file: name, source })?,
            Err(error) if name == "auxblob" && error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(ReportError::File { file: name, source }),
        }
    }
    Ok(())
}

impl Entry for Directory {
    fn read(&self, name: &'static str, limit: usize) -> io::Result<Vec<u8>> {
        let mut file = file(self.0.as_fd(), name, OFlag::O_RDONLY)?;
        let mut bytes = Vec::new();
        let mut buffer = [0; TEXT_MAX_BYTES];
        // Plain reads: the library's read_to_end asks for the file's size, a system call that serving does not have.
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(bytes),
                Ok(count) => bytes.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if bytes.len() > limit {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
    }

    fn write(&self, name: &'static str, bytes: &[u8]) -> io::Result<()> {
        file(self.0.as_fd(), name, OFlag::O_WRONLY)?.write_all(bytes)
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
