//! Names of machines: safe as a directory, a host name and a QEMU name.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name, in bytes.
pub const MAX_BYTES: usize = 40;

/// A name of lower-case letters, digits and inner hyphens, at most [`MAX_BYTES`] long.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a text is no name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a machine name has 1 to {MAX_BYTES} characters: a-z, 0-9, and hyphens between them")]
pub struct NotAName;

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let fits = (1..=MAX_BYTES).contains(&text.len()) && text.chars().all(inner);
        if !fits || text.starts_with('-') || text.ends_with('-') {
            return Err(NotAName);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Name {
    type Error = NotAName;

    fn try_from(text: String) -> Result<Self, NotAName> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl AsRef<Path> for Name {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_digits_and_inner_hyphens_make_a_name() {
        for text in ["a", "demo", "lethe-1", "0", "a--b", &"x".repeat(MAX_BYTES)] {
            assert_eq!(text.parse::<Name>().map(|name| name.as_str().to_owned()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_could_leave_the_directory_or_hide_in_it_is_no_name() {
        for text in ["", ".", "..", "a/b", "/", ".hidden", "-a", "a-", "A", "a b", "a,b", "é", "a\0", "a\n"] {
            assert_eq!(text.parse::<Name>(), Err(NotAName), "{text:?}");
        }
        assert_eq!("x".repeat(MAX_BYTES + 1).parse::<Name>(), Err(NotAName));
    }

    #[test]
    fn a_record_with_a_bad_name_is_refused() {
        assert!(serde_json::from_str::<Name>("\"../x\"").is_err());
        assert!(serde_json::from_str::<Name>("\"x\"").is_ok());
    }
}
