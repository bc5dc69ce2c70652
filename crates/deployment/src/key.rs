//! The shape of the key table: what one key is, as data.

use crate::rule::Rule;

/// A table of the document.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Dotted path; `[]` at its end means an array of tables. Empty for the document itself.
    pub path: &'static str,
    /// Most tables in the array, 1 for a plain table.
    pub max: usize,
    /// What the table is about, one sentence.
    pub meaning: &'static str,
}

/// A key of the document.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Dotted path; `[]` after the name of an array of tables.
    pub path: &'static str,
    /// Type and range.
    pub kind: Kind,
    /// Unit; empty for pure numbers and texts.
    pub unit: &'static str,
    /// Whether it must be written, and what holds if it is not.
    pub presence: Presence,
    /// What it decides, one sentence.
    pub meaning: &'static str,
}

/// Type and range of a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Whole number.
    Integer {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// Number, whole or not; never infinite.
    Number {
        /// Least value.
        min: f64,
        /// Greatest value.
        max: f64,
    },
    /// `true` or `false`.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A text.
    Text(Rule),
    /// A list of texts.
    List {
        /// What each must be.
        item: Rule,
        /// Most of them.
        max: usize,
    },
}

/// Whether a key must be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It has no default: an operator says it.
    Required,
    /// The value that holds without it, as TOML.
    Default(&'static str),
    /// It may be absent; this says what holds then.
    Optional(&'static str),
    /// It is allowed only beside another key's value.
    Beside {
        /// The other key of the same table.
        key: &'static str,
        /// The value it must have.
        value: &'static str,
        /// The value it has when it is not written.
        unwritten: &'static str,
        /// Whether this key must be written then.
        required: bool,
    },
}

impl Key {
    /// The last part of the path.
    #[must_use]
    pub fn name(&self) -> &'static str {
        split(self.path).1
    }

    /// The path of the table it stands in.
    #[must_use]
    pub fn section(&self) -> &'static str {
        split(self.path).0
    }

    /// Type, range and unit in words that finish "expected …".
    #[must_use]
    pub fn allowed(&self) -> String {
        let unit = if self.unit.is_empty() { String::new() } else { format!(" ({})", self.unit) };
        format!("{}{unit}", self.kind.allowed())
    }
}

impl Kind {
    /// Type and range in words that finish "expected …".
    #[must_use]
    pub fn allowed(&self) -> String {
        match self {
            Self::Switch => "true or false".to_owned(),
            Self::Integer { min, max } if min == max => format!("the integer {min}"),
            Self::Integer { min, max } => format!("integer from {min} to {max}"),
            Self::Number { min, max } => format!("number from {min:.1} to {max:.1}"),
            Self::Choice(words) => words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or "),
            Self::Text(rule) => rule.allowed().to_owned(),
            Self::List { item, max } => format!("list of at most {max}, each: {}", item.allowed()),
        }
    }
}

impl Section {
    /// The last part of the path, without `[]`; empty for the document itself.
    #[must_use]
    pub fn name(&self) -> &'static str {
        split(self.path).1.trim_end_matches("[]")
    }

    /// The path of the table it stands in; absent for the document itself.
    #[must_use]
    pub fn parent(&self) -> Option<&'static str> {
        (!self.path.is_empty()).then(|| split(self.path).0)
    }

    /// Whether it is an array of tables.
    #[must_use]
    pub fn repeated(&self) -> bool {
        self.path.ends_with("[]")
    }
}

/// A dotted path cut before its last part.
fn split(path: &'static str) -> (&'static str, &'static str) {
    path.rsplit_once('.').unwrap_or(("", path))
}
