//! Copies the model out of the host's reach, hashing exactly what it stores.
//!
//! The host can change a disk between two reads, so each byte is read once: a chunk goes into private memory, and from
//! there both into the hash and into the store. What the engine later maps is the store. The store is a memory file,
//! sealed when it is complete: its pages are this machine's own, nothing can write to them any more, and llama.cpp
//! maps them in place, so the weights lie in memory once.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use deployment::Model;
use nix::fcntl::{FcntlArg, PosixFadviseAdvice, SealFlag, fcntl, posix_fadvise};
use nix::sys::memfd::{MFdFlags, memfd_create};
use sha2::{Digest, Sha256};

use super::Refused;

/// Bytes that are read, hashed and stored at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// Least time between two progress reports.
const PROGRESS: Duration = Duration::from_secs(1);

/// The model in private, sealed memory; its bytes have the document's digest.
#[derive(Debug)]
pub struct Stored {
    file: File,
    /// How long reading, hashing and storing took.
    pub took: Duration,
}

/// Why the model is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// There is no disk that begins like one.
    #[error("no disk carries a GGUF file from its first byte")]
    Missing,
    /// The disks cannot be searched.
    #[error("cannot look for the model's disk")]
    Disks(#[source] super::disks::DiskError),
    /// Private memory for it cannot be had.
    #[error("cannot store a model of {size_bytes} bytes in memory")]
    Store {
        /// Its size.
        size_bytes: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It does not fit.
    #[error("a model of {size_bytes} bytes needs {needed_bytes} more bytes of memory, {available_bytes} are available")]
    TooLarge {
        /// Its size.
        size_bytes: u64,
        /// What is to be allocated for it next: the weights, or the engine's cache and copies.
        needed_bytes: u64,
        /// Memory the kernel could still give.
        available_bytes: u64,
    },
    /// The disk or file cannot be read.
    #[error("cannot read the model after {copied} of {size_bytes} bytes")]
    Read {
        /// Bytes that were read.
        copied: u64,
        /// Bytes there should be.
        size_bytes: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ends early.
    #[error("the model ends after {copied} bytes, the document says {size_bytes}")]
    Short {
        /// Bytes there are.
        copied: u64,
        /// Bytes there should be.
        size_bytes: u64,
    },
    /// It is another model.
    #[error("the model's SHA-256 is {found}, the document says {expected}")]
    Digest {
        /// Hexadecimal.
        found: String,
        /// Hexadecimal.
        expected: String,
    },
}

impl ModelError {
    /// The refusal's code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "model-missing",
            Self::Disks(super::disks::DiskError::Ambiguous { .. }) => "model-ambiguous",
            Self::Disks(_) | Self::Read { .. } => "model-read",
            Self::Store { .. } | Self::TooLarge { .. } => "model-memory",
            Self::Short { .. } => "model-short",
            Self::Digest { .. } => "model-digest",
        }
    }
}

impl From<ModelError> for Refused {
    fn from(error: ModelError) -> Self {
        Self::new(error.code(), &error)
    }
}

impl Stored {
    /// The name under which this process, and no other, can map the bytes.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// The bytes as a file that cannot be written, at its start.
    ///
    /// # Errors
    /// The kernel's.
    pub fn reader(&mut self) -> io::Result<&mut File> {
        self.file.rewind()?;
        Ok(&mut self.file)
    }
}

/// A disk or file read once from front to back, without leaving what was read in the kernel's cache: there it would
/// take the place of memory that the engine needs.
pub struct Once {
    file: File,
    read: i64,
    dropped: i64,
}

impl Once {
    /// From the file's present position.
    #[must_use]
    pub fn new(file: File) -> Self {
        // Advice only: a file that cannot take it is read all the same.
        let _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL);
        Self { file, read: 0, dropped: 0 }
    }
}

impl Read for Once {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const DROP_EVERY: i64 = 64 << 20;
        let length = self.file.read(buffer)?;
        self.read += i64::try_from(length).unwrap_or_default();
        if self.read - self.dropped >= DROP_EVERY {
            let _ = posix_fadvise(
                &self.file,
                self.dropped,
                self.read - self.dropped,
                PosixFadviseAdvice::POSIX_FADV_DONTNEED,
            );
            self.dropped = self.read;
        }
        Ok(length)
    }
}

/// Copies exactly `model.size_bytes` from `source` into sealed memory. What follows them (a block device is padded to
/// whole blocks) is not read. `progress` hears how many bytes are copied, at most once a second.
///
/// # Errors
/// [`ModelError`] if the source is shorter, or the bytes are not the document's.
pub fn store(source: impl Read, model: &Model, mut progress: impl FnMut(u64)) -> Result<Stored, ModelError> {
    let size_bytes = model.size_bytes;
    let no_store = |source| ModelError::Store { size_bytes, source };
    let started = Instant::now();
    let mut file = File::from(memory_file().map_err(no_store)?);
    file.set_len(size_bytes).map_err(no_store)?;
    let found = copy(source, size_bytes, &mut file, &mut progress)?;
    if found != model.sha256 {
        return Err(ModelError::Digest { found: hex::encode(found), expected: hex::encode(model.sha256) });
    }
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(|errno| no_store(errno.into()))?;
    Ok(Stored { file, took: started.elapsed() })
}

