//! What a relying party expects particular fields to be: bindings, measurements, identities.

use subtle::ConstantTimeEq as _;

use crate::{Refusal, Rule};

/// Longest expected value, in bytes; the longest field has 64.
const MAX_VALUE_BYTES: usize = 128;

/// Why an expectation was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an expectation is written field=hex, for example measurement=93c1… or vmpl=00")]
pub struct ExpectedError;

/// Expected values of fields, by the names that the claims use. Several values for one field mean any of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected(Vec<(String, Vec<u8>)>);

/// A field of verified evidence that can be compared.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fact<'a> {
    Bytes(&'a [u8]),
    Number(u64),
}

impl Expected {
    /// Nothing is expected.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Adds an allowed value for a field. Numbers are big-endian.
    #[must_use]
    pub fn with(mut self, field: &str, value: &[u8]) -> Self {
        self.0.push((field.to_owned(), value.to_vec()));
        self
    }

    /// Adds an expectation in the form `field=hex`, as the command line writes it.
    ///
    /// # Errors
    ///
    /// [`ExpectedError`] if the text has another form, or the value is empty or longer than any field.
    pub fn with_text(self, text: &str) -> Result<Self, ExpectedError> {
        let (field, value) = text.split_once('=').ok_or(ExpectedError)?;
        let digits = value.strip_prefix("0x").unwrap_or(value);
        let padded =
            if digits.len() % 2 == 1 && value.starts_with("0x") { format!("0{digits}") } else { digits.to_owned() };
        let value = hex::decode(padded).map_err(|_| ExpectedError)?;
        if field.is_empty() || value.is_empty() || value.len() > MAX_VALUE_BYTES {
            return Err(ExpectedError);
        }
        Ok(self.with(field, &value))
    }

    /// Whether any value is expected of this field.
    #[must_use]
    pub fn names(&self, field: &str) -> bool {
        self.0.iter().any(|(name, _)| name == field)
    }

    /// Compares every expectation with the facts. `unknown` is the rule of an expectation that no fact answers.
    pub(crate) fn compare(&self, facts: &[(&'static str, Rule, Fact<'_>)], unknown: Rule) -> Result<(), Refusal> {
        for (name, _) in &self.0 {
            if !facts.iter().any(|(fact, ..)| fact == name) {
                return Err(unknown.refuse(format!("the evidence has no field {name:?} that could be as expected")));
            }
        }
        for (name, rule, fact) in facts {
            let mut allowed = self.0.iter().filter(|(field, _)| field == name).map(|(_, value)| value).peekable();
            if allowed.peek().is_some() && !allowed.any(|value| fact.equals(value)) {
                return Err(rule.refuse(format!("{name} is not as expected: it is {fact}")));
            }
        }
        Ok(())
    }
}

impl Fact<'_> {
    fn equals(self, value: &[u8]) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.ct_eq(value).into(),
            Self::Number(number) => {
                let significant = value.iter().position(|byte| *byte != 0).unwrap_or(value.len());
                let digits = value.get(significant..).unwrap_or_default();
                digits.len() <= 8 && digits.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)) == number
            }
        }
    }
}

impl std::fmt::Display for Fact<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => f.write_str(&hex::encode(bytes)),
            Self::Number(number) => write!(f, "{number:#x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Expected, Fact};
    use crate::Rule;

    const FACTS: &[(&str, Rule, Fact<'static>)] =
        &[("vmpl", Rule::S9, Fact::Number(1)), ("host_data", Rule::S10, Fact::Bytes(&[1, 2]))];

    #[test]
    fn any_of_the_values_of_a_field_is_enough_and_every_field_counts() {
        let expected =
            Expected::nothing().with("host_data", &[9, 9]).with("host_data", &[1, 2]).with("vmpl", &[0, 0, 1]);
        assert_eq!(expected.compare(FACTS, Rule::S7), Ok(()));
        let refusal = expected.with("vmpl", &[2]).with("host_data", &[3]);
        assert_eq!(refusal.compare(FACTS, Rule::S7), Ok(()), "another allowed value changes nothing");
        for (field, value, rule) in [
            ("vmpl", &[2][..], Rule::S9),
            ("host_data", &[1], Rule::S10),
            ("host_data", &[0, 0], Rule::S10),
            ("nonsense", &[1], Rule::S7),
        ] {
            let refused = Expected::nothing().with(field, value).compare(FACTS, Rule::S7).expect_err(field);
            assert_eq!(refused.rule(), rule);
        }
    }

    #[test]
    fn only_field_and_hex_is_an_expectation() {
        assert_eq!(
            Expected::nothing().with_text("policy=0x3001f"),
            Ok(Expected::nothing().with("policy", &[3, 0, 0x1f]))
        );
        for text in ["", "a", "a=", "=00", "a=0", "a=zz"] {
            assert!(Expected::nothing().with_text(text).is_err(), "{text:?}");
        }
    }
}
