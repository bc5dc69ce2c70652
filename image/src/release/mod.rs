//! `lethe-image release` and `lethe-image cosign`: what is published of an image, signed by those who vouch for it.

mod artifacts;
mod cosign;
mod folder;
mod key;
mod keygen;
mod make;
mod manifest;
mod measured;
mod sbom;
mod verify;

use clap::Subcommand;

pub use cosign::{Args as CosignArgs, run as run_cosign};
pub(crate) use manifest::Manifest;

const EXAMPLES: &str = "\
Examples:
  lethe-image release keygen --name example.org/lethe --out release.key
  lethe-image release --version 0.2.0 --key release.key --firmware OVMF.amdsev.fd --firmware OVMF.inteltdx.fd
  lethe-image release --version 0.2.0 --key release.key --efi out/lethe.efi --manifest out/lethe.manifest.json
  lethe-image release verify out/release-0.2.0/measurements/0.2.0.note --key 'example.org/lethe+1c6c4a56+AZ…'

docs/releases.md explains the files and the signatures.";

/// Build and measure a release of the image, and sign what was measured
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(flatten)]
    make: Option<make::Args>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    // What these say stands at their `Args`.
    Keygen(keygen::Args),
    Verify(verify::Args),
}

/// Does what `lethe-image release …` asks.
///
/// # Errors
/// What is wrong with the inputs, with advice; nothing is signed then.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match (&args.action, &args.make) {
        (Some(Action::Keygen(args)), _) => keygen::run(args),
        (Some(Action::Verify(args)), _) => verify::run(args),
        (None, Some(args)) => make::run(args),
        (None, None) => {
            anyhow::bail!(crate::report::advise("nothing was asked for", "see lethe-image release --help").usage())
        }
    }
}
