//! The file that is written: hashed as it grows, with holes where it is zero, and there under its name only when it is whole.

use std::fs;
use std::io::{self, Seek as _, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::sparse::{self, Sparse};

/// A file on its way to its name.
#[derive(Debug)]
pub struct Output {
    file: NamedTempFile,
    digest: Sha256,
    length: u64,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// SHA-256 of the file, holes counted as zeros.
    pub sha256: [u8; 32],
    /// Its length in bytes.
    pub length: u64,
}

impl Output {
    /// Begins a file that will stand in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn begin(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let file = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o644)).tempfile_in(folder)?;
        Ok(Self { file, digest: Sha256::new(), length: 0 })
    }

    /// Bytes written so far.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Writes zeros as a hole.
    ///
    /// # Errors
    /// If the file cannot be positioned.
    pub fn zeros(&mut self, count: u64) -> io::Result<()> {
        sparse::zeros(count, |zeros| self.digest.update(zeros));
        self.length += count;
        self.file.seek(SeekFrom::Start(self.length)).map(|_| ())
    }

    /// Writes a whole disk.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn disk(&mut self, disk: &Sparse) -> io::Result<()> {
        let start = self.length;
        for (offset, block) in disk.blocks() {
            self.zeros(start + offset - self.length)?;
            self.write_all(block)?;
        }
        self.zeros(start + disk.length() - self.length)
    }

    /// Gives the file its name, in the place of an older one.
    ///
    /// # Errors
    /// If that fails; the older file is then as it was.
    pub fn finish(mut self, path: &Path) -> io::Result<Written> {
        self.file.flush()?;
        self.file.as_file().set_len(self.length)?;
        self.file.persist(path)?;
        Ok(Written { sha256: self.digest.finalize().into(), length: self.length })
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.digest.update(bytes.get(..count).unwrap_or_default());
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_written_whole_and_hashed_as_it_reads() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Sparse::of_mib(2);
        disk.seek(SeekFrom::Start(700_000)).unwrap();
        disk.write_all(b"somewhere").unwrap();
        let path = folder.path().join("made/disk.raw");
        let mut output = Output::begin(path.parent().unwrap()).unwrap();
        output.disk(&disk).unwrap();
        let written = output.finish(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!((bytes.len() as u64, written.length), (disk.length(), disk.length()));
        assert_eq!(&bytes[700_000..700_009], b"somewhere");
        assert_eq!(written.sha256, disk.sha256());
        assert_eq!(written.sha256, <[u8; 32]>::from(Sha256::digest(&bytes)));
    }

    #[test]
    fn a_file_that_is_not_finished_leaves_the_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk.raw");
        fs::write(&path, "older").unwrap();
        let mut output = Output::begin(folder.path()).unwrap();
        output.write_all(b"newer").unwrap();
        drop(output);
        assert_eq!(fs::read(&path).unwrap(), b"older");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
