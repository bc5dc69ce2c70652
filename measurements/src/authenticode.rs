//! The digest firmware takes of a PE image when it loads it: everything but the checksum and the signatures.
//!
//! Source: Microsoft, "Windows Authenticode Portable Executable Signature Format", section "Calculating the PE image hash";
//! EDK II's `Tcg2Dxe/MeasureBootPeCoff.c` does the same. Some signing tools first pad a file to a multiple of eight bytes;
//! firmware does not, and neither does this.

use sha2::{Digest, Sha256, Sha384};

use crate::pe::{Layout, PeError};

/// A file of this many bytes takes longer to hash than a thread to start.
const WORTH_A_THREAD: usize = 1 << 20;

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
    let parts = Layout::parse(file)?.measured(file)?;
    let sha256 = || <[u8; 32]>::from(hashed::<Sha256>(&parts));
    let sha384 = || <[u8; 48]>::from(hashed::<Sha384>(&parts));
    if file.len() < WORTH_A_THREAD {
        return Ok(Digests { sha256: sha256(), sha384: sha384() });
    }
    // Both are chains: side by side they take as long as the slower one.
    std::thread::scope(|scope| {
        let thread = scope.spawn(sha256);
        let sha384 = sha384();
        let sha256 = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok(Digests { sha256, sha384 })
    })
}

fn hashed<D: Digest>(parts: &[&[u8]]) -> sha2::digest::Output<D> {
    parts.iter().fold(D::new(), |hash, part| hash.chain_update(part)).finalize()
}

/// Takes the SHA-384 digest alone, which is all that TDX needs.
///
/// # Errors
/// [`PeError`] as [`digests`].
pub fn sha384(file: &[u8]) -> Result<[u8; 48], PeError> {
    Ok(hashed::<Sha384>(&Layout::parse(file)?.measured(file)?).into())
}
