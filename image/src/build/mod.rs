//! `lethe-image build`: appliance, root file system and kernel become one file, with a manifest beside it.

pub mod appliance;
pub mod checkout;
pub mod elf;
pub mod manifest;
pub mod parts;
pub mod place;
pub mod places;
pub mod toolchain;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use initramfs::{Contents, List};
use measurements::authenticode;

use crate::kernel::{self, recipe::Recipe, variant::Variant};
use crate::progress::Progress;
use crate::report::advise;
use manifest::{Document, Manifest, Part};
use parts::Parts;
use place::Place;
use toolchain::Toolchain;

/// The only flavour so far: virtio and NVMe drivers.
const FLAVOUR: &str = "qemu";

/// Build `lethe.efi` and `lethe.manifest.json` from this source tree.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lethe-image build                            out/lethe.efi, which takes its deployment document from outside
  lethe-image build --config lethe.toml        the same with the document inside, covered by the image measurement
  lethe-image build --kernel-source linux-source-6.12.tar.xz")]
pub struct Args {
    /// Deployment document to put into the image
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder the files are written to
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,
    /// Archive of the pinned kernel source, where the package is not installed
    #[arg(long, value_name = "FILE")]
    pub kernel_source: Option<PathBuf>,
    /// Compile the appliance in this checkout's target folder instead of at the fixed places: quicker after `cargo build`, and nobody else
    /// gets the same bytes
    #[arg(long)]
    pub in_place: bool,
    /// Folder for what is compiled at the fixed places; default: one in the cache
    #[arg(long, value_name = "DIR", hide = true, conflicts_with = "in_place")]
    pub target: Option<PathBuf>,
    /// Which kernel to build
    #[arg(long, value_enum, default_value_t, hide = true)]
    pub variant: Variant,
}

/// Builds and writes both files.
///
/// # Errors
/// If something needed is missing, does not compile, or a check fails. Files of an earlier build are then left as they were.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let progress = Progress::on_stderr();
    let started = Instant::now();
    let root = checkout::root()?;
    let document = args.config.as_deref().map(read_document).transpose()?;
    let toolchain = Toolchain::probe(&root)?;
    let recipe = Recipe::read(&root.join("image/kernel"))?;
    let place = if args.in_place {
        None
    } else {
        place::check()?;
        Some(Place::prepare(&root, args.target.as_deref())?)
    };
    let mut parts = Parts::default();
    let init = appliance::build(&root, place.as_ref(), &mut parts, &progress)?;
    let archive = archive(&init, document.as_deref())?;
    let source = args.kernel_source.as_deref();
    let built = kernel::build(&recipe, args.variant, &archive, source, &toolchain, &mut parts, &progress)?;
    let manifest = Manifest {
        format: Manifest::format(),
        variant: args.variant.name(),
        flavour: FLAVOUR,
        file: Part::of(&built.image),
        authenticode: authenticode::digests(&built.image).context("the kernel is not a well-formed PE file")?.into(),
        appliance: Part::of(&init),
        initramfs: Part::of(&archive),
        document: document.as_deref().map(Document::of),
        kernel: kernel_facts(&recipe, args.variant, &built.config),
        source: checkout::State::of(&root),
        places: if args.in_place { "checkout" } else { "fixed" },
        toolchain: toolchain.versions().clone(),
    };
    let stem = stem(args.variant);
    write(&args.out, &format!("{stem}.efi"), &built.image)?;
    write(&args.out, &format!("{stem}.manifest.json"), manifest.render()?.as_bytes())?;
    let list = serde_json::to_string_pretty(&parts).context("cannot write the list of parts")? + "\n";
    write(&args.out, &format!("{stem}.parts.json"), list.as_bytes())?;
    progress
        .finished("Finished", summary(&args.out.join(format!("{stem}.efi")), &manifest, started.elapsed(), built.took));
    Ok(())
}

/// A kernel made for tests never takes the name of the real one.
fn stem(variant: Variant) -> &'static str {
    match variant {
        Variant::Release => "lethe",
        Variant::UnmendedInitrd => "lethe.unmended",
    }
}

/// A document that the machine would refuse is refused here already.
fn read_document(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let check = || {
        advise(
            format!("{} is not a deployment document", path.display()),
            format!("see `lethe-image config check {}`", path.display()),
        )
    };
    let document = deployment::parse(&bytes).with_context(check)?;
    ensure!(
        document.image.manifest_sha256.is_none(),
        advise(
            "a document inside of an image cannot name the image's manifest: each would hold the other's digest",
            format!("take image.manifest_sha256 out of {}", path.display())
        )
    );
    Ok(bytes)
}

fn archive(init: &[u8], document: Option<&[u8]>) -> anyhow::Result<Vec<u8>> {
    let mut texts = vec![initramfs::BASE];
    let mut contents = Contents::from([("APPLIANCE", init)]);
    if let Some(document) = document {
        texts.push(initramfs::DOCUMENT);
        contents.insert("DOCUMENT", document);
    }
    let list = List::parse(&texts).context("bad list of the root file system")?;
    list.archive(&contents).context("cannot make the root file system")
}

fn kernel_facts(recipe: &Recipe, variant: Variant, config: &str) -> manifest::Kernel {
    let pin = &recipe.pin;
    manifest::Kernel {
        version: pin.version.clone(),
        package: pin.package.clone(),
        package_version: pin.package_version.clone(),
        source_sha256: pin.sha256.clone(),
        patches: recipe.patches.iter().map(|(name, text)| (name.clone(), manifest::sha256(text.as_bytes()))).collect(),
        config_sha256: manifest::sha256(config.as_bytes()),
        cmdline: recipe.variant_cmdline(variant),
    }
}

/// Writes beside the old file and then takes its place, so that no reader ever sees half of it.
pub(crate) fn write(folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let path = folder.join(name);
    let context = || format!("cannot write {}", path.display());
    fs::create_dir_all(folder).with_context(context)?;
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .with_context(context)?;
    file.write_all(bytes).with_context(context)?;
    file.persist(&path).with_context(context)?;
    Ok(())
}

fn summary(path: &Path, manifest: &Manifest, all: Duration, kernel: Duration) -> String {
    let mebibytes = manifest.file.size as f64 / f64::from(1 << 20);
    format!(
        "{}, {mebibytes:.1} MiB, in {:.0} s (kernel {:.0} s); authenticode sha256 {}",
        path.display(),
        all.as_secs_f64(),
        kernel.as_secs_f64(),
        manifest.authenticode.sha256
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_names_a_manifest_goes_into_no_image() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lethe.toml");
        let digest = "ab".repeat(32);
        let text = format!(
            "version = 1\n[model]\nname = \"m\"\nsha256 = \"{digest}\"\nsize_bytes = 1\n[clients]\naccess = \"anyone\"\n"
        );
        fs::write(&path, &text).unwrap();
        assert_eq!(read_document(&path).unwrap(), text.as_bytes());
        fs::write(&path, format!("{text}[image]\nmanifest_sha256 = \"{digest}\"\n")).unwrap();
        assert!(format!("{:#}", read_document(&path).unwrap_err()).contains("cannot name the image's manifest"));
    }
}
