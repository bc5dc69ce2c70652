//! jinja2's filters `int` and `float`: Python's conversions, with a default instead of an error.

use minijinja::{
    Error, ErrorKind, Value,
    value::{Rest, ValueKind, ValueOrKwargs},
};

use crate::{arguments, python};

/// `int(default=0, base=10)`
pub(crate) fn int(value: &Value, arguments: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let arguments = arguments.into_values();
    let (positional, named) = arguments::part(&arguments)?;
    let default = arguments::take(positional, &named, 0, "default")?;
    let base = arguments::take(positional, &named, 1, "base")?;
    named.assert_all_used()?;
    let base = if base.is_none() { 10 } else { u32::try_from(base)? };
    if !(2..=36).contains(&base) {
        return Err(Error::new(ErrorKind::InvalidOperation, "the base is not between 2 and 36"));
    }
    let whole = |number: f64| (number.is_finite() && number.abs() < 1e18).then(|| Value::from(number.trunc() as i64));
    let converted = match value.as_str() {
        Some(text) => {
            let digits = digits(text);
            let digits = if base == 16 { digits.replacen("0x", "", 1) } else { digits };
            i64::from_str_radix(&digits, base).map(Value::from).ok().or_else(|| whole(digits.parse().ok()?))
        }
        None if value.is_integer() => Some(value.clone()),
        None if value.kind() == ValueKind::Bool => Some(Value::from(i64::from(value.is_true()))),
        None => f64::try_from(value.clone()).ok().and_then(whole),
    };
    Ok(converted.unwrap_or(if default.is_none() { Value::from(0) } else { default }))
}

/// `float(default=0.0)`
pub(crate) fn float(value: &Value, arguments: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let arguments = arguments.into_values();
    let (positional, named) = arguments::part(&arguments)?;
    let default = arguments::take(positional, &named, 0, "default")?;
    named.assert_all_used()?;
    let converted = match value.as_str() {
        Some(text) => digits(text).parse::<f64>().ok(),
        None if value.kind() == ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        None => f64::try_from(value.clone()).ok(),
    };
    let default = if default.is_none() { Value::from(0.0) } else { default };
    Ok(converted.map_or(default, Value::from))
}

/// A number as Python reads it: white space around it and single underscores within it do not count.
fn digits(text: &str) -> String {
    let trimmed = text.trim_matches(python::is_space);
    let between = |at: usize| {
        let digit = |at: Option<usize>| at.and_then(|at| trimmed.as_bytes().get(at)).is_some_and(u8::is_ascii_digit);
        digit(at.checked_sub(1)) && digit(at.checked_add(1))
    };
    trimmed.char_indices().filter(|(at, letter)| *letter != '_' || !between(*at)).map(|(_, letter)| letter).collect()
}
