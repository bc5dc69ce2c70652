//! The document's digests, which a platform's register binds.

use sha2::{Digest, Sha256, Sha384};

/// SHA-256 of the document: SEV-SNP's `HOST_DATA`, and the value a TPM's PCR 12 is extended with.
#[must_use]
pub fn digest_sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// SHA-384 of the document: TDX's `MRCONFIGID`.
#[must_use]
pub fn digest_sha384(bytes: &[u8]) -> [u8; 48] {
    Sha384::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    // FIPS 180-4 example "abc".
    #[test]
    fn digests_are_those_of_the_standard() {
        assert_eq!(
            hex::encode(digest_sha256(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hex::encode(digest_sha384(b"abc")),
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"
        );
    }
}
