//! The files of a release by their digests.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context as _;
use measurements::release::{Digest, Part, Release};
use sha2::{Digest as _, Sha256};

use crate::report::advise;

/// The name of the image in a release.
pub(super) const IMAGE: &str = "lethe.efi";

/// Every file of a release with what it has to be.
pub(super) fn named(release: &Release) -> impl Iterator<Item = (&str, &Part)> {
    let others = release.files.iter().map(|(name, part)| (name.as_str(), part));
    std::iter::once((IMAGE, &release.image.file)).chain(others)
}

/// Digest and length of bytes.
pub(super) fn part(bytes: &[u8]) -> Part {
    Part { sha256: Digest(Sha256::digest(bytes).into()), size: bytes.len() as u64 }
}

/// Digest and length of a file, or nothing where there is none.
pub(super) fn digest(path: &Path) -> anyhow::Result<Option<Part>> {
    let failed = || advise(format!("cannot read {}", path.display()), "give yourself the right to read it");
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(failed),
    };
    let (sha256, size) = crate::digest::of(file).with_context(failed)?;
    Ok(Some(Part { sha256: Digest(sha256), size }))
}
