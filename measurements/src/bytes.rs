//! Little-endian fields of bytes that nobody vouches for: every read is checked and says where it failed.

/// A read past the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Truncated {
    pub what: &'static str,
    pub offset: u64,
}

/// Untrusted bytes with offsets counted from `base`, the place of their first byte in the file they came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes<'a> {
    data: &'a [u8],
    base: u64,
}

impl<'a> Bytes<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, base: 0 }
    }

    /// `count` bytes at `offset`.
    pub fn take(&self, what: &'static str, offset: u64, count: u64) -> Result<&'a [u8], Truncated> {
        let truncated = Truncated { what, offset: self.base.saturating_add(offset) };
        let end = offset.checked_add(count).ok_or(truncated)?;
        let (Ok(start), Ok(end)) = (usize::try_from(offset), usize::try_from(end)) else { return Err(truncated) };
        self.data.get(start..end).ok_or(truncated)
    }

    /// `count` bytes at `offset`, whose own offsets go on counting from the start of the file.
    pub fn part(&self, what: &'static str, offset: u64, count: u64) -> Result<Self, Truncated> {
        Ok(Self { data: self.take(what, offset, count)?, base: self.base.saturating_add(offset) })
    }

    pub fn array<const N: usize>(&self, what: &'static str, offset: u64) -> Result<[u8; N], Truncated> {
        self.take(what, offset, N as u64)?
            .try_into()
            .map_err(|_| Truncated { what, offset: self.base.saturating_add(offset) })
    }

    pub fn u8(&self, what: &'static str, offset: u64) -> Result<u8, Truncated> {
        self.array::<1>(what, offset).map(u8::from_le_bytes)
    }

    pub fn u16(&self, what: &'static str, offset: u64) -> Result<u16, Truncated> {
        self.array(what, offset).map(u16::from_le_bytes)
    }

    pub fn u32(&self, what: &'static str, offset: u64) -> Result<u32, Truncated> {
        self.array(what, offset).map(u32::from_le_bytes)
    }

    pub fn u64(&self, what: &'static str, offset: u64) -> Result<u64, Truncated> {
        self.array(what, offset).map(u64::from_le_bytes)
    }

    /// Number of bytes.
    pub fn length(&self) -> u64 {
        self.data.len() as u64
    }
}
