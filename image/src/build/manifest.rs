//! `lethe.manifest.json`: what a file is and what it was made from, so that anyone can make it again and compare.

use std::collections::BTreeMap;

use anyhow::Context as _;
use measurements::authenticode;
use serde::Serialize;
use sha2::{Digest, Sha256, Sha384};

use crate::build::checkout;

/// Version of this format.
const FORMAT: u32 = 1;

/// Everything a manifest says. Written with its keys in byte order.
#[derive(Debug, Serialize)]
pub struct Manifest {
    /// Version of this format.
    pub format: u32,
    /// `release`, or the name of a kernel made for tests.
    pub variant: &'static str,
    /// Which drivers are in it.
    pub flavour: &'static str,
    /// The finished file.
    pub file: Part,
    /// What firmware measures of it.
    pub authenticode: Authenticode,
    /// The program inside, as /init.
    pub appliance: Part,
    /// The archive of the root file system inside.
    pub initramfs: Part,
    /// The deployment document inside, if one was baked in.
    pub document: Option<Document>,
    /// The kernel.
    pub kernel: Kernel,
    /// The source tree it was built from.
    pub source: checkout::State,
    /// Where the appliance was compiled: `fixed` as on every machine, or in the `checkout`, whose path is then in its bytes.
    pub places: &'static str,
    /// Versions of the programs that built it.
    pub toolchain: BTreeMap<&'static str, String>,
}

/// A sequence of bytes.
#[derive(Debug, Serialize)]
pub struct Part {
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// Length in bytes.
    pub size: u64,
}

/// Authenticode digests in hexadecimal.
#[derive(Debug, Serialize)]
pub struct Authenticode {
    /// As TPM banks of SHA-256 record it.
    pub sha256: String,
    /// As TDX, and TPM banks of SHA-384, record it.
    pub sha384: String,
}

/// A baked deployment document, with both digests a platform register could hold.
#[derive(Debug, Serialize)]
pub struct Document {
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// SHA-384 in hexadecimal.
    pub sha384: String,
    /// Length in bytes.
    pub size: u64,
}

/// The kernel and what decides it.
#[derive(Debug, Serialize)]
pub struct Kernel {
    /// What the kernel calls itself.
    pub version: String,
    /// Debian package of the source.
    pub package: String,
    /// Version of that package.
    pub package_version: String,
    /// SHA-256 of the source archive, in hexadecimal.
    pub source_sha256: String,
    /// SHA-256 of each patch, by file name.
    pub patches: BTreeMap<String, String>,
    /// SHA-256 of the resolved configuration, in hexadecimal.
    pub config_sha256: String,
    /// The compiled-in command line.
    pub cmdline: String,
}

impl Manifest {
    /// The version of the format this code writes.
    #[must_use]
    pub fn format() -> u32 {
        FORMAT
    }

    /// The file's text: keys in byte order, two spaces of indentation, one line feed at the end.
    ///
    /// # Errors
    /// If it cannot be serialised, which would be a mistake in this program.
    pub fn render(&self) -> anyhow::Result<String> {
        let mut value = serde_json::to_value(self).context("cannot write the manifest")?;
        value.sort_all_objects();
        let mut text = serde_json::to_string_pretty(&value).context("cannot write the manifest")?;
        text.push('\n');
        Ok(text)
    }
}

impl Part {
    /// Digest and length of bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { sha256: sha256(bytes), size: bytes.len() as u64 }
    }
}

impl Document {
    /// Digests and length of a document.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { sha256: sha256(bytes), sha384: hex::encode(Sha384::digest(bytes)), size: bytes.len() as u64 }
    }
}

impl From<authenticode::Digests> for Authenticode {
    fn from(digests: authenticode::Digests) -> Self {
        Self { sha256: hex::encode(digests.sha256), sha384: hex::encode(digests.sha384) }
    }
}

/// SHA-256 in hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
