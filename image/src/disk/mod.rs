//! `lethe-image disk`: the image, and perhaps its document, on a disk that any UEFI machine starts from.
//!
//! The bytes depend on the image, the document and the size alone: no clock, no random identifier, nothing of the computer it runs on.

pub mod esp;
pub mod format;
pub mod input;
pub mod layout;
pub mod output;
pub mod reader;
pub mod sparse;
mod summary;
pub mod table;

use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use deployment::Wrapped;

use crate::report::advise;
use format::Format;
use input::Image;
use layout::{DiskMib, Layout};
use output::{Output, Written};
use sparse::Sparse;

const EXAMPLES: &str = "\
Examples:
  lethe-image disk --config lethe.toml                         out/lethe.raw, with its document: AWS, QEMU
  lethe-image disk --config lethe.toml --format tar.gz         out/lethe.tar.gz: Google
  lethe-image disk --config lethe.toml --format vhd            out/lethe.vhd: Azure
  lethe-image disk --efi out/lethe.efi --out lethe.raw         no document on the disk: it is baked in, or given otherwise
  lethe-image boot --disk out/lethe.raw --model m.gguf         boot it here

The same image, document and size always give the same bytes. docs/clouds.md says what each cloud lacks.";

/// Write a disk that a UEFI machine starts from
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Image to put on the disk
    #[arg(long, value_name = "FILE", default_value = "out/lethe.efi")]
    efi: PathBuf,
    /// Deployment document for a partition of its own; leave it out if one is baked into the image
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What vendors say about the platform (endorsements.json of `lethe collateral`), beside the document; it goes into the evidence
    #[arg(long, value_name = "FILE", requires = "config")]
    endorsements: Option<PathBuf>,
    /// File to write [default: out/lethe.FORMAT]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Kind of file
    #[arg(long, value_enum, default_value = "raw")]
    format: Format,
    /// Size of the disk, such as 512M or 4G
    #[arg(long, value_name = "SIZE", default_value = "1G")]
    size: DiskMib,
    /// Print JSON: digests of file and disk, partitions, image, document
    #[arg(long)]
    json: bool,
}

/// Writes a disk.
///
/// # Errors
/// If an input is not what it must be, the disk is too small, or the file cannot be written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let unit = args.format.unit_mib();
    if !args.size.0.is_multiple_of(unit) {
        let what =
            format!("a disk of {} MiB cannot be a {}: Google imports whole GiB", args.size.0, args.format.name());
        return Err(advise(what, "give a --size in whole GiB, such as 1G").usage().into());
    }
    let image = input::image(&args.efi)?;
    let document = args.config.as_deref().map(input::document).transpose()?;
    let layout = Layout::new(image.bytes.len() as u64, document.is_some(), args.size)
        .with_context(|| advise("the disk cannot be laid out", "give a larger --size, or leave it out").usage())?;
    let endorsements = args.endorsements.as_deref().map(input::endorsements).transpose()?;
    let wrapped = document.as_deref().map(|toml| Wrapped { toml, endorsements: endorsements.as_deref() });
    let disk = make(&layout, &image, wrapped)?;
    let sha256 = disk.sha256();
    let path = args.out.clone().unwrap_or_else(|| Path::new("out").join(format!("lethe.{}", args.format.name())));
    let written = write(args.format, &disk, &sha256, &path)?;
    let summary = summary::Summary { path, format: args.format, written, sha256, layout, image, document };
    if args.json {
        print!("{}", summary.json()?);
    } else {
        eprint!("{summary}");
    }
    Ok(())
}

/// The disk in memory: table, EFI system partition, document.
///
/// # Errors
/// If a part does not fit where the layout puts it.
pub fn make(layout: &Layout, image: &Image, document: Option<Wrapped<'_>>) -> anyhow::Result<Sparse> {
    let mut disk = Sparse::of_mib(layout.size_mib);
    let esp = esp::format(layout.esp.length_mib, &image.bytes).context("cannot make the EFI system partition")?;
    disk.copy(layout.esp.offset(), &esp).context("cannot place the EFI system partition")?;
    if let Some((extent, document)) = layout.document.zip(document) {
        let place = |disk: &mut Sparse| -> io::Result<()> {
            disk.seek(SeekFrom::Start(extent.offset()))?;
            disk.write_all(&deployment::wrap_disk(document))
        };
        place(&mut disk).context("cannot place the document")?;
    }
    table::write(&mut disk, layout)?;
    Ok(disk)
}

fn write(format: Format, disk: &Sparse, sha256: &[u8; 32], path: &Path) -> anyhow::Result<Written> {
    let context = || format!("cannot write {}", path.display());
    // The folder of a bare name is the empty path.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut output = Output::begin(folder).with_context(context)?;
    format.write(disk, sha256, &mut output).with_context(context)?;
    output.finish(path).with_context(context)
}
