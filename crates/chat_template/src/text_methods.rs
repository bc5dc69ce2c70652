//! The methods of Python's `str` that templates call.

use minijinja::{
    Error, ErrorKind, Value,
    formatting::{FormatStyle, format},
    value::{ValueKind, from_args},
};

use crate::{MAX_OUTPUT_BYTES, arguments, python};

/// Calls `text.method(*arguments)`.
///
/// # Errors
/// [`ErrorKind::UnknownMethod`] for a method that Python's `str` does not have or that is not supported; other kinds
/// for arguments that Python would not take.
pub(crate) fn call(text: &str, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    if let Some(value) = without_arguments(text, method) {
        let () = from_args(arguments)?;
        return Ok(value);
    }
    match method {
        "strip" | "lstrip" | "rstrip" => strip(text, method, arguments),
        "split" | "rsplit" => split(text, method == "rsplit", arguments),
        "splitlines" => split_lines(text, arguments),
        "partition" | "rpartition" => partition(text, method == "rpartition", arguments),
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(arguments)?;
            Ok(Value::from(text.strip_prefix(prefix).unwrap_or(text)))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(arguments)?;
            Ok(Value::from(text.strip_suffix(suffix).unwrap_or(text)))
        }
        "replace" => replace(text, arguments),
        "startswith" | "endswith" => starts_or_ends(text, method == "endswith", arguments),
        "find" | "rfind" | "index" | "rindex" | "count" => search(text, method, arguments),
        "join" => join(text, arguments),
        "format" => format(FormatStyle::StrFormat, text, arguments).map(Value::from),
        "ljust" | "rjust" | "center" => justify(text, method, arguments),
        "zfill" => zero_fill(text, arguments),
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

fn without_arguments(text: &str, method: &str) -> Option<Value> {
    let any = |test: fn(char) -> bool| text.chars().any(test);
    let all = |test: fn(char) -> bool| !text.is_empty() && text.chars().all(test);
    Some(match method {
        "upper" => Value::from(text.to_uppercase()),
        "lower" => Value::from(text.to_lowercase()),
        "capitalize" => Value::from(capitalize(text)),
        "title" => Value::from(title(text)),
        "swapcase" => Value::from(swap_case(text)),
        "islower" => Value::from(any(char::is_lowercase) && !any(char::is_uppercase)),
        "isupper" => Value::from(any(char::is_uppercase) && !any(char::is_lowercase)),
        "isspace" => Value::from(all(python::is_space)),
        "isdecimal" | "isdigit" | "isnumeric" => Value::from(all(char::is_numeric)),
        "isalpha" => Value::from(all(char::is_alphabetic)),
        "isalnum" => Value::from(all(char::is_alphanumeric)),
        "isascii" => Value::from(text.is_ascii()),
        "isprintable" => Value::from(text.chars().all(python::is_printable)),
        _ => return None,
    })
}

pub(crate) fn capitalize(text: &str) -> String {
    let mut letters = text.chars();
    let mut out = String::with_capacity(text.len());
    out.extend(letters.next().into_iter().flat_map(title_case));
    out + &letters.as_str().to_lowercase()
}

/// A capital at the beginning of a word: where it is more than one letter (ß, ﬁ), only the first is a capital.
fn title_case(letter: char) -> impl Iterator<Item = char> {
    let mut capitals = letter.to_uppercase();
    capitals.next().into_iter().chain(capitals.flat_map(char::to_lowercase))
}

/// A letter after anything that is no letter becomes a capital, every other letter a small one.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut within = false;
    for letter in text.chars() {
        if within {
            out.extend(letter.to_lowercase());
        } else {
            out.extend(title_case(letter));
        }
        within = letter.is_lowercase() || letter.is_uppercase();
    }
    out
}

fn swap_case(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_uppercase() {
            out.extend(letter.to_lowercase());
        } else {
            out.extend(letter.to_uppercase());
        }
    }
    out
}

fn value_error(detail: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail)
}

fn strip(text: &str, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (letters,): (Option<&str>,) = from_args(arguments)?;
    let drop = |letter: char| letters.map_or_else(|| python::is_space(letter), |letters| letters.contains(letter));
    Ok(Value::from(match method {
        "lstrip" => text.trim_start_matches(drop),
        "rstrip" => text.trim_end_matches(drop),
        _ => text.trim_matches(drop),
    }))
}

/// Strips white space as `str.strip()` does; the filter `trim` uses it too.
pub(crate) fn trim(text: &str, letters: Option<&str>) -> String {
    let drop = |letter: char| letters.map_or_else(|| python::is_space(letter), |letters| letters.contains(letter));
    text.trim_matches(drop).to_owned()
}

