//! Reading policies: the embedded ones by name, a user's own from text.

use toml::{Table, Value};

use super::Policy;

/// Largest policy, in bytes.
const MAX_BYTES: usize = 64 << 10;
/// Longest chain of policies that extend one another.
const MAX_DEPTH: usize = 4;

const EMBEDDED: [(&str, &str); 4] = [
    ("hardware", include_str!("../../policies/hardware.toml")),
    ("standard", include_str!("../../policies/standard.toml")),
    ("strict", include_str!("../../policies/strict.toml")),
    ("dev", include_str!("../../policies/dev.toml")),
];

/// Why a policy was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// There is no embedded policy of this name.
    #[error("there is no policy {0:?}: hardware, standard, strict and dev are embedded, anything else is a file")]
    Unknown(String),
    /// The text is too large.
    #[error("a policy of more than {MAX_BYTES} bytes")]
    Size,
    /// The text is not TOML, lacks a line, or has one that is not known.
    #[error("the policy cannot be read")]
    Form(#[source] toml::de::Error),
    /// `extends` is not the name of an embedded policy.
    #[error("a policy extends an embedded policy by its name, as text")]
    Extends,
}

impl Policy {
    /// Names of the embedded policies, loosest first; `dev` is for development.
    pub const EMBEDDED: [&'static str; 4] = ["dev", "hardware", "standard", "strict"];

    /// The embedded policy of this name.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Unknown`] for any other name.
    pub fn embedded(name: &str) -> Result<Self, PolicyError> {
        let (_, text) =
            EMBEDDED.iter().find(|(known, _)| *known == name).ok_or_else(|| PolicyError::Unknown(name.into()))?;
        Self::from_toml(text)
    }

    /// The text of the embedded policy of this name, for people to read.
    #[must_use]
    pub fn embedded_text(name: &str) -> Option<&'static str> {
        EMBEDDED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }

    /// Reads a policy: complete, or one that extends an embedded policy and replaces lines of it.
    ///
    /// # Errors
    ///
    /// Any text that is not exactly a policy: unknown or missing lines, a line without a reason.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        let table = resolve(text, 0)?;
        Self::deserialize_table(table)
    }

    fn deserialize_table(table: Table) -> Result<Self, PolicyError> {
        table.try_into().map_err(PolicyError::Form)
    }
}

/// The lines of a policy over those of the one it extends.
fn resolve(text: &str, depth: usize) -> Result<Table, PolicyError> {
    if text.len() > MAX_BYTES {
        return Err(PolicyError::Size);
    }
    let mut table: Table = text.parse().map_err(PolicyError::Form)?;
    let Some(base) = table.remove("extends") else { return Ok(table) };
    let Value::String(base) = base else { return Err(PolicyError::Extends) };
    if depth == MAX_DEPTH {
        return Err(PolicyError::Extends);
    }
    let (_, text) = EMBEDDED.iter().find(|(name, _)| *name == base).ok_or(PolicyError::Extends)?;
    let mut merged = resolve(text, depth + 1)?;
    for (section, value) in table {
        match (merged.get_mut(&section), value) {
            (Some(Value::Table(lines)), Value::Table(replacing)) => lines.extend(replacing),
            (_, value) => drop(merged.insert(section, value)),
        }
    }
    Ok(merged)
}
