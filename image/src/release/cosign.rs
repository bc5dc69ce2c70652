//! `lethe-image cosign`: another signature on a release, by somebody who built it too.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use measurements::release::signed_note::{SignedNote, VerifierKey};
use measurements::release::{Image, Release};

use super::key::SignerKey;
use super::manifest::Manifest;
use super::{artifacts, folder, verify};
use crate::measure::inputs;
use crate::report::advise;

/// Sign a release that somebody else signed, after rebuilding its image
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lethe-image cosign measurements/0.2.0.note --key mine.key --signer 'example.org/lethe+1c6c4a56+AZ…' \\
      --manifest rebuilt/lethe.manifest.json --efi rebuilt/lethe.efi

A signature says: I built this image from this commit, and got these bytes.")]
#[command(group = clap::ArgGroup::new("ground").args(["signers", "manifest"]).required(true).multiple(true))]
pub struct Args {
    /// The signed note: measurements/VERSION.note
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Secret key to sign with
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Public key of a signer whose signature has to be on it already, as proof that the text is unchanged
    #[arg(long = "signer", value_name = "VKEY")]
    signers: Vec<VerifierKey>,
    /// Manifest of your own build, which has to be about the same image and commit
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// The image of your own build, compared with the manifest and the release
    #[arg(long, value_name = "FILE", requires = "manifest")]
    efi: Option<PathBuf>,
}

/// Adds a signature to a note.
///
/// # Errors
/// If an expected signature is missing or wrong, the text is no release, or the rebuilt image is another one. The note is
/// left as it was.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let key = SignerKey::read(&args.key)?;
    let mut note = verify::read(&args.file)?;
    let release = check(args, &note)?;
    let public = key.public();
    ensure!(!note.names(public), advise(format!("{} has signed it already", public.name()), "sign with another key"));
    key.sign(&mut note)?;
    folder::write(&args.file, note.render().as_bytes())?;
    println!("release {} of commit {}: signed by {}", release.version, release.commit, public.name());
    Ok(())
}

fn check(args: &Args, note: &SignedNote) -> anyhow::Result<Release> {
    if !args.signers.is_empty() {
        let distinct: std::collections::BTreeSet<_> = args.signers.iter().map(VerifierKey::to_bytes).collect();
        note.verify(&args.signers, distinct.len()).with_context(|| {
            advise(format!("{} is not to be signed", args.file.display()), "take it from its source again")
        })?;
    }
    let release = verify::release(note)?;
    if let Some(path) = &args.manifest {
        let manifest = Manifest::parse(&inputs::small("manifest", path)?, path)?;
        let image = match &args.efi {
            Some(path) => manifest.image(&inputs::booted("image", path)?)?,
            None => manifest.claimed(),
        };
        ensure!(
            manifest.commit()? == release.commit,
            advise("your build is one of another commit", format!("build commit {}", release.commit))
        );
        if let Some(part) = difference(&image, &release.image) {
            let help = "do not sign; find out what differs, and tell the other signers";
            anyhow::bail!(advise(format!("your build differs from the release in: {part}"), help));
        }
    }
    Ok(release)
}

/// The first part, from the inside out, in which two images differ.
fn difference(built: &Image, released: &Image) -> Option<&'static str> {
    let parts = [
        ("the deployment document", built.document == released.document),
        ("the appliance", built.appliance == released.appliance),
        ("the root file system", built.initramfs == released.initramfs),
        ("the kernel's command line", built.cmdline == released.cmdline),
        ("the drivers", built.flavour == released.flavour),
        (artifacts::IMAGE, built.file == released.file),
        ("the Authenticode digests", built.authenticode == released.authenticode),
    ];
    parts.into_iter().find(|(_, same)| !same).map(|(name, _)| name)
}
