//! The options by which the user says what is trusted, and what they become.

use std::path::{Path, PathBuf};

use clap::Args;
use measurements::release::signed_note::VerifierKey;
use sha2::{Digest as _, Sha256};

use super::{check::FirmwareKind, files, policy};
use crate::{
    attestation::{AttestationKeys, Endorsements, Reference, References, Trust},
    error::{Error, UsageError},
};

/// What is trusted, and what is asked.
#[derive(Debug, Args)]
#[command(next_help_heading = "Trust")]
pub struct TrustArguments {
    /// An image that counts: VERSION.note of a release, signed by your release keys, or the lethe.manifest.json of an image
    /// that you built, which counts because you name it. Repeatable
    #[arg(long, value_name = "FILE")]
    pub measurements: Vec<PathBuf>,

    /// Public key of a release signer you trust, NAME+ID+BASE64. Repeatable
    #[arg(long, value_name = "KEY")]
    pub release_key: Vec<VerifierKey>,

    /// How many of the release keys have to have signed a release; without it, all
    #[arg(long, value_name = "K", requires = "release_key")]
    pub threshold: Option<usize>,

    /// What to ask of the platform: hardware, standard, strict, dev, or a file (see `lethe policy`)
    #[arg(long, value_name = "NAME|FILE", default_value = "standard")]
    pub policy: String,

    /// The deployment document that the machine must have been given: the file, or sha256:HEX
    #[arg(long, value_name = "FILE|DIGEST")]
    pub document: Option<String>,

    /// TPM: the attestation key, known to be good: its SubjectPublicKeyInfo, PEM or DER
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ak_root", "ak_issuer"])]
    pub ak: Option<PathBuf>,

    /// TPM: root certificate that you trust for attestation keys with a certificate, PEM or DER. Repeatable
    #[arg(long, value_name = "FILE")]
    pub ak_root: Vec<PathBuf>,

    /// TPM: certificate between an attestation key's and the root, PEM or DER. Repeatable
    #[arg(long, value_name = "FILE", requires = "ak_root")]
    pub ak_issuer: Vec<PathBuf>,

    /// TPM: whose habits the firmware has
    #[arg(long, value_name = "KIND", default_value = "standard")]
    pub firmware: FirmwareKind,

    /// SEV-SNP: VCEK or VLEK certificate, PEM or DER
    #[arg(long, value_name = "FILE")]
    pub vek: Option<PathBuf>,

    /// SEV-SNP: AMD's revocation list, PEM or DER. Repeatable
    #[arg(long, value_name = "FILE")]
    pub crl: Vec<PathBuf>,

    /// TDX: Intel's collateral for the platform, JSON
    #[arg(long, value_name = "FILE")]
    pub collateral: Option<PathBuf>,

    /// Do not ask AMD or Intel for what is missing; what was fetched before is used
    #[arg(long)]
    pub offline: bool,

    /// Go on although no hardware proves anything (platform `none`): for tests and for your own machine
    #[arg(long)]
    pub allow_no_tee: bool,
}

/// What the options say.
///
/// # Errors
/// [`UsageError`] for files that cannot be read or are not what they should be.
pub fn load(arguments: &TrustArguments) -> Result<(Trust, Endorsements), Error> {
    let policy = policy::load(&arguments.policy)?;
    let name = policy::label(&arguments.policy, &policy);
    let trust = Trust {
        allow_no_tee: arguments.allow_no_tee,
        references: references(arguments)?,
        attestation_key: attestation_key(arguments)?,
        document: arguments.document.as_deref().map(document).transpose()?,
        firmware: arguments.firmware.into(),
        ..Trust::new(policy, name)
    };
    let endorsements = Endorsements {
        vek: arguments.vek.as_deref().map(files::read).transpose()?,
        crls: all(&arguments.crl)?,
        tdx: arguments.collateral.as_deref().map(files::read).transpose()?,
    };
    Ok((trust, endorsements))
}

fn references(arguments: &TrustArguments) -> Result<References, UsageError> {
    let read = |path: &PathBuf| {
        let bytes = files::read(path)?;
        let path = path.display().to_string();
        Reference::read(&bytes, &path, &arguments.release_key, arguments.threshold)
            .map_err(|source| UsageError::Reference { path, source })
    };
    let list: Vec<Reference> = arguments.measurements.iter().map(read).collect::<Result<_, _>>()?;
    let releases = list.iter().any(|reference| matches!(reference, Reference::Release { .. }));
    if !arguments.release_key.is_empty() && !releases {
        return Err(UsageError::IdleReleaseKeys);
    }
    Ok(References::new(list))
}

fn attestation_key(arguments: &TrustArguments) -> Result<AttestationKeys, UsageError> {
    if let Some(path) = &arguments.ak {
        return Ok(AttestationKeys::Pinned(files::read(path)?));
    }
    if arguments.ak_root.is_empty() {
        return Ok(AttestationKeys::Nobody);
    }
    Ok(AttestationKeys::Certified { roots: all(&arguments.ak_root)?, intermediates: all(&arguments.ak_issuer)? })
}

fn document(text: &str) -> Result<[u8; 32], UsageError> {
    if let Some(digits) = text.strip_prefix("sha256:") {
        let mut digest = [0; 32];
        hex::decode_to_slice(digits, &mut digest).map_err(|_| UsageError::DocumentDigest)?;
        return Ok(digest);
    }
    Ok(Sha256::digest(files::read(Path::new(text))?).into())
}

fn all(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, UsageError> {
    paths.iter().map(|path| files::read(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expected_document_is_a_file_or_its_digest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lethe.toml");
        std::fs::write(&path, b"version = 1\n").unwrap();
        let digest: [u8; 32] = Sha256::digest(b"version = 1\n").into();
        assert_eq!(document(path.to_str().unwrap()).unwrap(), digest);
        assert_eq!(document(&format!("sha256:{}", hex::encode(digest))).unwrap(), digest);
        assert!(matches!(document("sha256:00"), Err(UsageError::DocumentDigest)));
        assert!(matches!(document("no-such-file"), Err(UsageError::File { .. })));
    }
}
