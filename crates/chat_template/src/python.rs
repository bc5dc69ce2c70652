//! How Python writes values: `str`, `repr`, and what counts as white space.

use minijinja::{
    Value,
    value::{Tuple, ValueKind},
};

/// Deepest nesting that is written; JSON from a client is at most 128 deep.
pub(crate) const MAX_DEPTH: usize = 256;

/// `str.isspace` of one character. Rust's notion lacks the four information separators.
pub(crate) fn is_space(letter: char) -> bool {
    letter.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&letter)
}

/// `str(value)`; an undefined value is empty, as in jinja2.
pub(crate) fn text(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None if value.is_undefined() => String::new(),
        None => {
            let mut out = String::new();
            write_repr(&mut out, value, 0);
            out
        }
    }
}

fn write_repr(out: &mut String, value: &Value, depth: usize) {
    match value.kind() {
        _ if depth > MAX_DEPTH => out.push_str("..."),
        ValueKind::Number if !value.is_integer() => {
            out.push_str(&f64::try_from(value.clone()).map_or_else(|_| value.to_string(), float));
        }
        ValueKind::Seq => write_items(out, value, depth),
        ValueKind::Map => {
            out.push('{');
            for (index, key) in value.try_iter().into_iter().flatten().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write_repr(out, &key, depth + 1);
                out.push_str(": ");
                write_repr(out, &value.get_item(&key).unwrap_or_default(), depth + 1);
            }
            out.push('}');
        }
        ValueKind::String => write_text(out, value.as_str().unwrap_or_default()),
        ValueKind::Undefined => out.push_str("Undefined"),
        _ => out.push_str(&value.to_string()),
    }
}

/// `repr(str)`: single quotes unless the text has them and no double ones.
fn write_text(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for letter in text.chars() {
        match (letter, u32::from(letter)) {
            ('\n', _) => out.push_str("\\n"),
            ('\r', _) => out.push_str("\\r"),
            ('\t', _) => out.push_str("\\t"),
            ('\\', _) => out.push_str("\\\\"),
            (letter, _) if letter == quote => out.extend(['\\', letter]),
            (letter, _) if is_printable(letter) => out.push(letter),
            (_, code @ ..=0xff) => out.push_str(&format!("\\x{code:02x}")),
            (_, code @ ..=0xffff) => out.push_str(&format!("\\u{code:04x}")),
            (_, code) => out.push_str(&format!("\\U{code:08x}")),
        }
    }
    out.push(quote);
}

/// `str.isprintable` of one character: no control, separator, format, private or non-character. What Unicode has not
/// assigned yet is taken for printable, since that changes with its version.
pub(crate) fn is_printable(letter: char) -> bool {
    let separator = letter != ' ' && is_space(letter);
    let hidden = matches!(u32::from(letter),
        0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2 | 0x180e | 0x200b..=0x200f
        | 0x202a..=0x202e | 0x2060..=0x206f | 0xe000..=0xf8ff | 0xfeff | 0xfff9..=0xfffb | 0xfffe..=0xffff | 0x110bd
        | 0x110cd | 0x13430..=0x1343f | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0001..=0x10ffff)
        // Variation selectors for ideographs are the assigned part of plane 14.
        && !matches!(u32::from(letter), 0xe0100..=0xe01ef);
    !(letter.is_control() || separator || hidden)
}

fn write_items(out: &mut String, value: &Value, depth: usize) {
    let tuple = value.downcast_object_ref::<Tuple>().is_some();
    out.push(if tuple { '(' } else { '[' });
    for (index, item) in value.try_iter().into_iter().flatten().enumerate() {
        out.push_str(if index > 0 { ", " } else { "" });
        write_repr(out, &item, depth + 1);
    }
    out.push_str(match (tuple, value.len()) {
        (true, Some(1)) => ",)",
        (true, _) => ")",
        (false, _) => "]",
    });
}

/// `repr(float)`: the shortest digits that read back the same, with an exponent below 1e-4 and from 1e16 on.
pub(crate) fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = value.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::float;

    #[test]
    fn floats_are_written_as_python_writes_them() {
        for (value, written) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (1e-4, "0.0001"),
            (1.25e-5, "1.25e-05"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(float(value), written);
        }
    }
}
