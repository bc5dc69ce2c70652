//! JSON in and out: the client's values, and `tojson` as transformers defines it, which is Python's `json.dumps`
//! without HTML escapes and without sorting.

use std::fmt::Write;

use minijinja::{
    Error, ErrorKind, Value,
    value::{Rest, ValueKind, ValueOrKwargs},
};

use serde_json::Value as Json;

use crate::{
    arguments,
    python::{MAX_DEPTH, float},
};

/// The template's view of a JSON value, keys in the order of the client.
///
/// Written out here because the engine's own conversion through serde gives one key a meaning of its own, which a
/// client could send.
pub(crate) fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::from(items.iter().map(value).collect::<Vec<_>>()),
        Json::Object(pairs) => Value::from_pairs(pairs.iter().map(|(key, item)| (key.as_str(), value(item)))),
    }
}

struct Style {
    ensure_ascii: bool,
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    sort_keys: bool,
}

/// The filter `tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
pub(crate) fn tojson(value: &Value, arguments: Rest<ValueOrKwargs>) -> Result<String, Error> {
    let arguments = arguments.into_values();
    let (positional, named) = arguments::part(&arguments)?;
    if positional.len() > 4 {
        return Err(Error::from(ErrorKind::TooManyArguments));
    }
    let take = |index, name| arguments::take(positional, &named, index, name);
    let ensure_ascii = take(0, "ensure_ascii")?.is_true();
    let indent = read_indent(&take(1, "indent")?)?;
    let separators = take(2, "separators")?;
    let sort_keys = take(3, "sort_keys")?.is_true();
    named.assert_all_used()?;
    let (item_separator, key_separator) = match (read_separators(&separators)?, &indent) {
        (Some(pair), _) => pair,
        (None, Some(_)) => (",".to_owned(), ": ".to_owned()),
        (None, None) => (", ".to_owned(), ": ".to_owned()),
    };
    let style = Style { ensure_ascii, indent, item_separator, key_separator, sort_keys };
    let mut out = String::new();
    write_value(&mut out, value, &style, 0)?;
    Ok(out)
}

fn wrong(detail: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail)
}

fn read_indent(value: &Value) -> Result<Option<String>, Error> {
    if value.is_none() || value.is_undefined() {
        return Ok(None);
    }
    if let Some(text) = value.as_str() {
        return Ok(Some(text.to_owned()));
    }
    let width = i64::try_from(value.clone()).map_err(|_| wrong("indent is not a number or a text"))?;
    let width = usize::try_from(width.clamp(0, 64)).unwrap_or(0);
    Ok(Some(" ".repeat(width)))
}

fn read_separators(value: &Value) -> Result<Option<(String, String)>, Error> {
    if value.is_none() || value.is_undefined() {
        return Ok(None);
    }
    let parts: Vec<Value> = value.try_iter()?.collect();
    match parts.as_slice() {
        [item, key] => match (item.as_str(), key.as_str()) {
            (Some(item), Some(key)) => Ok(Some((item.to_owned(), key.to_owned()))),
            _ => Err(wrong("separators are not two texts")),
        },
        _ => Err(wrong("separators are not two texts")),
    }
}

fn write_value(out: &mut String, value: &Value, style: &Style, depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(wrong("the value is nested too deeply for JSON"));
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => write_number(out, value),
        ValueKind::String => write_text(out, value.as_str().unwrap_or_default(), style.ensure_ascii),
        ValueKind::Seq => write_items(out, value, style, depth)?,
        ValueKind::Map => write_pairs(out, value, style, depth)?,
        _ => return Err(wrong("the value has no form in JSON")),
    }
    Ok(())
}

fn write_number(out: &mut String, value: &Value) {
    if value.is_integer() {
        out.push_str(&value.to_string());
        return;
    }
    let number = f64::try_from(value.clone()).unwrap_or(f64::NAN);
    out.push_str(&match number {
        number if number.is_nan() => "NaN".to_owned(),
        number if number.is_infinite() => if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        number => float(number),
    });
}

fn write_text(out: &mut String, text: &str, ensure_ascii: bool) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            letter if letter < ' ' || (ensure_ascii && letter > '~') => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
}

/// What stands between brackets, one by one, with the separators and line breaks of the style.
fn write_enclosed<T>(
    out: &mut String,
    (open, close): (char, char),
    items: Vec<T>,
    style: &Style,
    depth: usize,
    mut write: impl FnMut(&mut String, T) -> Result<(), Error>,
) -> Result<(), Error> {
    let break_line = |out: &mut String, depth: usize| {
        if let Some(indent) = &style.indent {
            out.push('\n');
            (0..depth).for_each(|_| out.push_str(indent));
        }
    };
    out.push(open);
    let any = !items.is_empty();
    for (index, item) in items.into_iter().enumerate() {
        out.push_str(if index > 0 { &style.item_separator } else { "" });
        break_line(out, depth + 1);
        write(out, item)?;
    }
    if any {
        break_line(out, depth);
    }
    out.push(close);
    Ok(())
}

fn write_items(out: &mut String, value: &Value, style: &Style, depth: usize) -> Result<(), Error> {
    let items: Vec<Value> = value.try_iter()?.collect();
    write_enclosed(out, ('[', ']'), items, style, depth, |out, item| write_value(out, &item, style, depth + 1))
}

fn write_pairs(out: &mut String, value: &Value, style: &Style, depth: usize) -> Result<(), Error> {
    let mut pairs = Vec::new();
    for key in value.try_iter()? {
        let item = value.get_item(&key)?;
        pairs.push((key_text(&key)?, item));
    }
    if style.sort_keys {
        pairs.sort_by(|one, other| one.0.cmp(&other.0));
    }
    write_enclosed(out, ('{', '}'), pairs, style, depth, |out, (key, item)| {
        write_text(out, &key, style.ensure_ascii);
        out.push_str(&style.key_separator);
        write_value(out, &item, style, depth + 1)
    })
}

/// A key as `json.dumps` writes it: texts as they are, numbers and constants as their JSON.
fn key_text(key: &Value) -> Result<String, Error> {
    let mut out = String::new();
    match key.kind() {
        ValueKind::String => out.push_str(key.as_str().unwrap_or_default()),
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if key.is_true() { "true" } else { "false" }),
        ValueKind::Number => write_number(&mut out, key),
        _ => return Err(wrong("a key has no form in JSON")),
    }
    Ok(out)
}
