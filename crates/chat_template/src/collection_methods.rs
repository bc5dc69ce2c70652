//! The methods of Python's `dict` and `list` that transformers' sandbox allows.
//!
//! It is an *immutable* sandbox: `list.append`, `dict.update` and their like raise a `SecurityError` there, so they
//! are unknown methods here.

use minijinja::{
    Error, ErrorKind, Value,
    value::{Tuple, from_args},
};

/// Calls `dictionary.method(*arguments)`.
///
/// # Errors
/// [`ErrorKind::UnknownMethod`] for a method that does not exist or changes the dictionary.
pub(crate) fn call_dictionary(dictionary: &Value, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    match method {
        "get" => {
            let (key, default): (&Value, Option<Value>) = from_args(arguments)?;
            let found = dictionary.get_item(key)?;
            Ok(if found.is_undefined() { default.unwrap_or(Value::from(())) } else { found })
        }
        "keys" | "copy" => {
            let () = from_args(arguments)?;
            if method == "copy" { Ok(dictionary.clone()) } else { Ok(dictionary.try_iter()?.collect()) }
        }
        "values" => {
            let () = from_args(arguments)?;
            let values: Result<Vec<Value>, Error> =
                dictionary.try_iter()?.map(|key| dictionary.get_item(&key)).collect();
            values.map(Value::from)
        }
        "items" => {
            let () = from_args(arguments)?;
            let pair =
                |key: Value| dictionary.get_item(&key).map(|value| Value::from_object(Tuple::from([key, value])));
            let pairs: Result<Vec<Value>, Error> = dictionary.try_iter()?.map(pair).collect();
            pairs.map(Value::from)
        }
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

/// Calls `list.method(*arguments)`.
///
/// # Errors
/// [`ErrorKind::UnknownMethod`] for a method that does not exist or changes the list.
pub(crate) fn call_list(list: &Value, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    match method {
        "copy" => {
            let () = from_args(arguments)?;
            Ok(list.clone())
        }
        "count" => {
            let (wanted,): (&Value,) = from_args(arguments)?;
            Ok(Value::from(list.try_iter()?.filter(|item| item == wanted).count()))
        }
        "index" => {
            let (wanted,): (&Value,) = from_args(arguments)?;
            let found = list.try_iter()?.position(|item| item == *wanted);
            found.map(Value::from).ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "the item is not in the list"))
        }
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}
