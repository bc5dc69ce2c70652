//! Arguments of a call, parted into those given by position and those given by name.

use minijinja::{Error, Value, value::Kwargs};

/// The positional arguments and the named ones, which the engine passes as one value at the end.
pub(crate) fn part(arguments: &[Value]) -> Result<(&[Value], Kwargs), Error> {
    match arguments.split_last() {
        Some((last, rest)) if last.is_kwargs() => Ok((rest, Kwargs::try_from(last.clone())?)),
        _ => Ok((arguments, std::iter::empty::<(&str, Value)>().collect())),
    }
}

/// The argument at `index`, or else the one called `name`, or else none.
pub(crate) fn take(positional: &[Value], named: &Kwargs, index: usize, name: &str) -> Result<Value, Error> {
    let by_name = named.get::<Option<Value>>(name)?;
    Ok(positional.get(index).cloned().or(by_name).unwrap_or(Value::from(())))
}
