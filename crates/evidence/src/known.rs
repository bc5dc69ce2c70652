//! Values that authentic evidence reports and nobody vouches for: they count where the relying party or the policy names them.

use crate::{
    Expected, Refusal, Rule,
    cursor::all_zero,
    policy::{Allowed, Line},
};

/// Who names such a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// The relying party expected it.
    Expected,
    /// The policy lists it.
    Listed,
    /// Nobody: it may be anybody's.
    Undetermined,
}

impl Known {
    /// The word of the claims.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::Listed => "listed by the policy",
            Self::Undetermined => "undetermined",
        }
    }

    /// Judges the fields that can name one thing, each with its value; one is enough. Expectations were compared with the values
    /// before. Zero is the absence of a value, and names nothing.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under the rule, where nobody names it and the line does not put up with that.
    pub(crate) fn judge(
        what: &str,
        fields: &[(&str, &[u8])],
        line: &Line<Allowed>,
        expected: &Expected,
        rule: Rule,
    ) -> Result<Self, Refusal> {
        let given = || fields.iter().filter(|(_, value)| !all_zero(value));
        if given().any(|(field, _)| expected.names(field)) {
            Ok(Self::Expected)
        } else if given().any(|(_, value)| line.is.lists(value)) {
            Ok(Self::Listed)
        } else if matches!(line.is, Allowed::Any(_)) {
            Ok(Self::Undetermined)
        } else {
            Err(line.refuse(rule, format!("nobody names {what}")))
        }
    }
}
