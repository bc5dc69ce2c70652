//! Sources and objects of kernels, kept outside the tree: `${XDG_CACHE_HOME:-~/.cache}/lethe/kernel`.
//!
//! Each tree's folder is named by the digest of everything that enters it, so a tree is either right or not there.

use std::env;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::kernel::recipe::Recipe;
use crate::progress::Progress;
use crate::report::advise;

/// File in an object tree that names the source it is made from.
const SOURCE_MARK: &str = "lethe.source";

/// The cache, held by this process alone until it is dropped.
pub struct Cache {
    folder: PathBuf,
    _lock: File,
}

impl Cache {
    /// Opens the cache and waits until no other build uses it.
    ///
    /// # Errors
    /// If there is no place for it, or it cannot be locked.
    pub fn open(progress: &Progress) -> anyhow::Result<Self> {
        let folder = root()?.join("kernel");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let path = folder.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            progress.status("Blocking", "waiting for another kernel build");
        }
        lock.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(Self { folder, _lock: lock })
    }

    /// The unpacked and patched source.
    ///
    /// # Errors
    /// If the archive is not the pinned one, or cannot be unpacked or patched.
    pub fn source(&self, recipe: &Recipe, given: Option<&Path>, progress: &Progress) -> anyhow::Result<PathBuf> {
        let tree = self.folder.join(format!("source-{}", recipe.source_key()));
        if tree.exists() {
            if given.is_some() {
                recipe.pin.verified_archive(given, progress)?;
            }
            return Ok(tree);
        }
        let archive = recipe.pin.verified_archive(given, progress)?;
        let spinner = progress.spinner("Unpacking", archive.display());
        let unpacked = self.unpack(recipe, &archive);
        spinner.finish_and_clear();
        fs::rename(unpacked?, &tree).with_context(|| format!("cannot create {}", tree.display()))?;
        Ok(tree)
    }

    /// The object tree of a key. A new one starts as a copy of the newest tree of the same source, so that `make`, which knows
    /// what each object was made from, compiles only what differs; without such a tree it starts empty.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn objects(&self, key: &str, source_key: &str, progress: &Progress) -> anyhow::Result<PathBuf> {
        let tree = self.folder.join(format!("objects-{key}"));
        if !tree.exists() {
            let scratch = self.scratch()?;
            match self.newest_objects(source_key) {
                Some(from) => {
                    progress.status("Copying", "kernel objects");
                    let mut copy = Command::new("cp");
                    copy.args(["--archive", "--reflink=auto", "--no-target-directory", "--"]).arg(&from).arg(&scratch);
                    run(&mut copy)?;
                }
                None => fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?,
            }
            let mark = scratch.join(SOURCE_MARK);
            fs::write(&mark, source_key).with_context(|| format!("cannot write {}", mark.display()))?;
            fs::rename(&scratch, &tree).with_context(|| format!("cannot create {}", tree.display()))?;
        }
        Ok(tree)
    }

    /// The object tree of this source whose image was linked last.
    fn newest_objects(&self, source_key: &str) -> Option<PathBuf> {
        let entries = fs::read_dir(&self.folder).ok()?;
        let trees = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let of_this_source =
            |tree: &PathBuf| fs::read_to_string(tree.join(SOURCE_MARK)).is_ok_and(|mark| mark == source_key);
        let linked = |tree: PathBuf| Some((fs::metadata(tree.join(super::IMAGE)).ok()?.modified().ok()?, tree));
        trees.filter(of_this_source).filter_map(linked).max().map(|(_, tree)| tree)
    }

    fn unpack(&self, recipe: &Recipe, archive: &Path) -> anyhow::Result<PathBuf> {
        let scratch = self.scratch()?;
        fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
        run(Command::new("tar")
            .args(["--extract", "--xz", "--no-same-owner", "--directory"])
            .arg(&scratch)
            .arg("--file")
            .arg(archive))?;
        let source = scratch.join(&recipe.pin.folder);
        ensure!(source.is_dir(), "{} has no folder {}", archive.display(), recipe.pin.folder);
        for (name, patch) in &recipe.patches {
            apply(&source, patch).with_context(|| format!("patch {name} does not apply"))?;
        }
        Ok(source)
    }

    /// A place for a tree that is not finished; what a broken run left there is removed.
    fn scratch(&self) -> anyhow::Result<PathBuf> {
        let scratch = self.folder.join("unfinished");
        if scratch.exists() {
            fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))?;
        }
        Ok(scratch)
    }
}

/// `${XDG_CACHE_HOME:-~/.cache}/lethe`, where all caches of Lethe lie.
///
/// # Errors
/// If neither variable is set.
pub fn root() -> anyhow::Result<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    let base = base.with_context(|| {
        advise("no place for a cache: neither XDG_CACHE_HOME nor HOME is set", "set XDG_CACHE_HOME to a folder")
    })?;
    Ok(base.join("lethe"))
}

/// Applies a patch exactly as it is: no fuzz, no backups, nothing asked.
pub(crate) fn apply(source: &Path, patch: &str) -> anyhow::Result<()> {
    let mut command = Command::new("patch");
    command
        .args(["--strip=1", "--fuzz=0", "--forward", "--batch", "--silent", "--no-backup-if-mismatch", "--directory"])
        .arg(source);
    let mut child = command
        .stdin(Stdio::piped())
        .spawn()
        .with_context(|| advise("cannot run patch", "install it with `apt-get install patch`"))?;
    child.stdin.take().context("no pipe to patch")?.write_all(patch.as_bytes()).context("cannot write to patch")?;
    let status = child.wait().context("cannot wait for patch")?;
    ensure!(status.success(), "patch ended with {status}");
    Ok(())
}

/// Runs a program that says itself what went wrong.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot run {program}"))?;
    ensure!(status.success(), "{program} ended with {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(folder: &Path) -> Cache {
        Cache { folder: folder.to_owned(), _lock: tempfile::tempfile().unwrap() }
    }

    fn link(tree: &Path, content: &str) {
        let image = tree.join(super::super::IMAGE);
        fs::create_dir_all(image.parent().unwrap()).unwrap();
        fs::write(image, content).unwrap();
    }

    #[test]
    fn new_tree_starts_from_one_of_the_same_source() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        let first = cache.objects("a", "source", &Progress::silent()).unwrap();
        link(&first, "kernel");
        let second = cache.objects("b", "source", &Progress::silent()).unwrap();
        assert_eq!(fs::read_to_string(second.join(super::super::IMAGE)).unwrap(), "kernel");
    }

    #[test]
    fn new_tree_takes_nothing_of_another_source_or_an_unfinished_tree() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        link(&cache.objects("a", "other source", &Progress::silent()).unwrap(), "kernel");
        cache.objects("b", "source", &Progress::silent()).unwrap();
        let tree = cache.objects("c", "source", &Progress::silent()).unwrap();
        assert!(!tree.join(super::super::IMAGE).exists());
    }

    #[test]
    fn existing_tree_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        let tree = cache.objects("a", "source", &Progress::silent()).unwrap();
        link(&tree, "mine");
        link(&cache.objects("b", "source", &Progress::silent()).unwrap(), "newer");
        assert_eq!(cache.objects("a", "source", &Progress::silent()).unwrap(), tree);
        assert_eq!(fs::read_to_string(tree.join(super::super::IMAGE)).unwrap(), "mine");
    }
}