fn split(text: &str, from_end: bool, arguments: &[Value]) -> Result<Value, Error> {
    let (positional, named) = arguments::part(arguments)?;
    let separator = arguments::take(positional, &named, 0, "sep")?;
    let most = arguments::take(positional, &named, 1, "maxsplit")?;
    named.assert_all_used()?;
    let most = if most.is_none() { -1 } else { i64::try_from(most)? };
    // A negative limit is none.
    let pieces = usize::try_from(most).map_or(usize::MAX, |most| most.saturating_add(1));
    match separator.as_str() {
        None if separator.is_none() => Ok(split_at_space(text, from_end, pieces)),
        None => Err(value_error("the separator is not a text")),
        Some("") => Err(value_error("the separator is empty")),
        Some(separator) if from_end => {
            let mut parts: Vec<&str> = text.rsplitn(pieces, separator).collect();
            parts.reverse();
            Ok(parts.into_iter().collect())
        }
        Some(separator) => Ok(text.splitn(pieces, separator).collect()),
    }
}

/// Without a separator, runs of white space separate and none is kept at either end of what was split.
fn split_at_space(text: &str, from_end: bool, pieces: usize) -> Value {
    let mut parts = Vec::new();
    let mut rest = text.trim_matches(python::is_space);
    while !rest.is_empty() && parts.len() + 1 < pieces {
        let cut = if from_end { rest.rfind(python::is_space) } else { rest.find(python::is_space) };
        let Some(cut) = cut else { break };
        let (before, after) = rest.split_at(cut);
        if from_end {
            parts.push(after.trim_start_matches(python::is_space));
            rest = before.trim_end_matches(python::is_space);
        } else {
            parts.push(before);
            rest = after.trim_start_matches(python::is_space);
        }
    }
    if !rest.is_empty() {
        // What the limit left over keeps the white space at the end where splitting did not look.
        let original = if from_end {
            let end = rest.as_ptr() as usize - text.as_ptr() as usize + rest.len();
            text.get(..end)
        } else {
            let start = rest.as_ptr() as usize - text.as_ptr() as usize;
            text.get(start..)
        };
        let limited = parts.len() + 1 == pieces;
        parts.push(if limited { original.unwrap_or(rest) } else { rest });
    }
    if from_end {
        parts.reverse();
    }
    parts.into_iter().collect()
}

