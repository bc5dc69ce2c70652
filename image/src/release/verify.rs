//! `lethe-image release verify`.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use measurements::release::Release;
use measurements::release::signed_note::{self, SignedNote, VerifierKey};

use super::{artifacts, folder};
use crate::report::advise;

/// Check the signatures of a release, and the files beside it
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lethe-image release verify measurements/0.2.0.note --key 'example.org/lethe+1c6c4a56+AZ…'
  lethe-image release verify measurements/0.2.0.note --key 'a+…' --key 'b+…' --key 'c+…' --threshold 2

Only the keys that you name are trusted. Files of the release that lie in the folder above the note are compared with it.")]
pub(super) struct Args {
    /// The signed note: measurements/VERSION.note
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Public key of a signer you trust, as `keygen` printed it
    #[arg(long = "key", value_name = "VKEY", required = true)]
    keys: Vec<VerifierKey>,
    /// How many of these keys have to have signed [default: all]
    #[arg(long, value_name = "K")]
    threshold: Option<usize>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let note = read(&args.file)?;
    let mut points: Vec<[u8; 32]> = args.keys.iter().map(VerifierKey::to_bytes).collect();
    points.sort_unstable();
    points.dedup();
    let threshold = args.threshold.unwrap_or(points.len());
    let signers = note.verify(&args.keys, threshold).with_context(|| {
        advise(format!("{} is not to be trusted", args.file.display()), "take it from its source again; check the keys")
    })?;
    let release = release(&note)?;
    for signer in &signers {
        println!("signed by {}", signer.name());
    }
    println!("release {} of commit {}: {} of {} keys", release.version, release.commit, signers.len(), points.len());
    beside(&args.file, &note, &release)
}

/// Reads a signed note of a release.
pub(super) fn read(path: &Path) -> anyhow::Result<SignedNote> {
    let failed = || advise(format!("cannot read {}", path.display()), "name the file VERSION.note of a release");
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(failed)?;
    file.take(signed_note::LIMIT as u64 + 1).read_to_end(&mut bytes).with_context(failed)?;
    SignedNote::parse(&bytes).with_context(|| {
        advise(format!("{} is no signed note", path.display()), "name the file VERSION.note of a release")
    })
}

/// The release that a note is about.
pub(super) fn release(note: &SignedNote) -> anyhow::Result<Release> {
    Release::parse(note.text().as_bytes()).with_context(|| {
        advise("the text that was signed is no release file", "perhaps a newer lethe-image can read it")
    })
}

/// Compares the files that lie where `lethe-image release` put them.
fn beside(path: &Path, note: &SignedNote, release: &Release) -> anyhow::Result<()> {
    let plain = path.with_file_name(folder::text_name(&release.version));
    match artifacts::digest(&plain)? {
        Some(found) if found != artifacts::part(note.text().as_bytes()) => bail!(differs(&plain)),
        Some(_) => println!("same      {}", plain.display()),
        None => println!("not here  {}", plain.display()),
    }
    let above = std::path::absolute(path).ok().and_then(|path| Some(path.parent()?.parent()?.to_owned()));
    let Some(above) = above else { return Ok(()) };
    for (name, part) in artifacts::named(release) {
        match artifacts::digest(&above.join(name))? {
            Some(found) => {
                ensure!(found == *part, differs(&above.join(name)));
                println!("same      {name}");
            }
            None => println!("not here  {name}"),
        }
    }
    Ok(())
}

fn differs(path: &Path) -> crate::report::Advised {
    let message = format!("{} is not the file of this release", path.display());
    advise(message, "take it from the release again")
}
