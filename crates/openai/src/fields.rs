//! Typed access to the members of an object, with the path of each for refusals.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use zeroize::Zeroizing;

use crate::error::Refusal;
use crate::json::{Json, join};

/// The members of an object that have not been taken yet.
pub(crate) struct Fields {
    path: String,
    members: BTreeMap<String, Json>,
}

impl Fields {
    /// Opens the body itself, which must be an object.
    pub(crate) fn body(json: Json) -> Result<Self, Refusal> {
        match json {
            Json::Object(members) => Ok(Self { path: String::new(), members }),
            _ => Err(Refusal::WrongType { param: "body".to_owned(), expected: "a JSON object" }),
        }
    }

    /// Takes a member out; `null` is the same as absent.
    pub(crate) fn take(&mut self, name: &str) -> Option<Field> {
        match self.members.remove(name) {
            None | Some(Json::Null) => None,
            Some(json) => Some(Field { path: join(&self.path, name), json }),
        }
    }

    /// Takes a member out that must be there.
    pub(crate) fn require(&mut self, name: &str) -> Result<Field, Refusal> {
        self.take(name).ok_or_else(|| Refusal::Missing { param: join(&self.path, name) })
    }

    /// Refuses any of `names` that is present and not `null`.
    pub(crate) fn refuse_unsupported(&mut self, names: &[&str]) -> Result<(), Refusal> {
        for name in names {
            if let Some(field) = self.take(name) {
                return Err(Refusal::Unsupported { param: field.path });
            }
        }
        Ok(())
    }

    /// Refuses what has not been taken.
    pub(crate) fn finish(self) -> Result<(), Refusal> {
        match self.members.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(Refusal::Unknown { param: join(&self.path, &name) }),
        }
    }
}

/// One value and its path.
pub(crate) struct Field {
    path: String,
    json: Json,
}

impl Field {
    /// The path, as in `messages[0].role`.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn wrong_type(&self, expected: &'static str) -> Refusal {
        Refusal::WrongType { param: self.path.clone(), expected }
    }

    pub(crate) fn out_of_range(&self, expected: String) -> Refusal {
        Refusal::OutOfRange { param: self.path.clone(), expected }
    }

    pub(crate) fn unsupported_value(&self, only: &'static str) -> Refusal {
        Refusal::UnsupportedValue { param: self.path.clone(), only }
    }

    pub(crate) fn is_string(&self) -> bool {
        matches!(self.json, Json::String(_))
    }

    pub(crate) fn is_array(&self) -> bool {
        matches!(self.json, Json::Array(_))
    }

    /// The value of a string, to compare it.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.json {
            Json::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn string(self) -> Result<Zeroizing<String>, Refusal> {
        match self.json {
            Json::String(text) => Ok(text),
            _ => Err(self.wrong_type("a string")),
        }
    }

    /// A string of at most `most` bytes.
    pub(crate) fn short_string(self, most: usize) -> Result<Zeroizing<String>, Refusal> {
        match self.as_str() {
            Some(text) if text.len() > most => Err(self.out_of_range(format!("at most {most} bytes long"))),
            _ => self.string(),
        }
    }

    pub(crate) fn boolean(self) -> Result<bool, Refusal> {
        match self.json {
            Json::Bool(value) => Ok(value),
            _ => Err(self.wrong_type("true or false")),
        }
    }

    pub(crate) fn integer(self, range: RangeInclusive<u32>) -> Result<u32, Refusal> {
        let expected = || format!("an integer from {} to {}", range.start(), range.end());
        match self.json {
            Json::Unsigned(value) => match u32::try_from(value) {
                Ok(value) if range.contains(&value) => Ok(value),
                _ => Err(self.out_of_range(expected())),
            },
            Json::Negative(_) => Err(self.out_of_range(expected())),
            _ => Err(self.wrong_type("an integer")),
        }
    }

    /// Any integer of 64 bits; a negative one keeps its two's complement bits.
    pub(crate) fn bits_64(self) -> Result<u64, Refusal> {
        match self.json {
            Json::Unsigned(value) => Ok(value),
            Json::Negative(value) => Ok(value.cast_unsigned()),
            _ => Err(self.wrong_type("an integer of 64 bits")),
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "the sampler works in f32")]
    pub(crate) fn number(self, range: RangeInclusive<f32>) -> Result<f32, Refusal> {
        let value = match self.json {
            Json::Unsigned(value) => value as f64,
            Json::Negative(value) => value as f64,
            Json::Float(value) => value,
            _ => return Err(self.wrong_type("a number")),
        };
        // compared as what the sampler gets: 0.1 as f64 is a little less than 0.1 as f32
        let value = value as f32;
        if range.contains(&value) {
            Ok(value)
        } else {
            Err(self.out_of_range(format!("a number from {} to {}", range.start(), range.end())))
        }
    }

    pub(crate) fn object(self) -> Result<Fields, Refusal> {
        match self.json {
            Json::Object(members) => Ok(Fields { path: self.path, members }),
            _ => Err(self.wrong_type("an object")),
        }
    }

    pub(crate) fn array(self) -> Result<Vec<Field>, Refusal> {
        match self.json {
            Json::Array(items) => Ok(items
                .into_iter()
                .enumerate()
                .map(|(index, json)| Field { path: format!("{}[{index}]", self.path), json })
                .collect()),
            _ => Err(self.wrong_type("an array")),
        }
    }

    /// The members of an object whose names the client chooses, as name and value.
    pub(crate) fn entries(self) -> Result<Vec<(String, Field)>, Refusal> {
        match self.json {
            Json::Object(members) => Ok(members
                .into_iter()
                .map(|(name, json)| {
                    let path = join(&self.path, &name);
                    (name, Field { path, json })
                })
                .collect()),
            _ => Err(self.wrong_type("an object")),
        }
    }
}
