//! Query strings: named parameters, each once, and no others.

use super::error::ApiError;
use super::route::percent_decoded;

/// The values of the `known` parameters, in their order. `expected` names them for a refusal.
///
/// # Errors
/// [`ApiError::Query`] for another parameter, [`ApiError::QueryValue`] for one that stands twice or is not UTF-8.
pub(super) fn parameters<const N: usize>(
    query: Option<&str>,
    known: [&'static str; N],
    expected: &'static str,
) -> Result<[Option<String>; N], ApiError> {
    let mut values = [const { None }; N];
    for part in query.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let found = known.iter().zip(values.iter_mut()).find(|(known, _)| **known == name);
        let Some((name, slot)) = found else { return Err(ApiError::Query { expected }) };
        let value = percent_decoded(value).ok_or(ApiError::QueryValue { name })?;
        if slot.replace(value).is_some() {
            return Err(ApiError::QueryValue { name });
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<[Option<String>; 2], ApiError> {
        parameters(Some(query), ["nonce", "keyset"], "nonce or keyset")
    }

    #[test]
    fn known_parameters_are_read_in_any_order() {
        assert_eq!(read("").expect("none"), [None, None]);
        assert_eq!(read("keyset=sha256%3Aab&nonce=1").expect("both"), [Some("1".into()), Some("sha256:ab".into())]);
        assert_eq!(read("nonce").expect("an empty one"), [Some(String::new()), None]);
    }

    #[test]
    fn other_parameters_and_repeated_ones_are_refused() {
        assert!(matches!(read("x=1"), Err(ApiError::Query { expected: "nonce or keyset" })));
        assert!(matches!(read("Nonce=1"), Err(ApiError::Query { .. })));
        for query in ["nonce=1&nonce=1", "nonce=%ff", "nonce=%4"] {
            assert!(matches!(read(query), Err(ApiError::QueryValue { name: "nonce" })), "{query}");
        }
    }
}
