//! The folder of a release: what is in it and how it is written.

use std::fs;
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use measurements::release::signed_note::SignedNote;

use crate::report::advise;

/// Where the release file and its signatures are.
const MEASUREMENTS: &str = "measurements";

/// Name of the release file.
pub(super) fn text_name(version: &str) -> String {
    format!("{version}.json")
}

/// Name of the release file with its signatures.
pub(super) fn note_name(version: &str) -> String {
    format!("{version}.note")
}

/// The folder of one release.
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// A folder in which nothing is signed yet.
    pub(super) fn fresh(path: &Path, version: &str) -> anyhow::Result<Self> {
        let note = path.join(MEASUREMENTS).join(note_name(version));
        let help = "a version is released once: take the next number, or add a signature with `lethe-image cosign`";
        ensure!(!note.exists(), advise(format!("{} is there already", note.display()), help));
        Ok(Self { path: path.to_owned() })
    }

    /// Writes a file of the release.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        write(&self.path.join(name), bytes)
    }

    /// Writes the release file, and last of all the signed note.
    pub(super) fn publish(&self, version: &str, note: &SignedNote) -> anyhow::Result<PathBuf> {
        let folder = self.path.join(MEASUREMENTS);
        write(&folder.join(text_name(version)), note.text().as_bytes())?;
        let path = folder.join(note_name(version));
        write(&path, note.render().as_bytes())?;
        Ok(path)
    }
}

/// Writes beside the old file and then takes its place, so that no reader ever sees half of it.
pub(super) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let failed = || advise(format!("cannot write {}", path.display()), "name a folder that you may write to");
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let replace = || -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut file = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(folder)?;
        write_with_holes(file.as_file_mut(), bytes)?;
        file.persist(path)?;
        Ok(())
    };
    replace().with_context(failed)
}

/// Writes what is not zero; the rest of a disk image stays a hole, which takes no room.
fn write_with_holes(file: &mut fs::File, bytes: &[u8]) -> std::io::Result<()> {
    const BLOCK: usize = 64 * 1024;
    for block in bytes.chunks(BLOCK) {
        if block.iter().all(|byte| *byte == 0) {
            file.seek_relative(i64::try_from(block.len()).unwrap_or_default())?;
        } else {
            file.write_all(block)?;
        }
    }
    file.set_len(bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_disk_keeps_its_holes_and_every_byte() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = vec![0; 8 << 20];
        disk[3 << 20] = 1;
        disk[(8 << 20) - 70_000] = 2;
        for bytes in [disk.as_slice(), &disk[..(3 << 20) + 1], &[0; 100], b"text", b""] {
            let path = folder.path().join("file");
            write(&path, bytes).unwrap();
            assert!(fs::read(&path).unwrap() == bytes, "{}", bytes.len());
        }
        let path = folder.path().join("disk");
        write(&path, &disk).unwrap();
        assert!(fs::metadata(&path).unwrap().blocks() * 512 < 1 << 20);
    }
}
