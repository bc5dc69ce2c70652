//! Plaintext that is wiped.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// Plaintext or key material that is overwritten when it is dropped, with all of its capacity.
///
/// `Zeroizing<Vec<u8>>` does the same byte by byte, which is slower than the ciphers are.
#[derive(Default, PartialEq, Eq)]
pub struct Wiped(Vec<u8>);

impl Wiped {
    /// Takes the bytes over. A vector that grows leaves copies behind: one of the final size does not.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Deref for Wiped {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Wiped {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.clear();
        self.0.resize(self.0.capacity(), 0);
        // keeps the compiler from leaving the writes out
        zeroize::optimization_barrier(self.0.as_slice());
    }
}

impl fmt::Debug for Wiped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_reachable_and_never_printed() {
        let mut wiped = Wiped::new(b"secret".to_vec());
        wiped.push(b'!');
        assert_eq!(**wiped, *b"secret!");
        assert_eq!(format!("{wiped:?}"), "7 bytes");
    }
}
