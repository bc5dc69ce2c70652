//! The digest firmware takes of a PE image when it loads it: everything but the checksum and the signatures.
//!
//! Source: Microsoft, "Windows Authenticode Portable Executable Signature Format", section "Calculating the PE image hash";
//! EDK II's `Tcg2Dxe/MeasureBootPeCoff.c` does the same. Some signing tools first pad a file to a multiple of eight bytes;
//! firmware does not, and neither does this.

use sha2::{Digest, Sha256, Sha384};

use crate::pe::{Layout, PeError};

/// The Authenticode digests of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// For TPM banks of SHA-256.
    pub sha256: [u8; 32],
    /// For TDX and TPM banks of SHA-384.
    pub sha384: [u8; 48],
}

/// Takes both digests of a whole PE file.
///
/// # Errors
/// [`PeError`] for a file that is no PE image, or one whose parts overlap, leave gaps or lie outside the file, because
/// implementations would then disagree about its digest.
pub fn digests(file: &[u8]) -> Result<Digests, PeError> {
    let layout = Layout::parse(file)?;
    let mut sha256 = Sha256::new();
    let mut sha384 = Sha384::new();
    for part in layout.measured(file)? {
        sha256.update(part);
        sha384.update(part);
    }
    Ok(Digests { sha256: sha256.finalize().into(), sha384: sha384.finalize().into() })
}

/// Takes the SHA-384 digest alone, which is all that TDX needs.
///
/// # Errors
/// [`PeError`] as [`digests`].
pub fn sha384(file: &[u8]) -> Result<[u8; 48], PeError> {
    let parts = Layout::parse(file)?.measured(file)?;
    Ok(parts.into_iter().fold(Sha384::new(), |hash, part| hash.chain_update(part)).finalize().into())
}
