//! What a message asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::hpke::Wiped;

/// Most names in one message.
pub const MAX_NAMES: usize = 64;
/// Most bytes of a value.
pub const MAX_VALUE: usize = 16 << 10;

/// Secrets to set and to forget. One that does neither asks for the names alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Values by name; wiped when they are dropped.
    pub set: BTreeMap<String, Zeroizing<String>>,
    /// Names to forget.
    pub unset: BTreeSet<String>,
}

/// A change that is not of the documented form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// A name is not `[A-Z][A-Z0-9_]*` of at most 64 characters.
    #[error("the name of a secret is a capital letter, then capital letters, digits and _, at most 64 in all")]
    Name,
    /// A value is empty, longer than [`MAX_VALUE`], or has a zero byte.
    #[error("the value of a secret has 1 to 16384 bytes, none of them zero")]
    Value,
    /// A name is both set and unset.
    #[error("a secret is both set and unset")]
    Both,
    /// More than [`MAX_NAMES`] names.
    #[error("more than 64 names in one message")]
    TooMany,
}

/// The JSON of a change. Texts move out of it without a copy.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    set: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    unset: BTreeSet<String>,
}

impl Change {
    /// Checks names and values.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn check(&self) -> Result<(), ChangeError> {
        let named = |name: &String| {
            let rest = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
            name.len() <= 64 && name.starts_with(|first: char| first.is_ascii_uppercase()) && name.bytes().all(rest)
        };
        if self.set.len() + self.unset.len() > MAX_NAMES {
            return Err(ChangeError::TooMany);
        }
        if !self.set.keys().chain(&self.unset).all(named) {
            return Err(ChangeError::Name);
        }
        if self.set.values().any(|value| value.is_empty() || value.len() > MAX_VALUE || value.contains('\0')) {
            return Err(ChangeError::Value);
        }
        if self.set.keys().any(|name| self.unset.contains(name)) { Err(ChangeError::Both) } else { Ok(()) }
    }

    /// The JSON that is sealed.
    #[must_use]
    pub fn to_json(&self) -> Wiped {
        /// Borrows the values, so that no copy outlives the change.
        #[derive(Serialize)]
        struct Borrowed<'a> {
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            set: BTreeMap<&'a str, &'a str>,
            #[serde(skip_serializing_if = "BTreeSet::is_empty")]
            unset: &'a BTreeSet<String>,
        }
        let set = self.set.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        // texts always become JSON
        Wiped::new(serde_json::to_vec(&Borrowed { set, unset: &self.unset }).unwrap_or_default())
    }

    /// Reads the JSON that was sealed; `None` for anything but the documented form.
    #[must_use]
    pub fn from_json(json: &[u8]) -> Option<Self> {
        // the derived reader keeps the last of two equal names of a map
        crate::json::parse(json).ok().map(wipe)?;
        let plain: Plain = serde_json::from_slice(json).ok()?;
        let set = plain.set.into_iter().map(|(name, value)| (name, Zeroizing::new(value))).collect();
        let change = Self { set, unset: plain.unset };
        change.check().is_ok().then_some(change)
    }
}

/// Wipes the texts of a document that was read for its form only.
fn wipe(value: serde_json::Value) {
    match value {
        serde_json::Value::String(text) => drop(Zeroizing::new(text)),
        serde_json::Value::Array(items) => items.into_iter().for_each(wipe),
        serde_json::Value::Object(members) => members.into_iter().for_each(|(_, value)| wipe(value)),
        _ => {}
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.set.keys().collect();
        f.debug_struct("Change").field("set", &names).field("unset", &self.unset).finish()
    }
}
