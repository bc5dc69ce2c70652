//! Reading forward through the head of a file, never past its end.

use crate::Refused;

/// A position in the first bytes of a file of known length.
///
/// `window` may be shorter than the file: what lies behind it is then refused as [`Refused::HeaderSize`], what lies
/// behind the file's end as [`Refused::Truncated`].
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    window: &'a [u8],
    at: usize,
    file_bytes: u64,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(window: &'a [u8], file_bytes: u64) -> Self {
        Self { window, at: 0, file_bytes }
    }

    /// Offset of the next byte in the file.
    pub(crate) fn offset(&self) -> u64 {
        self.at as u64
    }

    /// Bytes between here and the end of the file.
    pub(crate) fn left(&self) -> u64 {
        self.file_bytes.saturating_sub(self.offset())
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: u64) -> Result<&'a [u8], Refused> {
        if count > self.left() {
            return Err(Refused::Truncated { offset: self.offset(), needed: count, left: self.left() });
        }
        let beyond = Refused::HeaderSize { offset: self.offset(), limit: self.window.len() as u64 };
        let Some(end) = usize::try_from(count).ok().and_then(|count| self.at.checked_add(count)) else {
            return Err(beyond);
        };
        let Some(bytes) = self.window.get(self.at..end) else { return Err(beyond) };
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let bytes = self.take(N as u64)?;
        let mut array = [0; N];
        for (to, from) in array.iter_mut().zip(bytes) {
            *to = *from;
        }
        Ok(array)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Refused> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Refused> {
        self.array().map(u64::from_le_bytes)
    }

    /// A length and that many bytes of UTF-8; `what` and `limit` (bytes) are for the refusal.
    pub(crate) fn text(&mut self, what: &'static str, limit: u64) -> Result<&'a str, Refused> {
        let offset = self.offset();
        let length = self.u64()?;
        if length > limit {
            return Err(Refused::Length { what, length, limit, offset });
        }
        let offset = self.offset();
        std::str::from_utf8(self.take(length)?).map_err(|_| Refused::Utf8 { offset })
    }
}
