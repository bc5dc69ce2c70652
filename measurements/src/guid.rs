//! GUIDs as firmware writes them: three little-endian fields, then eight bytes as they stand.

use std::fmt;

/// A GUID in the byte order of UEFI.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid([u8; 16]);

impl Guid {
    /// From the sixteen bytes of a firmware table.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// From the number its text form writes: `0x96b582de_1fb2_45f7_baea_a366c55a082d` for `96b582de-1fb2-…`.
    #[must_use]
    pub const fn from_u128(text: u128) -> Self {
        let [a, b, c, d, e, f, g, h, rest @ ..] = text.to_be_bytes();
        let [i, j, k, l, m, n, o, p] = rest;
        Self([d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p])
    }

    /// The sixteen bytes of a firmware table.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [d, c, b, a, y, x, w, v, rest @ ..] = self.0;
        let [i, j, k, l, m, n, o, p] = rest;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}-{x:02x}{y:02x}-{v:02x}{w:02x}-{i:02x}{j:02x}-")?;
        write!(f, "{k:02x}{l:02x}{m:02x}{n:02x}{o:02x}{p:02x}")
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The footer GUID as EDK II's ResetVector writes it, byte for byte.
    #[test]
    fn text_and_bytes_agree() {
        let guid = Guid::from_u128(0x96b582de_1fb2_45f7_baea_a366c55a082d);
        assert_eq!(
            guid.to_bytes(),
            [0xde, 0x82, 0xb5, 0x96, 0xb2, 0x1f, 0xf7, 0x45, 0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d]
        );
        assert_eq!(guid.to_string(), "96b582de-1fb2-45f7-baea-a366c55a082d");
    }
}
