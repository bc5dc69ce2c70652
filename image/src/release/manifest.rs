//! `lethe.manifest.json` as a release reads it, compared with the image it is about.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use measurements::authenticode;
use measurements::release::{Banks, Document, Image, Part};
use serde::Deserialize;

use super::artifacts;
use crate::report::advise;

/// The format that this code reads.
const FORMAT: u32 = 1;
/// The kernel that is released.
const VARIANT: &str = "release";
/// Where a build that others can repeat is compiled.
const PLACES: &str = "fixed";

/// What a manifest says, as far as a release needs it.
#[derive(Debug, Deserialize)]
pub(crate) struct Manifest {
    format: u32,
    variant: String,
    flavour: String,
    file: Part,
    authenticode: Banks,
    appliance: Part,
    initramfs: Part,
    document: Option<Document>,
    /// The kernel.
    pub(super) kernel: Kernel,
    source: Source,
    places: String,
    /// Versions of the programs that built it.
    pub(super) toolchain: BTreeMap<String, String>,
}

/// The kernel and what decides it.
#[derive(Debug, Deserialize)]
pub(super) struct Kernel {
    pub(super) version: String,
    pub(super) package: String,
    pub(super) package_version: String,
    pub(super) source_sha256: String,
    pub(super) patches: BTreeMap<String, String>,
    cmdline: String,
}

#[derive(Debug, Deserialize)]
struct Source {
    commit: Option<String>,
    dirty: bool,
}

impl Manifest {
    /// Reads a manifest's text.
    pub(crate) fn parse(text: &[u8], path: &Path) -> anyhow::Result<Self> {
        let failed =
            || advise(format!("{} is no manifest of an image", path.display()), "give what `lethe-image build` made");
        let manifest: Self = serde_json::from_slice(text).with_context(failed)?;
        ensure!(manifest.format == FORMAT, "manifests of format {} are unknown here", manifest.format);
        Ok(manifest)
    }

    /// Whether the image is one that is used, and takes its document from outside.
    pub(crate) fn takes_documents(&self) -> anyhow::Result<()> {
        let help = "name the manifest of an image that was built without --config";
        ensure!(self.variant == VARIANT, advise("the manifest is of a kernel made for tests", help));
        ensure!(self.document.is_none(), advise("the image has a document inside, and takes no other", help));
        Ok(())
    }

    /// The commit of a build that others can repeat.
    pub(super) fn commit(&self) -> anyhow::Result<&str> {
        let help = "commit, build again, and release that";
        ensure!(self.variant == VARIANT, advise("a kernel made for tests is not released", "lethe-image build"));
        ensure!(!self.source.dirty, advise("the image was built from files that are in no commit", help));
        let fixed =
            || advise("nobody else gets the bytes of an image that was built with --in-place", "lethe-image build");
        ensure!(self.places == PLACES, fixed());
        let commit = self.source.commit.as_deref().context(advise("the manifest names no commit", help))?;
        let plain = matches!(commit.len(), 40 | 64) && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        ensure!(plain, advise("the manifest names no commit", help));
        Ok(commit)
    }

    /// What a release says about the image, once these bytes are found to be the image.
    pub(super) fn image(&self, efi: &[u8]) -> anyhow::Result<Image> {
        let help = "give the image and the manifest of one build";
        let other = || advise("the manifest is about another image", help);
        ensure!(artifacts::part(efi) == self.file, other());
        let digests = authenticode::digests(efi).context("the image is not a well-formed PE file")?;
        ensure!(Banks::from(digests) == self.authenticode, other());
        Ok(self.claimed())
    }

    /// What a release would say about the image that this manifest is about.
    pub(super) fn claimed(&self) -> Image {
        Image {
            file: self.file,
            authenticode: self.authenticode,
            appliance: self.appliance,
            initramfs: self.initramfs,
            document: self.document,
            flavour: self.flavour.clone(),
            cmdline: self.kernel.cmdline.clone(),
        }
    }
}
