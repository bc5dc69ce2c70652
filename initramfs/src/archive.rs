//! The `newc` archive, as the kernel unpacks it (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeMap;

use crate::list::{Entry, Kind, List};

/// `newc` without checksums.
const MAGIC: &str = "070701";
/// Name of the last member.
const TRAILER: &str = "TRAILER!!!";
const DIRECTORY: u32 = 0o040_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const REGULAR: u32 = 0o100_000;

/// Bytes of the files, by the name the list gives them.
pub type Contents<'a> = BTreeMap<&'a str, &'a [u8]>;

/// Why a list and its contents make no archive.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// The list names content that was not supplied.
    #[error("no content named {0} was supplied")]
    MissingContent(String),
    /// Content was supplied that no file takes: it would silently be left out.
    #[error("content {0} was supplied, but no file takes it")]
    UnusedContent(String),
    /// The format has 32 bits for a size.
    #[error("{0} is larger than the archive format can say")]
    TooLarge(String),
}

impl List {
    /// The archive: members in byte order of their paths, inode numbers counted from 1, every time 0, every owner root.
    ///
    /// # Errors
    /// [`ArchiveError`] if the contents are not exactly those the list names.
    pub fn archive(&self, contents: &Contents<'_>) -> Result<Vec<u8>, ArchiveError> {
        self.check_all_used(contents)?;
        let mut archive = Vec::new();
        for (inode, (path, entry)) in (1u32..).zip(self.entries()) {
            let bytes = content(entry, contents)?;
            let size = u32::try_from(bytes.len()).map_err(|_| ArchiveError::TooLarge(path.to_owned()))?;
            let name = path.trim_start_matches('/');
            append(&mut archive, &Header::of(entry, inode, size), name, bytes);
        }
        append(&mut archive, &Header::default(), TRAILER, &[]);
        Ok(archive)
    }

    fn check_all_used(&self, contents: &Contents<'_>) -> Result<(), ArchiveError> {
        let takes = |name: &str| {
            self.entries().any(|(_, entry)| matches!(&entry.kind, Kind::File { content } if content == name))
        };
        match contents.keys().find(|name| !takes(name)) {
            Some(name) => Err(ArchiveError::UnusedContent((*name).to_owned())),
            None => Ok(()),
        }
    }
}

fn content<'a>(entry: &Entry, contents: &Contents<'a>) -> Result<&'a [u8], ArchiveError> {
    match &entry.kind {
        Kind::File { content } => {
            contents.get(content.as_str()).copied().ok_or_else(|| ArchiveError::MissingContent(content.clone()))
        }
        Kind::Directory | Kind::CharacterDevice { .. } => Ok(&[]),
    }
}

/// The numbers of a member that differ between members. Owner, time and the device the archive was made on are always 0.
#[derive(Default)]
struct Header {
    inode: u32,
    mode: u32,
    size: u32,
    major: u32,
    minor: u32,
}

impl Header {
    fn of(entry: &Entry, inode: u32, size: u32) -> Self {
        let (kind, major, minor) = match entry.kind {
            Kind::Directory => (DIRECTORY, 0, 0),
            Kind::CharacterDevice { major, minor } => (CHARACTER_DEVICE, major, minor),
            Kind::File { .. } => (REGULAR, 0, 0),
        };
        Self { inode, mode: kind | entry.mode, size, major, minor }
    }

    /// A directory has two names (its own and `.`), everything else one. The trailer says one, as other writers do.
    fn links(&self) -> u32 {
        if self.mode & DIRECTORY != 0 { 2 } else { 1 }
    }
}

fn append(archive: &mut Vec<u8>, header: &Header, name: &str, bytes: &[u8]) {
    let fields = [
        header.inode,
        header.mode,
        0, // user
        0, // group
        header.links(),
        0, // time of change
        header.size,
        0, // device of the file: major
        0, // device of the file: minor
        header.major,
        header.minor,
        name.len() as u32 + 1, // with the closing zero; paths are bounded by the list
        0,                     // checksum, which this format does not have
    ];
    archive.extend_from_slice(MAGIC.as_bytes());
    for field in fields {
        archive.extend_from_slice(format!("{field:08X}").as_bytes());
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    pad(archive);
    archive.extend_from_slice(bytes);
    pad(archive);
}

/// Headers and bytes start at multiples of four.
fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}
