//! A strict, bounded reader of JSON: depth and number of values are limited, a duplicate key is refused.
//!
//! `serde_json::Value` would keep the last of two equal keys in silence, and its error texts quote what the client
//! sent. Here an error has a place or a path and nothing else.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use crate::error::Refusal;
use crate::limits::{MAX_DEPTH, MAX_VALUES};

/// A JSON value as the client sent it.
pub(crate) enum Json {
    Null,
    Bool(bool),
    Unsigned(u64),
    Negative(i64),
    Float(f64),
    String(Zeroizing<String>),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

/// Reads one JSON document that fills `body`.
pub(crate) fn read(body: &[u8]) -> Result<Json, Refusal> {
    let mut reader = Reader { path: Vec::new(), values: 0, fault: None };
    let mut source = serde_json::Deserializer::from_slice(body);
    let value = Seed { reader: &mut reader }.deserialize(&mut source);
    match value.and_then(|value| source.end().map(|()| value)) {
        Ok(value) => Ok(value),
        Err(error) => Err(reader.fault.unwrap_or(Refusal::Syntax { line: error.line(), column: error.column() })),
    }
}

/// Appends a field name to a path: letters, digits, `_` and `-` of it, at most 64; anything else becomes one `?`.
pub(crate) fn join(path: &str, name: &str) -> String {
    const MOST: usize = 64;
    let safe = !name.is_empty()
        && name.len() <= MOST
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    let name = if safe { name } else { "?" };
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

enum Segment {
    Key(String),
    Index(usize),
}

struct Reader {
    path: Vec<Segment>,
    values: usize,
    fault: Option<Refusal>,
}

impl Reader {
    fn fail<E: serde::de::Error>(&mut self, fault: Refusal) -> E {
        self.fault.get_or_insert(fault);
        E::custom("refused")
    }

    fn enter<E: serde::de::Error>(&mut self) -> Result<(), E> {
        if self.path.len() >= MAX_DEPTH {
            return Err(self.fail(Refusal::TooDeep { limit: MAX_DEPTH }));
        }
        Ok(())
    }

    /// The path of the member `name` of the object that is being read. Only the last eight levels are shown.
    fn path_of(&self, name: &str) -> String {
        const SHOWN: usize = 8;
        let mut text = String::new();
        for segment in self.path.iter().skip(self.path.len().saturating_sub(SHOWN)) {
            match segment {
                Segment::Key(key) => text = join(&text, key),
                Segment::Index(index) => text.push_str(&format!("[{index}]")),
            }
        }
        join(&text, name)
    }
}

struct Seed<'r> {
    reader: &'r mut Reader,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Json, D::Error> {
        self.reader.values += 1;
        if self.reader.values > MAX_VALUES {
            return Err(self.reader.fail(Refusal::TooManyValues { limit: MAX_VALUES }));
        }
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(if let Ok(value) = u64::try_from(value) { Json::Unsigned(value) } else { Json::Negative(value) })
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(Zeroizing::new(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(Zeroizing::new(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        self.reader.enter()?;
        let mut array = Vec::new();
        loop {
            self.reader.path.push(Segment::Index(array.len()));
            let Some(item) = items.next_element_seed(Seed { reader: &mut *self.reader })? else { break };
            self.reader.path.pop();
            array.push(item);
        }
        self.reader.path.pop();
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        self.reader.enter()?;
        let mut object = BTreeMap::new();
        while let Some(key) = members.next_key::<String>()? {
            if object.contains_key(&key) {
                let param = self.reader.path_of(&key);
                return Err(self.reader.fail(Refusal::Duplicate { param }));
            }
            self.reader.path.push(Segment::Key(key));
            let value = members.next_value_seed(Seed { reader: &mut *self.reader })?;
            match self.reader.path.pop() {
                Some(Segment::Key(key)) => object.insert(key, value),
                _ => return Err(A::Error::custom("refused")),
            };
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> Refusal {
        read(body.as_bytes()).err().expect("refused")
    }

    #[test]
    fn reads_every_kind_of_value() {
        let Json::Object(members) = read(br#"{"a":null,"b":true,"c":1,"d":-1,"e":0.5,"f":"x","g":[1]}"#).expect("json")
        else {
            panic!("object")
        };
        assert!(matches!(members["a"], Json::Null));
        assert!(matches!(members["b"], Json::Bool(true)));
        assert!(matches!(members["c"], Json::Unsigned(1)));
        assert!(matches!(members["d"], Json::Negative(-1)));
        assert!(matches!(members["e"], Json::Float(_)));
        assert!(matches!(&members["f"], Json::String(text) if text.as_str() == "x"));
        assert!(matches!(&members["g"], Json::Array(items) if items.len() == 1));
    }

    #[test]
    fn malformed_json_is_refused_with_its_place_and_without_its_text() {
        let refused = refusal("{\"a\": secret}");
        assert!(matches!(refused, Refusal::Syntax { line: 1, .. }));
        assert!(!refused.to_string().contains("secret"));
        for body in ["", "{", "{}{}", "{} x", "[1,]", "\"\u{7}\"", "{\"a\":1e999}", "nul"] {
            assert!(matches!(refusal(body), Refusal::Syntax { .. }), "{body}");
        }
        assert!(matches!(read(b"\"\xff\"").err(), Some(Refusal::Syntax { .. })));
    }

    #[test]
    fn a_duplicate_key_is_refused_with_its_path() {
        assert!(read(br#"{"m":[{"a":1},{"a":1,"b":2}]}"#).is_ok());
        assert_eq!(refusal(r#"{"m":[{"a":1},{"a":1,"a":2}]}"#), Refusal::Duplicate { param: "m[1].a".to_owned() });
        assert_eq!(refusal(r#"{"\u0061":1,"a":2}"#), Refusal::Duplicate { param: "a".to_owned() });
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(read(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(refusal(&nested(MAX_DEPTH + 1)), Refusal::TooDeep { limit: MAX_DEPTH });
        assert_eq!(refusal(&"[".repeat(100_000)), Refusal::TooDeep { limit: MAX_DEPTH });
        assert_eq!(refusal(&r#"{"a":"#.repeat(100_000)), Refusal::TooDeep { limit: MAX_DEPTH });
    }

    #[test]
    fn number_of_values_is_bounded() {
        let flat = |values: usize| format!("[{}]", vec!["0"; values].join(","));
        assert!(read(flat(MAX_VALUES - 1).as_bytes()).is_ok());
        assert_eq!(refusal(&flat(MAX_VALUES)), Refusal::TooManyValues { limit: MAX_VALUES });
    }

    #[test]
    fn a_path_keeps_safe_names_only() {
        assert_eq!(join("a[0]", "b_c-1"), "a[0].b_c-1");
        for name in ["", "a b", "<script>", "é", "a\n", &"x".repeat(65)] {
            assert_eq!(join("a", name), "a.?");
        }
    }
}
