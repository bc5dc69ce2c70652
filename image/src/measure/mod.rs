//! `lethe-image measure`: what a platform will report for an image, computed from files, without booting anything.

mod events;
pub(crate) mod inputs;
mod keys;
mod output;
mod sev_snp;
mod tdx;
mod tpm2;

use clap::{Parser as _, Subcommand};

pub use events::{Args as EventsArgs, run as run_events};

const EXAMPLES: &str = "\
Examples:
  lethe-image measure sev-snp --firmware OVMF.amdsev.fd --kernel lethe.efi --vcpus 4 --cpu EPYC-Milan --config lethe.toml
  lethe-image measure tdx --firmware OVMF.inteltdx.fd --efi lethe.efi --disk lethe.raw --memory 8G --config lethe.toml
  lethe-image measure tpm2 --efi lethe.efi --firmware OVMF.fd --config lethe.toml --json

docs/measurements.md explains every value.";

/// Compute what a platform will report for an image
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    platform: Platform,
}

#[derive(Debug, Subcommand)]
enum Platform {
    // What these say stands at their `Args`.
    SevSnp(Box<sev_snp::Args>),
    Tdx(Box<tdx::Args>),
    Tpm2(Box<tpm2::Args>),
}

/// Does what `lethe-image measure …` asks.
///
/// # Errors
/// What is wrong with the inputs, with advice; never a digest that a machine would not have.
pub fn run(args: &Args) -> anyhow::Result<()> {
    print!("{}", measured(args)?);
    Ok(())
}

fn measured(args: &Args) -> anyhow::Result<String> {
    match &args.platform {
        Platform::SevSnp(args) => sev_snp::measure(args),
        Platform::Tdx(args) => tdx::measure(args),
        Platform::Tpm2(args) => tpm2::measure(args),
    }
}

/// What `lethe-image measure WORD…` would print.
///
/// # Errors
/// As [`run`], and if the words are none of its command lines.
pub fn of_words(words: &[String]) -> anyhow::Result<String> {
    #[derive(clap::Parser)]
    #[command(no_binary_name = true)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }
    measured(&Line::try_parse_from(words)?.args)
}
