//! The JSON Canonicalization Scheme (RFC 8785), restricted to what ACI's documents contain.
//!
//! Fractions are refused: ACI has none, and their canonical form (ECMAScript's) is the only hard part of the RFC.
//! Integers beyond 2^53 - 1 are refused too, because a reader that works with doubles would hash another document.

use serde_json::Value;

/// A document that has no canonical form here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JcsError {
    /// A number that is not an integer from -(2^53 - 1) to 2^53 - 1.
    #[error("a number is not an integer of 53 bits")]
    Number,
}

/// The canonical form of `value`: no spaces, members sorted by their UTF-16 code units, shortest escapes.
///
/// # Errors
/// [`JcsError::Number`] for a fraction or an integer beyond 53 bits.
pub fn canonical(value: &Value) -> Result<String, JcsError> {
    let mut text = String::new();
    write(value, &mut text)?;
    Ok(text)
}

fn write(value: &Value, text: &mut String) -> Result<(), JcsError> {
    const SAFE: u64 = (1 << 53) - 1;
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => {
            let integer = number.as_i64().filter(|integer| integer.unsigned_abs() <= SAFE);
            text.push_str(&integer.ok_or(JcsError::Number)?.to_string());
        }
        Value::String(string) => write_string(string, text),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(item, text)?;
            }
            text.push(']');
        }
        Value::Object(members) => {
            // sorted here, and never by the map: its order depends on a feature that any crate of the build can set
            let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
            sorted.sort_by(|(left, _), (right, _)| left.encode_utf16().cmp(right.encode_utf16()));
            text.push('{');
            for (index, (name, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_string(name, text);
                text.push(':');
                write(value, text)?;
            }
            text.push('}');
        }
    }
    Ok(())
}

/// RFC 8785 section 3.2.2.2.
fn write_string(string: &str, text: &mut String) {
    text.push('"');
    // most strings are names and digests
    let plain = string.bytes().all(|byte| byte >= b' ' && !matches!(byte, b'"' | b'\\'));
    if plain {
        text.push_str(string);
    } else {
        string.chars().for_each(|character| write_character(character, text));
    }
    text.push('"');
}

fn write_character(character: char, text: &mut String) {
    match character {
        '"' => text.push_str("\\\""),
        '\\' => text.push_str("\\\\"),
        '\u{8}' => text.push_str("\\b"),
        '\t' => text.push_str("\\t"),
        '\n' => text.push_str("\\n"),
        '\u{c}' => text.push_str("\\f"),
        '\r' => text.push_str("\\r"),
        '\0'..='\u{1f}' => text.push_str(&format!("\\u{:04x}", u32::from(character))),
        _ => text.push(character),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_sorted_by_utf16_code_units_at_every_level() {
        // the sample of RFC 8785 section 3.2.3: by code points U+1F600 would come after U+FB33
        let value = json!({
            "\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": {"b": 1, "a": 2}
        });
        assert_eq!(
            canonical(&value).expect("canonical"),
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":{\"a\":2,\"b\":1},\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}"
        );
    }

    #[test]
    fn strings_have_the_shortest_escapes() {
        let value = json!("\u{20ac}$\u{f}\nA'B\"\\\u{8}\t\u{c}\r/\u{7f}");
        assert_eq!(canonical(&value).expect("canonical"), "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\b\\t\\f\\r/\u{7f}\"");
    }

    #[test]
    fn integers_of_53_bits_pass_and_other_numbers_do_not() {
        let most = (1_i64 << 53) - 1;
        assert_eq!(canonical(&json!([most, -most, 0])).expect("canonical"), format!("[{most},-{most},0]"));
        for other in [json!(1.5), json!(1.0), json!(most + 1), json!(-most - 1), json!(u64::MAX)] {
            assert_eq!(canonical(&other), Err(JcsError::Number), "{other}");
        }
    }
}
