//! `lethe-image release`: everything from one commit into one folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use measurements::release::signed_note::SignedNote;
use measurements::release::{FORMAT, Firmware, MANIFEST, Release, check_version};

use super::folder::Folder;
use super::key::SignerKey;
use super::manifest::Manifest;
use super::measured::{self, Booted};
use super::{artifacts, sbom};
use crate::build::{self, checkout};
use crate::disk;
use crate::disk::layout::{DEFAULT_MIB, DiskMib, Layout};
use crate::kernel::variant::Variant;
use crate::measure::inputs;
use crate::report::advise;

/// What `lethe-image reproduce` names a difference with.
const PARTS: &str = "lethe.parts.json";
const DISK: &str = "lethe.raw";
const CHANGELOG: &str = "CHANGELOG.md";
const SBOM: &str = "sbom.cdx.json";
/// What of a disk image can hold its partition table.
const DISK_START: usize = 2 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Version of the release; CHANGELOG.md needs a section with it as its title
    #[arg(long, value_name = "VERSION")]
    version: String,
    /// Secret key to sign with
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Folder the release is written to [default: out/release-VERSION]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Firmware image to publish values for; can be given several times
    #[arg(long, value_name = "FILE")]
    firmware: Vec<PathBuf>,
    /// Image to release, instead of building it
    #[arg(long, value_name = "FILE", requires = "manifest")]
    efi: Option<PathBuf>,
    /// Its manifest
    #[arg(long, value_name = "FILE", requires = "efi")]
    manifest: Option<PathBuf>,
    /// Raw disk image with the image on it, to release too; one is made where the image is built here
    #[arg(long, value_name = "FILE", requires = "efi")]
    disk: Option<PathBuf>,
    /// Archive of the pinned kernel source, where the package is not installed
    #[arg(long, value_name = "FILE", conflicts_with = "efi")]
    kernel_source: Option<PathBuf>,
}

/// The files that a release is made of.
struct Inputs {
    efi: Vec<u8>,
    manifest: Vec<u8>,
    manifest_path: PathBuf,
    parts: Option<Vec<u8>>,
    disk: Option<Vec<u8>>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    check_version(&args.version).with_context(|| advise("not a version", "take one such as 0.2.0").usage())?;
    let key = SignerKey::read(&args.key)?;
    let root = checkout::root()?;
    // Before a build that takes a while.
    let here = commit(&root)?;
    let changelog = changelog(&root, &args.version)?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("out/release-{}", args.version)));
    let folder = Folder::fresh(&out, &args.version)?;
    let inputs = inputs(args, &out)?;
    let manifest = Manifest::parse(&inputs.manifest, &inputs.manifest_path)?;
    let commit = manifest.commit()?;
    let help = format!("git switch --detach {commit}");
    ensure!(here == commit, advise("the image was built from another commit than the one that is checked out", help));
    let image = manifest.image(&inputs.efi)?;
    let sbom = sbom::render(&root, &args.version, &manifest, &image)?;

    let mut files = vec![(MANIFEST, inputs.manifest.as_slice()), (CHANGELOG, &changelog), (SBOM, sbom.as_bytes())];
    files.extend(inputs.parts.as_deref().map(|parts| (PARTS, parts)));
    files.extend(inputs.disk.as_deref().map(|disk| (DISK, disk)));
    let start = inputs.disk.as_deref().map(|disk| disk.get(..DISK_START).unwrap_or(disk));
    let booted = Booted { efi: &inputs.efi, disk: start };
    let release = Release {
        format: FORMAT,
        version: args.version.clone(),
        commit: commit.to_owned(),
        image,
        files: files.iter().map(|(name, bytes)| ((*name).to_owned(), artifacts::part(bytes))).collect(),
        firmware: firmware(&args.firmware, &booted)?,
        tpm2: measured::pcrs(&booted)?,
    };
    let text = release.render().context(advise("this release cannot be written", "name fewer firmware images"))?;
    let mut note = SignedNote::unsigned(&text)?;
    key.sign(&mut note)?;

    folder.write(artifacts::IMAGE, &inputs.efi)?;
    files.iter().try_for_each(|(name, bytes)| folder.write(name, bytes))?;
    let path = folder.publish(&args.version, &note)?;
    println!("{}, {} bytes, signed by {}", path.display(), text.len(), key.public().name());
    Ok(())
}

