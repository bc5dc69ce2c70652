//! Reading a request member by member, so that nothing in it is overlooked.

use serde_json::{Map, Value};

/// Longest name of a member that is repeated in an error.
const MAX_NAME: usize = 64;

/// Why a request cannot be translated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not JSON.
    #[error("the request body is not JSON")]
    NotJson,
    /// A member that has to be there is not.
    #[error("'{0}' is missing")]
    Missing(String),
    /// A member of another type.
    #[error("'{param}' must be {expected}")]
    WrongType {
        /// Path of the member.
        param: String,
        /// What it must be.
        expected: &'static str,
    },
    /// Known, and not to be had here.
    #[error("'{param}' is not supported: {why}")]
    Unsupported {
        /// Path of the member.
        param: String,
        /// Why not, or what is.
        why: &'static str,
    },
    /// Unknown.
    #[error("'{0}' is not known here, and is not ignored because it could change the answer")]
    Unknown(String),
}

impl Refused {
    /// Path of the member at fault.
    #[must_use]
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::NotJson => None,
            Self::Missing(param) | Self::Unknown(param) => Some(param),
            Self::WrongType { param, .. } | Self::Unsupported { param, .. } => Some(param),
        }
    }

    /// For programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotJson => "invalid_json",
            Self::Missing(_) => "missing_required_parameter",
            Self::WrongType { .. } => "invalid_type",
            Self::Unsupported { .. } => "unsupported_parameter",
            Self::Unknown(_) => "unknown_parameter",
        }
    }
}

/// The members of an object. `null` is the same as absent.
pub(super) struct Fields {
    path: String,
    members: Map<String, Value>,
}

/// One member.
pub(super) struct Field {
    path: String,
    value: Value,
}

impl Fields {
    /// Reads a body.
    pub fn body(bytes: &[u8]) -> Result<Self, Refused> {
        let value = serde_json::from_slice(bytes).map_err(|_| Refused::NotJson)?;
        Field { path: String::new(), value }.object()
    }

    fn path_of(&self, name: &str) -> String {
        let name: String = name.chars().filter(|character| !character.is_control()).take(MAX_NAME).collect();
        if self.path.is_empty() { name } else { format!("{}.{name}", self.path) }
    }

    /// Takes a member out.
    pub fn take(&mut self, name: &str) -> Option<Field> {
        let value = self.members.remove(name).filter(|value| !value.is_null())?;
        Some(Field { path: self.path_of(name), value })
    }

    /// Takes a member that has to be there.
    pub fn require(&mut self, name: &str) -> Result<Field, Refused> {
        self.take(name).ok_or_else(|| Refused::Missing(self.path_of(name)))
    }

    /// Drops members that say nothing about the answer.
    pub fn without_effect(&mut self, names: &[&str]) {
        for name in names {
            self.members.remove(*name);
        }
    }

    /// Refuses members, unless they are `null` or an empty list.
    pub fn refuse(&mut self, names: &[&str], why: &'static str) -> Result<(), Refused> {
        for name in names {
            match self.take(name) {
                Some(field) if field.value.as_array().is_none_or(|list| !list.is_empty()) => {
                    return Err(field.unsupported(why));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes a member that may have only one of these values.
    pub fn only(&mut self, name: &str, values: &[Value], why: &'static str) -> Result<(), Refused> {
        match self.take(name) {
            Some(field) if !values.contains(&field.value) => Err(field.unsupported(why)),
            _ => Ok(()),
        }
    }

    /// Nothing else may be there.
    pub fn finish(self) -> Result<(), Refused> {
        let unknown = self.members.iter().find(|(_, value)| !value.is_null());
        unknown.map_or(Ok(()), |(name, _)| Err(Refused::Unknown(self.path_of(name))))
    }
}

impl Field {
    pub fn unsupported(self, why: &'static str) -> Refused {
        Refused::Unsupported { param: self.path, why }
    }

    fn wrong(self, expected: &'static str) -> Refused {
        Refused::WrongType { param: self.path, expected }
    }

    pub fn is_text(&self) -> bool {
        self.value.is_string()
    }

    pub fn is_array(&self) -> bool {
        self.value.is_array()
    }

    pub fn as_text(&self) -> Option<&str> {
        self.value.as_str()
    }

    pub fn text(self) -> Result<String, Refused> {
        match self.value {
            Value::String(text) => Ok(text),
            _ => Err(self.wrong("a string")),
        }
    }

    pub fn boolean(self) -> Result<bool, Refused> {
        self.value.as_bool().ok_or_else(|| self.wrong("true or false"))
    }

    /// A number, as it was written; its range is the appliance's to judge.
    pub fn number(self) -> Result<Value, Refused> {
        if self.value.is_number() { Ok(self.value) } else { Err(self.wrong("a number")) }
    }

    pub fn whole_number(self) -> Result<u64, Refused> {
        self.value.as_u64().ok_or_else(|| self.wrong("a whole number from 0 on"))
    }

    pub fn array(self) -> Result<Vec<Self>, Refused> {
        match self.value {
            Value::Array(list) => {
                let field = |(index, value)| Self { path: format!("{}.{index}", self.path), value };
                Ok(list.into_iter().enumerate().map(field).collect())
            }
            _ => Err(self.wrong("a list")),
        }
    }

    pub fn object(self) -> Result<Fields, Refused> {
        match self.value {
            Value::Object(members) => Ok(Fields { path: self.path, members }),
            _ if self.path.is_empty() => Err(Refused::WrongType { param: "body".to_owned(), expected: "an object" }),
            _ => Err(self.wrong("an object")),
        }
    }

    /// An object whose members nobody here reads.
    pub fn opaque(self) -> Result<Value, Refused> {
        if self.value.is_object() { Ok(self.value) } else { Err(self.wrong("an object")) }
    }
}