/// Every line boundary that `str.splitlines` knows.
fn is_line_end(letter: char) -> bool {
    matches!(
        letter,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}' | '\u{1d}' | '\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

fn split_lines(text: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (positional, named) = arguments::part(arguments)?;
    let keep = arguments::take(positional, &named, 0, "keepends")?.is_true();
    named.assert_all_used()?;
    Ok(lines(text, keep).into_iter().collect())
}

/// The lines of a text as Python splits them; a line end at the end begins no further line.
fn lines(text: &str, keep: bool) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(is_line_end) {
        let (line, after) = rest.split_at(at);
        let length = if after.starts_with("\r\n") { 2 } else { after.chars().next().map_or(0, char::len_utf8) };
        lines.push(if keep { rest.get(..at + length).unwrap_or(line) } else { line });
        rest = after.get(length..).unwrap_or_default();
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

fn partition(text: &str, from_end: bool, arguments: &[Value]) -> Result<Value, Error> {
    let (separator,): (&str,) = from_args(arguments)?;
    if separator.is_empty() {
        return Err(value_error("the separator is empty"));
    }
    let cut = if from_end { text.rsplit_once(separator) } else { text.split_once(separator) };
    let parts = match cut {
        Some((before, after)) => [before, separator, after],
        None if from_end => ["", "", text],
        None => [text, "", ""],
    };
    Ok(Value::from_object(minijinja::value::Tuple::from(parts.map(Value::from))))
}

/// Calls `text.replace(old, new, count)`; the filter `replace` is the same.
pub(crate) fn replace(text: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (positional, named) = arguments::part(arguments)?;
    let (old, new, _): (&str, &str, Option<Value>) = from_args(positional)?;
    let count = arguments::take(positional, &named, 2, "count")?;
    named.assert_all_used()?;
    let count = if count.is_none() { -1 } else { i64::try_from(count)? };
    // A negative count is none.
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    bounded(text.len().saturating_add(text.len().saturating_add(1).min(most).saturating_mul(new.len())))?;
    Ok(Value::from(text.replacen(old, new, most)))
}

/// Refuses to build a text that could never be a prompt.
fn bounded(bytes: usize) -> Result<(), Error> {
    if bytes > 4 * MAX_OUTPUT_BYTES { Err(value_error("the text is too long")) } else { Ok(()) }
}

/// The part of a text between two character positions, as in Python's slices, and where it begins.
fn section(text: &str, start: Option<i64>, end: Option<i64>) -> Option<(usize, &str)> {
    if start.is_none() && end.is_none() {
        return Some((0, text));
    }
    let count = text.chars().count();
    let position = |at: i64| match usize::try_from(at) {
        Ok(at) => at,
        Err(_) => count.saturating_sub(usize::try_from(at.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let start = start.map_or(0, position);
    let end = end.map_or(count, position).min(count);
    let byte = |at: usize| text.char_indices().nth(at).map_or(text.len(), |(byte, _)| byte);
    if start > end {
        return None;
    }
    text.get(byte(start)..byte(end)).map(|part| (start, part))
}

fn starts_or_ends(text: &str, ends: bool, arguments: &[Value]) -> Result<Value, Error> {
    let (wanted, start, end): (&Value, Option<i64>, Option<i64>) = from_args(arguments)?;
    let Some((_, part)) = section(text, start, end) else { return Ok(Value::from(false)) };
    let fits = |wanted: &Value| match wanted.as_str() {
        Some(wanted) => Ok(if ends { part.ends_with(wanted) } else { part.starts_with(wanted) }),
        None => Err(value_error("the argument is not a text or a tuple of texts")),
    };
    if wanted.kind() != ValueKind::Seq {
        return fits(wanted).map(Value::from);
    }
    for wanted in wanted.try_iter()? {
        if fits(&wanted)? {
            return Ok(Value::from(true));
        }
    }
    Ok(Value::from(false))
}

fn search(text: &str, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (wanted, start, end): (&str, Option<i64>, Option<i64>) = from_args(arguments)?;
    let found = section(text, start, end).and_then(|(offset, part)| {
        let byte = if method.starts_with('r') { part.rfind(wanted) } else { part.find(wanted) }?;
        Some(offset + part.get(..byte)?.chars().count())
    });
    match (method, found) {
        ("count", _) => {
            let part = section(text, start, end).map_or("", |(_, part)| part);
            Ok(Value::from(if found.is_some() { part.matches(wanted).count() } else { 0 }))
        }
        (_, Some(found)) => Ok(Value::from(found)),
        ("find" | "rfind", None) => Ok(Value::from(-1)),
        (_, None) => Err(value_error("the text is not found")),
    }
}

fn join(text: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (items,): (&Value,) = from_args(arguments)?;
    let mut out = String::new();
    for (index, item) in items.try_iter()?.enumerate() {
        let item = item.as_str().map(str::to_owned).ok_or_else(|| value_error("an item is not a text"))?;
        out.push_str(if index > 0 { text } else { "" });
        out.push_str(&item);
        bounded(out.len())?;
    }
    Ok(Value::from(out))
}

/// Calls `text.ljust(width, fill)`, `rjust` or `center`; the filter `center` is the last of them.
pub(crate) fn justify(text: &str, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (width, fill): (i64, Option<&str>) = from_args(arguments)?;
    let fill = fill.unwrap_or(" ");
    if fill.chars().count() != 1 {
        return Err(value_error("the fill is not one character"));
    }
    let length = text.chars().count();
    let missing = usize::try_from(width).unwrap_or(0).saturating_sub(length);
    bounded(missing.saturating_mul(fill.len()))?;
    // CPython puts the odd one of `center` on the left if width is odd too.
    let left = match method {
        "ljust" => 0,
        "rjust" => missing,
        _ => missing / 2 + (missing & usize::try_from(width).unwrap_or(0) & 1),
    };
    Ok(Value::from(fill.repeat(left) + text + &fill.repeat(missing - left)))
}

/// The filter `indent(width=4, first=False, blank=False)`: `width` is a number of spaces or a text.
pub(crate) fn indent(text: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (positional, named) = arguments::part(arguments)?;
    let width = arguments::take(positional, &named, 0, "width")?;
    let first = arguments::take(positional, &named, 1, "first")?.is_true();
    let blank = arguments::take(positional, &named, 2, "blank")?.is_true();
    named.assert_all_used()?;
    let margin = match width.as_str() {
        Some(margin) => margin.to_owned(),
        None if width.is_none() => " ".repeat(4),
        None => " ".repeat(usize::try_from(i64::try_from(width)?.clamp(0, 1024)).unwrap_or(0)),
    };
    let text = format!("{text}\n");
    let lines = lines(&text, false);
    bounded(text.len().saturating_add(lines.len().saturating_mul(margin.len())))?;
    let mut out = String::new();
    for (index, line) in lines.into_iter().enumerate() {
        out.push_str(if index > 0 { "\n" } else { "" });
        if (index == 0 && first) || (index > 0 && (blank || !line.is_empty())) {
            out.push_str(&margin);
        }
        out.push_str(line);
    }
    Ok(Value::from(out))
}

/// The filter `escape`: the five characters that have a meaning in HTML, as markupsafe writes them.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            letter => out.push(letter),
        }
    }
    out
}

fn zero_fill(text: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (width,): (i64,) = from_args(arguments)?;
    let missing = usize::try_from(width).unwrap_or(0).saturating_sub(text.chars().count());
    bounded(missing)?;
    let (sign, digits) = text.split_at(usize::from(text.starts_with(['+', '-'])));
    Ok(Value::from(format!("{sign}{}{digits}", "0".repeat(missing))))
}
