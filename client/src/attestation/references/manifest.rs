//! `lethe.manifest.json`, as far as a verifier needs it: what `lethe-image build` wrote about an image.

use measurements::release::{Banks, Document, Part};
use serde::Deserialize;

/// Version of the format that is read.
const FORMAT: u32 = 1;
/// Largest manifest, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// Why a manifest is not read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// More than any manifest has.
    #[error("a manifest has at most {MAX_BYTES} bytes")]
    TooLarge,
    /// Not the JSON of a manifest.
    #[error("not the JSON of an image manifest")]
    Shape(#[source] serde_json::Error),
    /// Another format.
    #[error("format {0} of manifests is unknown: this program reads format {FORMAT}")]
    Format(u32),
}

/// What a verifier needs of a manifest. Its other members say how to build the image again and are left alone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Manifest {
    format: u32,
    /// The image.
    pub file: Part,
    /// What firmware measures of it.
    pub authenticode: Banks,
    /// The deployment document inside, if there is one.
    pub document: Option<Document>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_BYTES {
            return Err(ManifestError::TooLarge);
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(ManifestError::Shape)?;
        if manifest.format == FORMAT { Ok(manifest) } else { Err(ManifestError::Format(manifest.format)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_of_another_format_or_without_its_digests_is_refused() {
        let part = serde_json::json!({"sha256": "ab".repeat(32), "size": 1});
        let banks = serde_json::json!({"sha256": "ab".repeat(32), "sha384": "cd".repeat(48)});
        let text = |format: u32| {
            serde_json::json!({"format": format, "file": part, "authenticode": banks, "document": null, "kernel": {}})
                .to_string()
        };
        assert!(Manifest::parse(text(1).as_bytes()).is_ok());
        assert!(matches!(Manifest::parse(text(2).as_bytes()), Err(ManifestError::Format(2))));
        let short = text(1).replacen(&"cd".repeat(48), &"cd".repeat(47), 1);
        assert!(matches!(Manifest::parse(short.as_bytes()), Err(ManifestError::Shape(_))));
        let long = text(1) + &" ".repeat(MAX_BYTES);
        assert!(matches!(Manifest::parse(long.as_bytes()), Err(ManifestError::TooLarge)));
    }
}
