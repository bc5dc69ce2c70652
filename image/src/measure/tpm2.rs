//! `lethe-image measure tpm2`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;
use measurements::firmware::variables::{SecureBootKeys, secure_boot_keys};
use measurements::partition_table;
use measurements::tpm2::{Firmware, ImageEvent, Pcr, image_event, pcr0, pcr2, pcr4, pcr7, pcr9, pcr11, pcr12};
use serde_json::{Value, json};

use super::{inputs, output};
use crate::report::advise;

const HELP: &str = "\
Examples:
  lethe-image measure tpm2 --efi lethe.efi --config lethe.toml
  lethe-image measure tpm2 --efi lethe.efi --firmware OVMF.fd --json
  lethe-image measure tpm2 --efi lethe.efi --variables OVMF_VARS_4M.fd
  lethe-image measure tpm2 --efi lethe.efi --disk lethe.raw --variant google

image_event is the one event a verifier has to find, once, in the register beside it. PCRs 4, 9, 11 and 12 belong to the
image and the document; 0, 2 and 7 to the firmware and the machine. `lethe-image events` reads the log of a machine.";

/// PCRs of a TPM 2.0 after a boot from a disk
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    /// The file that is booted, as \EFI\BOOT\BOOTX64.EFI: lethe.efi
    #[arg(long, value_name = "FILE")]
    efi: PathBuf,
    /// Firmware image; if it has a store of variables in it, PCR 7 can be computed
    #[arg(long, value_name = "FILE", conflicts_with = "variables")]
    firmware: Option<PathBuf>,
    /// Separate store of variables, such as OVMF_VARS.fd, as the machine gets it before its first start
    #[arg(long, value_name = "FILE")]
    variables: Option<PathBuf>,
    /// Disk that is booted from; Google's firmware measures its partition table in PCR 2
    #[arg(long, value_name = "FILE")]
    disk: Option<PathBuf>,
    /// Deployment document that the image is bound to by PCR 12
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Whose firmware it is
    #[arg(long, value_enum, default_value = "edk2")]
    variant: Variant,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Variant {
    /// EDK II's OVMF and most others: the image is in PCR 4
    Edk2,
    /// Google Compute Engine: the image is in PCR 2
    Google,
}

impl From<Variant> for Firmware {
    fn from(variant: Variant) -> Self {
        match variant {
            Variant::Edk2 => Self::Edk2,
            Variant::Google => Self::Google,
        }
    }
}

pub(super) fn measure(args: &Args) -> anyhow::Result<String> {
    let document = inputs::document(args.config.as_deref())?;
    let keys = keys(args)?;
    let efi = inputs::booted("image", &args.efi)?;
    let firmware = Firmware::from(args.variant);
    let image = image_event(firmware, &efi).with_context(|| {
        advise(
            format!("{} is no PE file that firmware would measure", args.efi.display()),
            "give the file lethe-image build made",
        )
    })?;
    let disk = args.disk.as_deref().map(inputs::disk_start).transpose()?;
    let partition_table = disk.as_deref().map(partition_table::event).transpose().with_context(|| {
        advise(
            "the disk has no partition table that can be measured",
            "give a raw disk image with a GUID partition table",
        )
    })?;
    let registers = vec![
        ("pcr0", pcr0()),
        ("pcr2", pcr2(firmware, &image, partition_table)),
        ("pcr4", pcr4(firmware, &image)),
        ("pcr7", pcr7(keys)),
        ("pcr9", pcr9()),
        ("pcr11", pcr11()),
        ("pcr12", pcr12(document.as_deref())),
    ];
    Ok(if args.json { json(&image, &registers) } else { text(&image, &registers) })
}

/// What the store of variables says, where there is one.
fn keys(args: &Args) -> anyhow::Result<Option<SecureBootKeys>> {
    if let Some(path) = &args.variables {
        let store = inputs::small("store of variables", path)?;
        let keys = secure_boot_keys(&store).with_context(|| {
            advise(format!("{} is no store of variables", path.display()), "give a file such as OVMF_VARS.fd")
        })?;
        return Ok(Some(keys));
    }
    let Some(path) = &args.firmware else { return Ok(None) };
    let image = inputs::firmware(path)?;
    // Firmware without variables in it, such as OVMF_CODE.fd, gets them from a file of their own.
    Ok(secure_boot_keys(&image).ok())
}

fn json(image: &ImageEvent, registers: &[(&'static str, Pcr)]) -> String {
    let mut event = output::event(&image.event);
    if let Some(event) = event.as_object_mut() {
        event.insert("pcr".to_owned(), json!(image.pcr));
    }
    let mut entries = vec![("platform", Value::from("tpm2")), ("image_event", event)];
    entries.extend(registers.iter().map(|(name, prediction)| (*name, output::json(prediction))));
    output::document(entries)
}

fn text(image: &ImageEvent, registers: &[(&'static str, Pcr)]) -> String {
    use output::Shown as _;
    let mut text = String::new();
    for line in image.event.digest.lines() {
        text.push_str(&format!("image_event  PCR {}  {line}\n", image.pcr));
    }
    registers.iter().for_each(|(name, prediction)| text.push_str(&output::text(name, prediction)));
    text
}