/// The files given, or those of a build into the release's folder.
fn inputs(args: &Args, out: &Path) -> anyhow::Result<Inputs> {
    let (efi, manifest) = match (&args.efi, &args.manifest) {
        (Some(efi), Some(manifest)) => (efi.clone(), manifest.clone()),
        _ => {
            build::run(&build::Args {
                config: None,
                out: out.to_owned(),
                kernel_source: args.kernel_source.clone(),
                in_place: false,
                target: None,
                variant: Variant::default(),
            })?;
            (out.join(artifacts::IMAGE), out.join(MANIFEST))
        }
    };
    let parts = manifest.with_file_name(PARTS);
    let disk = match &args.disk {
        // A release that is built here has the disk of `lethe-image disk` too.
        None if args.efi.is_none() => Some(whole_disk(&efi)?),
        given => inputs::optional_booted("disk image", given.as_deref())?,
    };
    Ok(Inputs {
        efi: inputs::booted("image", &efi)?,
        manifest: inputs::small("manifest", &manifest)?,
        manifest_path: manifest,
        parts: parts.exists().then(|| inputs::small("list of parts", &parts)).transpose()?,
        disk,
    })
}

/// The image on a raw disk of the usual size, without a document.
fn whole_disk(efi: &Path) -> anyhow::Result<Vec<u8>> {
    let image = disk::input::image(efi)?;
    let layout = Layout::new(image.bytes.len() as u64, false, DiskMib(DEFAULT_MIB))?;
    let mut disk = disk::make(&layout, &image, None)?;
    let mut bytes = Vec::new();
    disk.rewind().and_then(|()| disk.read_to_end(&mut bytes)).context("cannot read the disk back")?;
    Ok(bytes)
}

/// The commit of the source tree. The bill of materials comes from the tree: it has to be what the image was built from.
fn commit(root: &Path) -> anyhow::Result<String> {
    let state = checkout::State::of(root);
    ensure!(!state.dirty, advise("files of this source tree are in no commit", "commit or remove them"));
    state.commit.context(advise("this source tree has no commit", "release from a checkout of the repository"))
}

/// The changelog, which has to know the version.
fn changelog(root: &Path, version: &str) -> anyhow::Result<Vec<u8>> {
    let path = root.join(CHANGELOG);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let help = format!("write one: ## {version}");
    ensure!(has_section(&text, version), advise(format!("{CHANGELOG} has no section for {version}"), help));
    Ok(text.into_bytes())
}

/// Whether a line is `## VERSION` or `## [VERSION]`, with or without a date behind it.
fn has_section(text: &str, version: &str) -> bool {
    let titles = text.lines().filter_map(|line| line.strip_prefix("## ")?.split_whitespace().next());
    titles.map(|title| title.trim_start_matches('[').trim_end_matches(']')).any(|title| title == version)
}

/// Values for every firmware image, in the order of a release file.
fn firmware(paths: &[PathBuf], booted: &Booted<'_>) -> anyhow::Result<Vec<Firmware>> {
    let mut sorted = BTreeMap::new();
    for path in paths {
        let firmware = measured::firmware(path, booted)?;
        let twice = sorted.insert((firmware.name.clone(), firmware.file.sha256), firmware);
        ensure!(twice.is_none(), advise(format!("{} is given twice", path.display()), "name every image once").usage());
    }
    Ok(sorted.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_of_the_changelog_is_found_by_its_title() {
        for title in ["## 0.2.0", "## [0.2.0] - 2026-01-01", "## 0.2.0 (2026-01-01)"] {
            assert!(has_section(&format!("# Changelog\n\n## Unreleased\n\n{title}\n- x\n"), "0.2.0"), "{title}");
        }
        for title in ["## Unreleased", "### 0.2.0", "## 0.2.01", "0.2.0"] {
            assert!(!has_section(&format!("# Changelog\n{title}\n"), "0.2.0"), "{title}");
        }
    }
}
