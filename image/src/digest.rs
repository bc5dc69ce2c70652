//! SHA-256 of what is read, however long it is.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

/// Bytes hashed at a time: they stay in the processor's second cache.
const CHUNK: usize = 256 << 10;

/// Digest and length in bytes of everything a reader gives.
///
/// # Errors
/// If it cannot be read.
pub fn of(mut source: impl Read) -> io::Result<([u8; 32], u64)> {
    let (mut digest, mut buffer, mut length) = (Sha256::new(), vec![0; CHUNK], 0);
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => return Ok((digest.finalize().into(), length)),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        digest.update(buffer.get(..count).unwrap_or_default());
        length += count as u64;
    }
}

/// [`of`] in hexadecimal, without the length.
///
/// # Errors
/// As [`of`].
pub fn hex_of(source: impl Read) -> io::Result<String> {
    of(source).map(|(digest, _)| hex::encode(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_chunks_are_hashed_as_one() {
        let bytes: Vec<u8> = (0..2 * CHUNK + 1).map(|index| (index % 251) as u8).collect();
        assert_eq!(of(bytes.as_slice()).unwrap(), (Sha256::digest(&bytes).into(), bytes.len() as u64));
        assert_eq!(hex_of(&b""[..]).unwrap(), hex::encode(Sha256::digest(b"")));
    }

    #[test]
    fn a_file_that_cannot_be_read_has_no_digest() {
        let folder = std::fs::File::open("/").unwrap();
        assert!(of(folder).is_err());
    }
}
