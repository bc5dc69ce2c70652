//! Sources and images of firmware, kept outside the tree: `${XDG_CACHE_HOME:-~/.cache}/lethe/firmware`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::edk2;
use super::platform::Platform;
use super::recipe::Recipe;
use super::source::Sources;
use super::tools::Versions;
use crate::kernel::cache::{apply, root, run};
use crate::progress::Progress;
use crate::report::advise;

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
        let folder = root()?.join("firmware");
        let plain = !folder.as_os_str().as_bytes().iter().any(u8::is_ascii_whitespace);
        let help = "set XDG_CACHE_HOME to a folder without them";
        ensure!(plain, advise(format!("EDK II cannot be built under spaces: {}", folder.display()), help));
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let path = folder.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            progress.status("Blocking", "waiting for another firmware build");
        }
        lock.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(Self { folder, _lock: lock })
    }

    /// The image, built unless it is there.
    ///
    /// # Errors
    /// If a source cannot be had, a patch does not apply, the build fails, or its image is not what the platform needs.
    pub fn image(
        &self,
        platform: Platform,
        recipe: &Recipe,
        versions: &Versions,
        given: &[PathBuf],
        progress: &Progress,
    ) -> anyhow::Result<Vec<u8>> {
        let kept = self.folder.join(format!("{}-{}.fd", platform.name(), recipe.key(platform, versions)));
        let downloads = self.folder.join("sources");
        if kept.exists() {
            if !given.is_empty() {
                recipe.pin.sources(given, &downloads, progress)?;
            }
            return fs::read(&kept).with_context(|| format!("cannot read {}", kept.display()));
        }
        let sources = recipe.pin.sources(given, &downloads, progress)?;
        let tree = self.tree(recipe, versions, &sources, progress)?;
        let log = self.folder.join(format!("{}.log", platform.name()));
        let image = edk2::build(&tree, platform, &recipe.pin.version, &log, progress)?;
        platform.check(&image)?;
        let scratch = kept.with_extension("new");
        fs::write(&scratch, &image).with_context(|| format!("cannot write {}", scratch.display()))?;
        fs::rename(&scratch, &kept).with_context(|| format!("cannot write {}", kept.display()))?;
        Ok(image)
    }

    /// The unpacked and patched source with its tools built.
    fn tree(
        &self,
        recipe: &Recipe,
        versions: &Versions,
        sources: &Sources,
        progress: &Progress,
    ) -> anyhow::Result<PathBuf> {
        let tree = self.folder.join(format!("source-{}", recipe.source_key(versions)));
        if tree.exists() {
            return Ok(tree);
        }
        let scratch = self.folder.join("unfinished");
        if scratch.exists() {
            fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))?;
        }
        fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
        let spinner = progress.spinner("Unpacking", sources.upstream.display());
        let unpacked = unpack(&scratch, recipe, sources);
        spinner.finish_and_clear();
        let unpacked = unpacked?;
        edk2::build_tools(&unpacked, &recipe.pin.version, &self.folder.join("tools.log"), progress)?;
        fs::rename(&unpacked, &tree).with_context(|| format!("cannot create {}", tree.display()))?;
        Ok(tree)
    }
}

/// Unpacks both archives into `folder`, and applies Debian's patches and ours.
fn unpack(folder: &Path, recipe: &Recipe, sources: &Sources) -> anyhow::Result<PathBuf> {
    let extract = |archive: &Path, folder: &Path| {
        run(Command::new("tar")
            .args(["--extract", "--xz", "--no-same-owner", "--directory"])
            .arg(folder)
            .arg("--file")
            .arg(archive))
    };
    extract(&sources.upstream, folder)?;
    let tree = folder.join(&recipe.pin.folder);
    ensure!(tree.is_dir(), "{} has no folder {}", sources.upstream.display(), recipe.pin.folder);
    extract(&sources.debian, &tree)?;
    let patches = tree.join("debian/patches");
    let read = |path: PathBuf| fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()));
    for name in read(patches.join("series"))?.lines().map(str::trim) {
        if name.is_empty() || name.starts_with('#') {
            continue;
        }
        apply(&tree, &read(patches.join(name))?).with_context(|| format!("Debian's patch {name} does not apply"))?;
    }
    for (name, patch) in &recipe.patches {
        apply(&tree, patch).with_context(|| format!("patch {name} does not apply"))?;
    }
    Ok(tree)
}
