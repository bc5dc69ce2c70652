//! Reads a raw disk's document back, as a machine would find it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use deployment::DISK_MAX_BYTES;
use gpt::{GptConfig, GptError};

use super::layout::{DOCUMENT_NAME, SECTOR};

/// The partition table that every writer makes: 128 entries of 128 bytes.
const ENTRIES: u32 = 128;

/// Why a file is no raw disk, or its document cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file.
    #[error("cannot read it")]
    Io(#[from] io::Error),
    /// Another kind of file.
    #[error("it is no raw disk with a GUID partition table")]
    NotRaw,
    /// Broken tables.
    #[error("its partition table is damaged")]
    Table(#[source] GptError),
    /// The partition cannot be one.
    #[error("its partition {DOCUMENT_NAME} is {bytes} bytes long, at most {DISK_MAX_BYTES} are read")]
    TooLong {
        /// Its length.
        bytes: u64,
    },
    /// The partition holds none.
    #[error("its partition {DOCUMENT_NAME} holds no document")]
    Document(#[source] deployment::DiskError),
}

/// The bytes of the document on a raw disk; none if there is no partition for one.
///
/// # Errors
/// [`ReadError`] if the file is no such disk.
pub fn document(path: &Path) -> Result<Option<Vec<u8>>, ReadError> {
    let mut file = File::open(path)?;
    let mut head = [0; 2 * SECTOR as usize];
    file.read_exact(&mut head).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ReadError::NotRaw,
        _ => error.into(),
    })?;
    // The table's size decides how much is read, so it is judged before.
    let entries = [ENTRIES.to_le_bytes(), ENTRIES.to_le_bytes()].concat();
    let signature = head.get(512..520) == Some(b"EFI PART".as_slice());
    if !signature || head.get(592..600) != Some(entries.as_slice()) {
        return Err(ReadError::NotRaw);
    }
    let table = GptConfig::new().only_valid_headers(true).open_from_device(&mut file).map_err(ReadError::Table)?;
    let found = table.partitions().values().find(|partition| partition.name == DOCUMENT_NAME);
    let Some((first, last)) = found.map(|partition| (partition.first_lba, partition.last_lba)) else { return Ok(None) };
    let bytes = (last.saturating_add(1)).saturating_sub(first).saturating_mul(SECTOR);
    if bytes > DISK_MAX_BYTES as u64 {
        return Err(ReadError::TooLong { bytes });
    }
    let mut partition = Vec::new();
    file.seek(SeekFrom::Start(first.saturating_mul(SECTOR)))?;
    file.take(bytes).read_to_end(&mut partition)?;
    deployment::unwrap_disk(&partition).map(|wrapped| Some(wrapped.toml.to_vec())).map_err(ReadError::Document)
}