/// Copies and hashes; answers the SHA-256 of what was stored.
fn copy(
    mut source: impl Read,
    size_bytes: u64,
    store: &mut impl Write,
    progress: &mut impl FnMut(u64),
) -> Result<[u8; 32], ModelError> {
    let mut digest = Sha256::new();
    let mut chunk = vec![0_u8; CHUNK_BYTES];
    let mut copied = 0_u64;
    let mut reported = Instant::now();
    while copied < size_bytes {
        let rest = usize::try_from(size_bytes - copied).unwrap_or(usize::MAX);
        let wanted = rest.min(chunk.len());
        let part = chunk.get_mut(..wanted).unwrap_or_default();
        let read = match source.read(part) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(ModelError::Read { copied, size_bytes, source }),
        };
        let part = part.get(..read).unwrap_or_default();
        if part.is_empty() {
            return Err(ModelError::Short { copied, size_bytes });
        }
        digest.update(part);
        store.write_all(part).map_err(|source| ModelError::Store { size_bytes, source })?;
        copied += part.len() as u64;
        if reported.elapsed() >= PROGRESS {
            reported = Instant::now();
            progress(copied);
        }
    }
    Ok(digest.finalize().into())
}

/// An empty memory file that can be sealed and can never be executed.
fn memory_file() -> io::Result<OwnedFd> {
    let base = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    match memfd_create(c"model", base | MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL)) {
        // A kernel before 6.3 (host mode) does not know the flag; the seccomp filter forbids running it anyway.
        Err(nix::errno::Errno::EINVAL) => memfd_create(c"model", base),
        other => other,
    }
    .map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 31 % 251) as u8).collect()
    }

    fn model(bytes: &[u8]) -> Model {
        Model {
            name: "m".to_owned(),
            aliases: Vec::new(),
            sha256: Sha256::digest(bytes).into(),
            size_bytes: bytes.len() as u64,
        }
    }

    fn code_of(source: &[u8], model: &Model) -> &'static str {
        Refused::from(store(Cursor::new(source), model, |_| ()).unwrap_err()).code()
    }

    #[test]
    fn the_stored_bytes_are_the_disk_s_and_padding_is_ignored() {
        for length in [1, 511, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 77] {
            let bytes = bytes(length);
            let mut padded = bytes.clone();
            padded.resize(length.next_multiple_of(512), 0xFF);
            let mut stored = store(Cursor::new(&padded), &model(&bytes), |_| ()).unwrap();
            let mut back = Vec::new();
            stored.reader().unwrap().read_to_end(&mut back).unwrap();
            assert!(back == bytes, "{length}");
            assert_eq!(std::fs::read(stored.path()).unwrap().len(), length);
        }
    }

    #[test]
    fn padding_is_not_even_read() {
        struct Fuse(u64);
        impl Read for Fuse {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                assert!(buffer.len() as u64 <= self.0, "read past the model");
                self.0 -= buffer.len() as u64;
                buffer.fill(0);
                Ok(buffer.len())
            }
        }
        let zeros = vec![0; CHUNK_BYTES + 5];
        store(Fuse(zeros.len() as u64), &model(&zeros), |_| ()).unwrap();
    }

    #[test]
    fn a_disk_shorter_by_one_byte_is_refused() {
        let bytes = bytes(5000);
        assert_eq!(code_of(&bytes[..4999], &model(&bytes)), "model-short");
        assert_eq!(code_of(&[], &model(&bytes)), "model-short");
    }

    #[test]
    fn one_bit_anywhere_is_refused() {
        let good = bytes(5000);
        let model = model(&good);
        for at in [0, 1234, 4999] {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert_eq!(code_of(&bad, &model), "model-digest");
        }
    }

    #[test]
    fn a_disk_that_fails_is_refused() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(libc::EIO))
            }
        }
        let error = store(Broken, &model(&bytes(10)), |_| ()).unwrap_err();
        assert_eq!(Refused::from(error).code(), "model-read");
    }

    #[test]
    fn a_read_that_was_interrupted_is_repeated_and_short_reads_add_up() {
        struct Hesitant(Cursor<Vec<u8>>, bool);
        impl Read for Hesitant {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.1 = !self.1;
                if self.1 {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                let few = buffer.len().min(700);
                self.0.read(&mut buffer[..few])
            }
        }
        let bytes = bytes(5000);
        store(Hesitant(Cursor::new(bytes.clone()), false), &model(&bytes), |_| ()).unwrap();
    }

    #[test]
    fn a_file_read_once_gives_all_its_bytes() {
        let path = std::env::temp_dir().join(format!("lethe-once-{}", std::process::id()));
        let bytes = bytes(70 << 20);
        std::fs::write(&path, &bytes).unwrap();
        let stored = store(Once::new(File::open(&path).unwrap()), &model(&bytes), |_| ());
        std::fs::remove_file(&path).unwrap();
        assert!(stored.is_ok());
    }

    #[test]
    fn the_store_is_sealed() {
        let bytes = bytes(5000);
        let stored = store(Cursor::new(&bytes), &model(&bytes), |_| ()).unwrap();
        assert!((&stored.file).write(b"x").is_err());
        assert!(stored.file.set_len(1).is_err());
        let again = std::fs::OpenOptions::new().write(true).open(stored.path()).unwrap();
        assert!((&again).write(b"x").is_err(), "not through another descriptor either");
    }
}
