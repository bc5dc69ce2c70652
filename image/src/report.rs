//! How a failure ends the program: one `error:` line, one `help:` line, an exit status.

use std::fmt;
use std::process::ExitCode;

use crate::machine;

/// Exit status of an ordinary failure.
pub const FAILURE: u8 = 1;
/// Exit status of a wrong command line, as clap uses it.
pub const USAGE: u8 = 2;

/// A failure with the advice that belongs to it; attach it with `anyhow`'s `context`.
#[derive(Debug)]
pub struct Advised {
    message: String,
    help: String,
    status: u8,
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Advised {}

/// What went wrong, and what to do next.
///
/// ```
/// use anyhow::Context as _;
/// use lethe_image::report::advise;
///
/// let read: anyhow::Result<String> = std::fs::read_to_string("/nonexistent")
///     .with_context(|| advise("cannot read the model list", "create it with `lethe-image config new`"));
/// assert!(read.is_err());
/// ```
pub fn advise(message: impl Into<String>, help: impl Into<String>) -> Advised {
    Advised { message: message.into(), help: help.into(), status: FAILURE }
}

impl Advised {
    /// The same failure, caused by the command line: exit status 2.
    #[must_use]
    pub fn usage(self) -> Self {
        Self { status: USAGE, ..self }
    }
}

/// Prints the failure to stderr and gives the exit status it stands for.
#[must_use]
pub fn explain(error: &anyhow::Error) -> ExitCode {
    let (text, status) = render(error);
    eprint!("{text}");
    ExitCode::from(status)
}

/// The lines of [`explain`] and its exit status.
fn render(error: &anyhow::Error) -> (String, u8) {
    let mut text = format!("error: {}\n", one_line(&chain(error)));
    let (help, status) = if let Some(advised) = error.downcast_ref::<Advised>() {
        (Some(advised.help.clone()), advised.status)
    } else if let Some(machine) = error.downcast_ref::<machine::Error>() {
        (machine.help(), machine.status())
    } else {
        (None, FAILURE)
    };
    if let Some(help) = help {
        text.push_str(&format!("help: {}\n", one_line(&help)));
    }
    (text, status)
}

/// The error and its causes, without a cause that the line before already ends with.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let part = cause.to_string();
        if text.is_empty() {
            text = part;
        } else if !text.ends_with(&part) {
            text = format!("{text}: {part}");
        }
    }
    text
}

/// Line breaks become `; `, so that an error stays one line.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context as _, anyhow};

    #[test]
    fn an_advised_failure_is_one_error_line_and_one_help_line() {
        let error = Err::<(), _>(anyhow!("no such file\nor directory"))
            .context(advise("cannot read the model", "name a file that exists"))
            .unwrap_err();
        let (text, status) = render(&error);
        assert_eq!(text, "error: cannot read the model: no such file; or directory\nhelp: name a file that exists\n");
        assert_eq!(status, FAILURE);
    }

    #[test]
    fn a_failure_of_the_command_line_ends_with_status_two() {
        let error = anyhow::Error::from(advise("two machines", "name one").usage());
        assert_eq!(render(&error).1, USAGE);
    }

    #[test]
    fn a_failure_without_advice_has_no_help_line() {
        assert_eq!(render(&anyhow!("broken")).0, "error: broken\n");
    }

    #[test]
    fn a_cause_that_was_already_said_is_not_repeated() {
        assert_eq!(chain(&anyhow!("disk full").context("cannot write: disk full")), "cannot write: disk full");
    }
}
