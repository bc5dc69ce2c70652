//! The key/value table, looked up by key with the type llama.cpp expects.

use crate::{
    MAX_KEY_BYTES, Refused,
    cursor::Cursor,
    value::{Array, Kind, Value},
};

/// One pair and where its value stands in the file.
#[derive(Debug)]
struct Entry<'a> {
    key: &'a str,
    value: Value<'a>,
    offset: u64,
}

/// All pairs, sorted by key, each key once.
#[derive(Debug)]
pub(crate) struct Metadata<'a> {
    entries: Vec<Entry<'a>>,
}

impl<'a> Metadata<'a> {
    /// Reads `count` pairs. The table grows only as pairs are really found.
    pub(crate) fn read(cursor: &mut Cursor<'a>, count: u64) -> Result<Self, Refused> {
        let mut entries = Vec::new();
        for _ in 0..count {
            let key_offset = cursor.offset();
            let key = cursor.text("a key", MAX_KEY_BYTES)?;
            if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(Refused::Key { problem: "is empty or not printable ASCII", offset: key_offset });
            }
            let offset = cursor.offset();
            entries.push(Entry { key, value: Value::read(cursor)?, offset });
        }
        entries.sort_by_key(|entry| entry.key);
        for (one, next) in entries.iter().zip(entries.iter().skip(1)) {
            if one.key == next.key {
                return Err(Refused::Key { problem: "stands twice", offset: next.offset });
            }
        }
        Ok(Self { entries })
    }

    fn entry(&self, key: &str) -> Option<&Entry<'a>> {
        let index = self.entries.binary_search_by_key(&key, |entry| entry.key).ok()?;
        self.entries.get(index)
    }

    /// Where the value of `key` stands; 0 if there is none.
    pub(crate) fn offset(&self, key: &str) -> u64 {
        self.entry(key).map_or(0, |entry| entry.offset)
    }

    /// A refusal of the value of `key`.
    pub(crate) fn refuse(&self, key: &str, problem: &'static str) -> Refused {
        Refused::Value { key: key.to_owned(), problem, offset: self.offset(key) }
    }

    fn optional<T>(
        &self,
        key: &str,
        problem: &'static str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Result<Option<T>, Refused> {
        let Some(entry) = self.entry(key) else { return Ok(None) };
        read(&entry.value).map(Some).ok_or_else(|| self.refuse(key, problem))
    }

    /// A text.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, Refused> {
        self.optional(key, "is not a text", |value| match value {
            Value::Text(text) => Some(*text),
            _ => None,
        })
    }

    /// A bool.
    pub(crate) fn bool(&self, key: &str) -> Result<Option<bool>, Refused> {
        self.optional(key, "is not a bool", |value| match value {
            Value::Bool(value) => Some(*value),
            _ => None,
        })
    }

    /// An unsigned 32-bit integer, written as one.
    pub(crate) fn u32(&self, key: &str) -> Result<Option<u32>, Refused> {
        self.optional(key, "is not a u32", |value| match value {
            Value::Integer { kind: Kind::U32, number } => u32::try_from(*number).ok(),
            _ => None,
        })
    }

    /// An integer of any type.
    pub(crate) fn integer(&self, key: &str) -> Result<Option<i128>, Refused> {
        self.optional(key, "is not an integer", |value| match value {
            Value::Integer { number, .. } => Some(*number),
            _ => None,
        })
    }

    /// A finite 32-bit floating-point number that is not negative.
    pub(crate) fn f32(&self, key: &str) -> Result<Option<f64>, Refused> {
        self.optional(key, "is not a finite f32 of zero or more", |value| match value {
            Value::Float { kind: Kind::F32, number } if number.is_finite() && *number >= 0.0 => Some(*number),
            _ => None,
        })
    }

    /// An array.
    pub(crate) fn array(&self, key: &str) -> Result<Option<&Array<'a>>, Refused> {
        let Some(entry) = self.entry(key) else { return Ok(None) };
        match &entry.value {
            Value::Array(array) => Ok(Some(array)),
            _ => Err(self.refuse(key, "is not an array")),
        }
    }

    /// One u32 for each of `layers` layers: written once for all, or as an array of u32 or i32 of that length.
    pub(crate) fn per_layer(&self, key: &str, layers: u32) -> Result<Option<Vec<u32>>, Refused> {
        let Some(entry) = self.entry(key) else { return Ok(None) };
        let Value::Array(array) = &entry.value else {
            return Ok(self.u32(key)?.map(|value| vec![value; layers as usize]));
        };
        let problem = "is not an array of one u32 or i32 for each layer";
        if !matches!(array.kind, Kind::U32 | Kind::I32) || array.count != u64::from(layers) {
            return Err(self.refuse(key, problem));
        }
        let values = array.integers().map(u32::try_from).collect::<Result<Vec<_>, _>>();
        values.map(Some).map_err(|_| self.refuse(key, problem))
    }
}

/// The value, or the refusal that names the missing key.
pub(crate) fn required<T>(value: Option<T>, key: &str) -> Result<T, Refused> {
    value.ok_or_else(|| Refused::Missing { key: key.to_owned() })
}
