//! Why a document is refused: always with the key, never with a text of the host's choosing.

use crate::MAX_BYTES;

/// Longest piece of an unknown key that is repeated in an error, in characters.
const NAME_CHARS: usize = 40;

/// Why a document is refused.
///
/// Every message is one line of printable ASCII of bounded length: it goes to a console that tools read line by line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Over [`MAX_BYTES`].
    #[error("the document is {found_bytes} bytes long, at most {MAX_BYTES} are read")]
    TooLong {
        /// Its length.
        found_bytes: usize,
    },
    /// Not UTF-8.
    #[error("the document is not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// First byte that is wrong, from 0.
        offset: usize,
    },
    /// Nested deeper than any document, and deeper than the TOML reader's stack should bear.
    #[error("the document nests too deeply at line {line}")]
    TooDeep {
        /// Line, from 1.
        line: usize,
    },
    /// Not TOML.
    #[error("the document is not TOML at line {line}, column {column}: {reason}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
        /// What the TOML reader says; it quotes grammar, not the document.
        reason: String,
    },
    /// A key or table nobody knows.
    #[error("{key}: unknown key")]
    Unknown {
        /// Dotted path.
        key: String,
    },
    /// A key that has no default is absent.
    #[error("{key}: missing; expected {allowed}")]
    Missing {
        /// Dotted path.
        key: String,
        /// What it must be.
        allowed: String,
    },
    /// Another type.
    #[error("{key}: is {found}; expected {allowed}")]
    Type {
        /// Dotted path.
        key: String,
        /// TOML type that was found.
        found: &'static str,
        /// What it must be.
        allowed: String,
    },
    /// The right type, but not an allowed value.
    #[error("{key}: not allowed; expected {allowed}")]
    Range {
        /// Dotted path.
        key: String,
        /// What it must be.
        allowed: String,
    },
    /// The same value twice where each must differ.
    #[error("{key}: the same as {other}")]
    Twice {
        /// Dotted path of the later one.
        key: String,
        /// Dotted path of the earlier one.
        other: String,
    },
    /// Allowed alone, but not beside another value.
    #[error("{key}: {reason}")]
    Disagrees {
        /// Dotted path.
        key: String,
        /// What does not fit.
        reason: &'static str,
    },
    /// The key table let a document pass that the typed reader refuses: a fault of this program, not of the document.
    #[error("the document passed every check, yet cannot be read into its types")]
    Unreadable,
}

impl DocumentError {
    /// The dotted path of the key at fault; absent where the document as a whole is.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Unknown { key }
            | Self::Missing { key, .. }
            | Self::Type { key, .. }
            | Self::Range { key, .. }
            | Self::Twice { key, .. }
            | Self::Disagrees { key, .. } => Some(key),
            Self::TooLong { .. }
            | Self::NotUtf8 { .. }
            | Self::TooDeep { .. }
            | Self::Syntax { .. }
            | Self::Unreadable => None,
        }
    }
}

/// A key of the document as an error may repeat it: bare keys as they are, others quoted and escaped, long ones cut.
pub(crate) fn shown(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let mut short: String = name.chars().take(NAME_CHARS).flat_map(char::escape_default).collect();
    if name.chars().nth(NAME_CHARS).is_some() {
        short.push_str("...");
    }
    if name.bytes().all(bare) && !name.is_empty() { short } else { format!("\"{short}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_keys_are_repeated_and_others_escaped_and_cut() {
        assert_eq!(shown("body_bites"), "body_bites");
        assert_eq!(shown(""), "\"\"");
        assert_eq!(shown("a.b"), "\"a.b\"");
        assert_eq!(shown("a\nlethe: ready"), "\"a\\nlethe: ready\"");
        assert_eq!(shown("\u{1b}[2Jü"), "\"\\u{1b}[2J\\u{fc}\"");
        assert_eq!(shown(&"k".repeat(41)), format!("{}...", "k".repeat(40)));
        assert_eq!(shown(&"k".repeat(40)), "k".repeat(40));
        assert!(shown(&"\u{10ffff}".repeat(10_000)).len() < 500);
    }
}
