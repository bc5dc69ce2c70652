//! minijinja set up as transformers sets up jinja2.

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value,
    syntax::SyntaxConfig,
    value::{Rest, ValueKind, ValueOrKwargs},
};

use crate::{Date, MAX_STEPS, Raised, collection_methods, json, numbers, python, slice, source, text_methods};

/// Filters and functions that jinja2 does not have: a template that uses them was not written for it.
const NOT_IN_JINJA2: &[&str] = &["split", "lines", "chain", "zip", "bool"];

/// The environment of all templates; `date` is what `strftime_now` answers.
pub(crate) fn new(date: Date) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(write);
    environment.set_fuel(Some(MAX_STEPS));
    environment.set_unknown_method_callback(call_method);
    for name in NOT_IN_JINJA2 {
        environment.remove_filter(name);
    }
    environment.remove_global("debug");
    add_filters(&mut environment);
    environment.add_test("sequence", is_sequence);
    environment.add_test("iterable", is_iterable);
    environment.add_test("divisibleby", is_divisible);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", move |format: &str| date.strftime(format));
    Ok(environment)
}

/// Filters that minijinja lacks, or that do something else there than in jinja2.
fn add_filters(environment: &mut Environment<'_>) {
    type Further = Rest<ValueOrKwargs>;
    environment.add_filter("tojson", json::tojson);
    environment.add_filter("int", numbers::int);
    environment.add_filter("float", numbers::float);
    environment.add_filter("length", length);
    environment.add_filter("count", length);
    environment.add_filter("string", |value: &Value| python::text(value));
    environment.add_filter("capitalize", |value: &Value| text_methods::capitalize(&python::text(value)));
    for name in ["escape", "e"] {
        environment.add_filter(name, |value: &Value| text_methods::escape(&python::text(value)));
    }
    environment
        .add_filter("trim", |value: &Value, letters: Option<&str>| text_methods::trim(&python::text(value), letters));
    environment.add_filter("replace", |value: &Value, further: Further| {
        text_methods::replace(&python::text(value), &further.into_values())
    });
    environment.add_filter("indent", |value: &Value, further: Further| {
        text_methods::indent(&python::text(value), &further.into_values())
    });
    environment.add_filter("center", |value: &Value, width: Option<i64>| {
        text_methods::justify(&python::text(value), "center", &[Value::from(width.unwrap_or(80))])
    });
}

fn write(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) => out.write_str(text).map_err(Error::from),
        None => out.write_str(&python::text(value)).map_err(Error::from),
    }
}

fn call_method(_: &mut State<'_, '_>, value: &Value, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    if method == source::SLICE {
        return slice::call(value, arguments);
    }
    match (value.as_str(), value.kind()) {
        (Some(text), _) => text_methods::call(text, method, arguments),
        (None, ValueKind::Map) => collection_methods::call_dictionary(value, method, arguments),
        (None, ValueKind::Seq) => collection_methods::call_list(value, method, arguments),
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

fn raise_exception(message: &Value) -> Result<Value, Error> {
    let raised = Raised::new(python::text(message));
    Err(Error::new(ErrorKind::InvalidOperation, "raise_exception was called").with_source(raised))
}

fn length(value: &Value) -> Result<usize, Error> {
    match value.len() {
        Some(length) => Ok(length),
        None if value.is_undefined() => Ok(0),
        None if value.kind() == ValueKind::Iterable => Ok(value.try_iter()?.count()),
        None => Err(Error::new(ErrorKind::InvalidOperation, "the value has no length")),
    }
}

/// jinja2 asks for a length and for items by index or key: texts and dictionaries have both.
fn is_sequence(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::String | ValueKind::Undefined)
}

fn is_iterable(value: &Value) -> bool {
    match value.kind() {
        ValueKind::String | ValueKind::Undefined => true,
        ValueKind::None => false,
        _ => value.try_iter().is_ok(),
    }
}

/// The engine's own test panics when it divides by zero.
fn is_divisible(value: &Value, by: &Value) -> Result<bool, Error> {
    let number = |value: &Value| i128::try_from(value.clone());
    let (value, by) = (number(value)?, number(by)?);
    let rest = value.checked_rem(by);
    rest.map(|rest| rest == 0).ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "division by zero"))
}
