//! A refusal: the one line that ends a boot, or a start in host mode.

use std::error::Error;
use std::fmt;

/// Longest reason that is printed, in characters.
const REASON_MAX: usize = 400;

/// Why the appliance does not serve: a stable code for programs, a reason for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    code: &'static str,
    reason: String,
}

impl Refused {
    /// A refusal for `error` and all its causes, printed once, outermost first.
    #[must_use]
    pub fn new(code: &'static str, error: &dyn Error) -> Self {
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            reason.push_str(": ");
            reason.push_str(&error.to_string());
            cause = error.source();
        }
        Self { code, reason: one_line(&reason) }
    }

    /// A refusal without a cause.
    #[must_use]
    pub fn because(code: &'static str, reason: &str) -> Self {
        Self { code, reason: one_line(reason) }
    }

    /// Stable code, lower case with dashes: `model-digest`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The reason, one printable line.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.reason)
    }
}

/// One bounded line of printable ASCII: a reason may quote what a host wrote (a key of the document, a device's name),
/// and a terminal reads it.
fn one_line(text: &str) -> String {
    let mut line: String =
        text.chars().take(REASON_MAX).map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect();
    if text.chars().nth(REASON_MAX).is_some() {
        line.push_str("...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read the disk")]
    struct Outer(#[source] io::Error);

    #[test]
    fn causes_stand_behind_the_error_in_one_line() {
        let refused = Refused::new("model-read", &Outer(io::Error::other("no medium")));
        assert_eq!(refused.to_string(), "model-read cannot read the disk: no medium");
    }

    #[test]
    fn what_a_host_wrote_cannot_start_a_line_or_move_a_cursor() {
        let refused = Refused::because("document-key", "unknown key \"\x1b[2J\nlethe: ready\"");
        assert_eq!(refused.reason(), "unknown key \"?[2J?lethe: ready\"");
    }

    #[test]
    fn a_long_reason_is_cut() {
        let refused = Refused::because("x", &"a".repeat(10_000));
        assert_eq!(refused.reason().len(), REASON_MAX + 3);
    }
}
