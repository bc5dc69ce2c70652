//! The kernel around the appliance: pinned source, patches, settings, and a cached build.
//!
//! What enters a kernel lies in `image/kernel/` as data; this module turns it, and the archive of the root file system,
//! into one bzImage.

pub mod cache;
pub mod make;
pub mod pin;
pub mod recipe;
pub mod settings;
pub mod variant;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::build::parts::Parts;
use crate::build::toolchain::Toolchain;
use crate::progress::Progress;
use cache::Cache;
use recipe::Recipe;
use variant::Variant;

/// Name of the root file system's archive in the object tree, as the configuration names it.
const ARCHIVE: &str = "lethe.cpio";

/// Where the object tree has its image.
const IMAGE: &str = "arch/x86/boot/bzImage";

/// A finished kernel.
pub struct Built {
    /// The bytes of the bzImage.
    pub image: Vec<u8>,
    /// The configuration it was built with, after every default was resolved.
    pub config: String,
    /// How long `make` ran.
    pub took: Duration,
}

/// Builds the kernel with `archive` inside, or relinks a cached one.
///
/// # Errors
/// If the pinned source is not there, a setting did not take, or the build fails (with the place of its log).
pub fn build(
    recipe: &Recipe,
    variant: Variant,
    archive: &[u8],
    source: Option<&Path>,
    toolchain: &Toolchain,
    parts: &mut Parts,
    progress: &Progress,
) -> anyhow::Result<Built> {
    let cache = Cache::open(progress)?;
    let tree = cache.source(recipe, source, progress)?;
    let objects = cache.objects(&recipe.key(variant, toolchain), &recipe.source_key(), progress)?;
    let make = make::Make::new(&tree, &objects);
    let config = configure(&make, recipe, variant, &objects, progress)?;
    write_if_different(&objects.join(ARCHIVE), archive)?;
    let started = Instant::now();
    let spinner = progress.spinner("Building", format!("Linux {}{}", recipe.pin.version, variant.remark()));
    let result = make.run(&["bzImage"]);
    spinner.finish_and_clear();
    result?;
    parts.note_kernel(&objects)?;
    let image = objects.join(IMAGE);
    let image = fs::read(&image).with_context(|| format!("cannot read {}", image.display()))?;
    Ok(Built { image, config, took: started.elapsed() })
}

/// Resolves the configuration once per object tree, and checks it every time.
fn configure(
    make: &make::Make,
    recipe: &Recipe,
    variant: Variant,
    objects: &Path,
    progress: &Progress,
) -> anyhow::Result<String> {
    let wanted = recipe.configuration(variant, ARCHIVE)?;
    let fragments = objects.join("lethe.config");
    let resolved = objects.join(".config");
    if fs::read_to_string(&fragments).ok().as_deref() != Some(&wanted) || !resolved.exists() {
        progress.status("Configuring", format!("Linux {}{}", recipe.pin.version, variant.remark()));
        let scratch = objects.join("lethe.config.new");
        fs::write(&scratch, &wanted).with_context(|| format!("cannot write {}", scratch.display()))?;
        make.configure(&scratch)?;
        fs::rename(&scratch, &fragments).with_context(|| format!("cannot write {}", fragments.display()))?;
    }
    let text = fs::read_to_string(&resolved).with_context(|| format!("cannot read {}", resolved.display()))?;
    recipe.check(&text, &wanted, variant)?;
    Ok(text)
}

/// Leaves the file alone when nothing changed, so that `make` has nothing to do.
fn write_if_different(path: &PathBuf, bytes: &[u8]) -> anyhow::Result<()> {
    if fs::read(path).ok().as_deref() == Some(bytes) {
        return Ok(());
    }
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
