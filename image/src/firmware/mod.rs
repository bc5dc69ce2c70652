//! `lethe-image firmware`: OVMF for confidential machines, built from a distribution's own source package.
//!
//! What enters it lies in `image/firmware/` as data: the pinned source and the patches with their reasons.

pub mod edk2;
pub mod platform;
pub mod recipe;
pub mod source;
pub mod tools;
pub mod tree;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use serde::Serialize;

use crate::build::checkout;
use crate::build::manifest::{Part, sha256};
use crate::build::place;
use crate::progress::Progress;
use platform::Platform;
use recipe::Recipe;
use tree::Cache;

/// Build the firmware of a confidential machine from Debian's source
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lethe-image firmware sev-snp                                  out/OVMF.amdsev.fd
  lethe-image firmware tdx --out firmware --json                firmware/OVMF.inteltdx.fd, and what it was made of
  lethe-image firmware tdx --source edk2_2025.02.orig.tar.xz --source edk2_2025.02-8+deb13u1.debian.tar.xz

The two source files are fetched once and kept; every byte of them is pinned. docs/firmware.md says what is built and why.")]
pub struct Args {
    /// Whose firmware
    #[arg(value_enum)]
    pub platform: Platform,
    /// File of the pinned source package, instead of fetching it; give it twice for both
    #[arg(long, value_name = "FILE")]
    pub source: Vec<PathBuf>,
    /// Folder the image is written to
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,
    /// Print what the image is and what it was made of
    #[arg(long)]
    pub json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Facts<'a> {
    platform: &'static str,
    path: String,
    file: Part,
    package: &'a str,
    package_version: &'a str,
    sources: [Named<'a>; 2],
    patches: Vec<PatchFacts<'a>>,
    toolchain: &'a tools::Versions,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    sha256: &'a str,
}

#[derive(Serialize)]
struct PatchFacts<'a> {
    name: &'a str,
    sha256: String,
}

/// Builds, or takes from the cache, and writes the image.
///
/// # Errors
/// If something needed is missing, does not compile, or gives an image the platform cannot use.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let progress = Progress::on_stderr();
    let started = Instant::now();
    place::check()?;
    let root = checkout::root()?;
    let recipe = Recipe::read(&root.join("image/firmware"))?;
    let versions = tools::probe()?;
    let cache = Cache::open(&progress)?;
    let image = cache.image(args.platform, &recipe, &versions, &args.source, &progress)?;
    crate::build::write(&args.out, args.platform.file_name(), &image)?;
    let path = args.out.join(args.platform.file_name());
    let file = Part::of(&image);
    let seconds = started.elapsed().as_secs_f64();
    progress.finished("Finished", format!("{} in {seconds:.0} s; sha256 {}", path.display(), sha256(&image)));
    if args.json {
        let pin = &recipe.pin;
        let facts = Facts {
            platform: args.platform.name(),
            path: path.display().to_string(),
            file,
            package: &pin.package,
            package_version: &pin.package_version,
            sources: [&pin.upstream, &pin.debian].map(|part| Named { name: &part.name, sha256: &part.sha256 }),
            patches: recipe
                .patches
                .iter()
                .map(|(name, text)| PatchFacts { name, sha256: sha256(text.as_bytes()) })
                .collect(),
            toolchain: &versions,
        };
        println!("{}", serde_json::to_string_pretty(&facts).context("cannot write the facts as JSON")?);
    }
    Ok(())
}
