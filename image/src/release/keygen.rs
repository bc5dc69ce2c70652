//! `lethe-image release keygen`.

use std::path::PathBuf;

use anyhow::Context as _;
use measurements::release::signed_note::check_name;

use super::key::SignerKey;
use crate::report::advise;

/// Make the key of a signer, and print its public half
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lethe-image release keygen --name example.org/lethe --out release.key

The line printed is what others give to `lethe-image release verify --key`. The file is the secret: keep it offline.")]
pub(super) struct Args {
    /// Name of the signer, best an address without scheme: example.org/lethe
    #[arg(long, value_name = "NAME")]
    name: String,
    /// File the secret key is written to; it must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    check_name(&args.name)
        .with_context(|| advise("not a name for a signer", "take one such as example.org/lethe").usage())?;
    let key = SignerKey::generate(&args.name)?;
    key.write(&args.out)?;
    println!("{}", key.public());
    Ok(())
}
