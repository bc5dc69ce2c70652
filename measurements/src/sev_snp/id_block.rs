//! The ID block: what an owner signs so that a machine starts only with this measurement, and the keys' digests in a
//! report.
//!
//! Source: AMD 56860, tables "ID block", "ID authentication information structure" and "Format for an ECDSA P-384
//! public key".

use sha2::{Digest, Sha384};

use super::LaunchDigest;

/// Bytes of an ID block.
pub const ID_BLOCK_BYTES: usize = 96;
/// Curve number of P-384.
const CURVE: u32 = 2;
/// Bytes of a coordinate in AMD's structure, little-endian.
const COORDINATE: usize = 72;
/// Bytes of AMD's structure of a public key.
const KEY: usize = 1028;
/// `SubjectPublicKeyInfo` of an uncompressed P-384 point up to its coordinates (RFC 5480).
const SPKI: [u8; 24] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22, 0x03, 0x62, 0x00, 0x04,
];

/// What an ID block says besides the launch digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdBlock {
    /// The launch digest that is allowed.
    pub launch_digest: LaunchDigest,
    /// Family of the image, the owner's choice; `FAMILY_ID` of a report.
    pub family_id: [u8; 16],
    /// The image, the owner's choice; `IMAGE_ID` of a report.
    pub image_id: [u8; 16],
    /// Security version of the image; `GUEST_SVN` of a report.
    pub guest_svn: u32,
    /// The guest policy that is allowed.
    pub policy: u64,
}

impl IdBlock {
    /// The structure as the launch takes it, and as the ID key signs it (ECDSA P-384 with SHA-384).
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ID_BLOCK_BYTES] {
        let mut bytes = [0; ID_BLOCK_BYTES];
        let fields = (self.launch_digest.0.iter())
            .chain(&self.family_id)
            .chain(&self.image_id)
            .copied()
            .chain(1_u32.to_le_bytes()) // version
            .chain(self.guest_svn.to_le_bytes())
            .chain(self.policy.to_le_bytes());
        for (place, byte) in bytes.iter_mut().zip(fields) {
            *place = byte;
        }
        bytes
    }
}

/// A file that is no P-384 public key in the form `openssl pkey -pubout` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no P-384 public key (SubjectPublicKeyInfo with an uncompressed point, 120 bytes) in {length} bytes")]
pub struct KeyError {
    /// Bytes of what was given.
    pub length: usize,
}

/// The digest of a public key as reports show it (`ID_KEY_DIGEST`, `AUTHOR_KEY_DIGEST`), from its DER form.
///
/// The point is not checked to be on the curve: a launch with another one fails in the security processor.
///
/// # Errors
/// [`KeyError`] for anything but a `SubjectPublicKeyInfo` of an uncompressed P-384 point.
pub fn key_digest(spki: &[u8]) -> Result<[u8; 48], KeyError> {
    let error = KeyError { length: spki.len() };
    let point = spki.strip_prefix(&SPKI).ok_or(error)?;
    let (x, y) = point.split_at_checked(48).filter(|(_, y)| y.len() == 48).ok_or(error)?;
    let mut structure = Vec::with_capacity(KEY);
    structure.extend_from_slice(&CURVE.to_le_bytes());
    for coordinate in [x, y] {
        structure.extend(coordinate.iter().rev());
        structure.resize(structure.len() + COORDINATE - coordinate.len(), 0);
    }
    structure.resize(KEY, 0);
    Ok(Sha384::digest(&structure).into())
}
