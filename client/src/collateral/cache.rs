//! What was fetched before, in files of the user's cache directory. A damaged file is refused by the verifier like any other.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest as _, Sha256};

/// Largest file, in bytes.
const MAX_BYTES: u64 = 4 << 20;
/// How long what changes is taken from the cache.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How old a file may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// As old as it is.
    Any,
    /// Less than a day.
    Day,
}

/// A directory of files by the digest of the address they came from.
#[derive(Debug, Clone)]
pub struct Cache(PathBuf);

impl Cache {
    /// `lethe/collateral` in the user's cache directory, if the environment names one.
    #[must_use]
    pub fn of_user() -> Option<Self> {
        let path = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = path("XDG_CACHE_HOME").or_else(|| Some(path("HOME")?.join(".cache")))?;
        Some(Self(base.join("lethe/collateral")))
    }

    /// This directory.
    #[must_use]
    pub const fn at(directory: PathBuf) -> Self {
        Self(directory)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(hex::encode(Sha256::digest(name)))
    }

    pub(super) fn get(&self, name: &str, age: Age) -> Option<Vec<u8>> {
        let file = File::open(self.file(name)).ok()?;
        let facts = file.metadata().ok()?;
        // A file of the future is as good as old.
        let old = facts.modified().ok()?.elapsed().map_or(true, |since| since >= DAY);
        if facts.len() > MAX_BYTES || (age == Age::Day && old) {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Keeps bytes. Without a place for them they are fetched again next time.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) {
        let _ = write(&self.0, &self.file(name), bytes);
    }
}

fn write(directory: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_found_until_it_is_too_old() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("new/folder"));
        assert_eq!(cache.get("a", Age::Any), None);
        cache.put("a", b"bytes");
        assert_eq!(cache.get("a", Age::Day).as_deref(), Some(b"bytes".as_slice()));
        assert_eq!(cache.get("b", Age::Any), None);
        let now = std::time::SystemTime::now();
        for modified in [now - DAY, now + DAY] {
            File::options().write(true).open(cache.file("a")).unwrap().set_modified(modified).unwrap();
            assert_eq!(cache.get("a", Age::Day), None, "{modified:?}");
            assert!(cache.get("a", Age::Any).is_some());
        }
    }
}
