//! Which images count: releases that enough of the user's keys have signed, and images that the user built.

mod manifest;

use std::fmt;

use evidence::tpm::Firmware;
use measurements::release::{
    Launch, MANIFEST, Platform, Release, ReleaseError,
    signed_note::{NoteError, SignedNote, VerifierKey},
};

pub use manifest::{Manifest, ManifestError};
use sha2::{Digest as _, Sha256};

/// Why a file gives no reference values.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// Neither of the two kinds.
    #[error("neither the signed note of a release nor the manifest of an image")]
    Kind,
    /// A release file without its signatures.
    #[error("a release file without signatures")]
    Unsigned,
    /// A signed note, and no key to judge it with.
    #[error("a signed release, and no release key was named")]
    NoKeys,
    /// Signatures that are not good enough.
    #[error("the signatures are not those that were asked for")]
    Signatures(#[source] NoteError),
    /// A signed text that is no release file.
    #[error("what was signed is no release file")]
    Release(#[source] ReleaseError),
    /// A manifest of another form.
    #[error("the manifest is not readable")]
    Manifest(#[source] ManifestError),
}

/// One image that counts, and why.
#[derive(Debug, Clone)]
pub enum Reference {
    /// A release.
    Release {
        /// Its values.
        release: Box<Release>,
        /// Names of the keys that signed it.
        signers: Vec<String>,
    },
    /// An image of the user's own: its manifest counts because the user named it.
    Own {
        /// What the build wrote.
        manifest: Box<Manifest>,
        /// SHA-256 of the manifest's exact bytes.
        sha256: [u8; 32],
        /// Where it lies.
        path: String,
    },
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub struct References(Vec<Reference>);

impl Reference {
    /// Reads a file: the signed note of a release, judged by `threshold` of the keys (`None`: all of them), or a manifest.
    ///
    /// # Errors
    /// [`ReferenceError`].
    pub fn read(
        bytes: &[u8],
        path: &str,
        keys: &[VerifierKey],
        threshold: Option<usize>,
    ) -> Result<Self, ReferenceError> {
        if let Ok(note) = SignedNote::parse(bytes) {
            if keys.is_empty() {
                return Err(ReferenceError::NoKeys);
            }
            let mut distinct: Vec<[u8; 32]> = keys.iter().map(VerifierKey::to_bytes).collect();
            distinct.sort_unstable();
            distinct.dedup();
            let threshold = threshold.unwrap_or(distinct.len());
            let signers = note.verify(keys, threshold).map_err(ReferenceError::Signatures)?;
            let signers = signers.iter().map(|key| key.name().to_owned()).collect();
            let release = Release::parse(note.text().as_bytes()).map_err(ReferenceError::Release)?;
            return Ok(Self::Release { release: Box::new(release), signers });
        }
        if Release::parse(bytes).is_ok() {
            return Err(ReferenceError::Unsigned);
        }
        match Manifest::parse(bytes) {
            Ok(manifest) => {
                let sha256 = Sha256::digest(bytes).into();
                Ok(Self::Own { manifest: Box::new(manifest), sha256, path: path.to_owned() })
            }
            Err(ManifestError::Shape(_)) if !bytes.starts_with(b"{") => Err(ReferenceError::Kind),
            Err(error) => Err(ReferenceError::Manifest(error)),
        }
    }

    /// The digest by which a TPM's log names the image, in each bank.
    #[must_use]
    pub fn boot_digests(&self, firmware: Firmware) -> [Vec<u8>; 2] {
        let banks = match (self, firmware) {
            (Self::Release { release, .. }, Firmware::Standard) => release.tpm2.edk2.image_event,
            (Self::Release { release, .. }, Firmware::Google) => release.tpm2.google.image_event,
            (Self::Own { manifest, .. }, _) => manifest.authenticode,
        };
        [banks.sha256.0.to_vec(), banks.sha384.0.to_vec()]
    }

    /// The Authenticode digest by which the log of a TD names the image.
    #[must_use]
    pub fn authenticode_sha384(&self) -> [u8; 48] {
        match self {
            Self::Release { release, .. } => release.image.authenticode.sha384.0,
            Self::Own { manifest, .. } => manifest.authenticode.sha384.0,
        }
    }

    /// The guest that an SEV-SNP launch digest belongs to. A manifest knows no firmware, so it has none.
    #[must_use]
    pub fn launch(&self, measurement: &[u8; 48]) -> Option<Launch<'_>> {
        match self {
            Self::Release { release, .. } => release.launch(measurement),
            Self::Own { .. } => None,
        }
    }

    /// The name of the firmware image that an MRTD belongs to.
    #[must_use]
    pub fn td_firmware(&self, mrtd: &[u8; 48]) -> Option<&str> {
        let Self::Release { release, .. } = self else { return None };
        let mut known = release.firmware.iter();
        let found = known.find(|firmware| match &firmware.tdx {
            Platform::Measured(registers) => registers.mrtd.values().any(|value| value.0 == *mrtd),
            Platform::Unsupported(_) => false,
        });
        found.map(|firmware| firmware.name.as_str())
    }

    /// SHA-256 of the image's manifest; absent where a release has none.
    #[must_use]
    pub fn manifest_sha256(&self) -> Option<[u8; 32]> {
        match self {
            Self::Release { release, .. } => release.files.get(MANIFEST).map(|part| part.sha256.0),
            Self::Own { sha256, .. } => Some(*sha256),
        }
    }

    /// SHA-256 of the deployment document inside of the image, if there is one.
    #[must_use]
    pub fn baked_document(&self) -> Option<[u8; 32]> {
        match self {
            Self::Release { release, .. } => release.image.document.map(|document| document.sha256.0),
            Self::Own { manifest, .. } => manifest.document.map(|document| document.sha256.0),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release { release, signers } => {
                let commit: String = release.commit.chars().take(12).collect();
                write!(formatter, "release {} of commit {commit}, signed by {}", release.version, signers.join(", "))
            }
            Self::Own { manifest, path, .. } => {
                let file = hex::encode(manifest.file.sha256.0);
                write!(formatter, "the image of {path} (sha256:{file}), which counts because you named it")
            }
        }
    }
}

impl References {
    /// These.
    #[must_use]
    pub const fn new(list: Vec<Reference>) -> Self {
        Self(list)
    }

    /// Whether there is none, so that no image can be recognised.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Reference> {
        self.0.iter()
    }
}
