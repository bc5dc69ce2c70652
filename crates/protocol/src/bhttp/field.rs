//! Fields, and what of control data and fields HTTP allows.

use std::fmt;

use super::BhttpError;

/// A header or trailer field.
#[derive(Clone, PartialEq, Eq)]
pub struct Field {
    /// Name in lower case.
    pub name: String,
    /// Value without surrounding white space.
    pub value: Vec<u8>,
}

/// Fields in their order.
pub type Fields = Vec<Field>;

impl Field {
    /// A field that was not read from anywhere; its parts are not checked.
    #[must_use]
    pub fn new(name: &str, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.to_owned(), value: value.into() }
    }

    /// Checks name and value as RFC 9113 section 8.2 does.
    pub(super) fn checked(name: &[u8], value: &[u8]) -> Result<Self, BhttpError> {
        let name = std::str::from_utf8(name).map_err(|_| BhttpError::Field)?;
        let lower = name.bytes().all(|byte| is_token(byte) && !byte.is_ascii_uppercase());
        let connection =
            matches!(name, "connection" | "proxy-connection" | "keep-alive" | "transfer-encoding" | "upgrade");
        let expects = name == "te" && value != b"trailers";
        let text = value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f));
        let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        if name.is_empty() || !lower || connection || expects || !text || blank(value.first()) || blank(value.last()) {
            return Err(BhttpError::Field);
        }
        Ok(Self { name: name.to_owned(), value: value.to_vec() })
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.name, self.value.len())
    }
}

/// The value of the only field of this name; `None` where there is none or several.
#[must_use]
pub fn value_of<'a>(fields: &'a [Field], name: &str) -> Option<&'a [u8]> {
    let mut found = fields.iter().filter(|field| field.name == name);
    let first = found.next()?;
    found.next().is_none().then_some(&first.value)
}

/// RFC 9110 section 5.6.2.
pub(super) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// A method other than `CONNECT`, which would have neither scheme nor path.
pub(super) fn method(bytes: &[u8]) -> Result<String, BhttpError> {
    text(bytes, is_token).filter(|method| !method.is_empty() && method != "CONNECT").ok_or(BhttpError::Control)
}

pub(super) fn scheme(bytes: &[u8]) -> Result<String, BhttpError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.');
    text(bytes, allowed).filter(|scheme| !scheme.is_empty()).ok_or(BhttpError::Control)
}

/// Host and port, without user information.
pub(super) fn authority(bytes: &[u8]) -> Result<String, BhttpError> {
    text(bytes, |byte| byte.is_ascii_graphic() && !matches!(byte, b'@' | b'/' | b'?' | b'#' | b'\\'))
        .ok_or(BhttpError::Control)
}

pub(super) fn path(bytes: &[u8]) -> Result<String, BhttpError> {
    let path = text(bytes, |byte| byte.is_ascii_graphic() && byte != b'#').ok_or(BhttpError::Control)?;
    if path.starts_with('/') || path == "*" { Ok(path) } else { Err(BhttpError::Control) }
}

fn text(bytes: &[u8], allowed: impl Fn(u8) -> bool) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.bytes().all(allowed).then(|| text.to_owned())
}
