//! Everything that is written to the user. Nothing that came from a server reaches the terminal but through here.

use std::{
    error::Error as _,
    io::{self, Write},
};

use serde_json::Value;

use crate::{
    error::{Error, UsageError},
    terminal::{harmless, harmless_json},
};

/// A line on standard error.
fn aside(line: &str) {
    // Without standard error there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{}", harmless(line));
}

/// Something worth knowing.
pub fn note(text: &str) {
    aside(&format!("note: {text}"));
}

/// Something to think about.
pub fn warning(text: &str) {
    aside(&format!("warning: {text}"));
}

/// An error with its causes, and what helps.
pub fn error(error: &Error, help: Option<&str>) {
    aside(&format!("error: {error}"));
    let mut cause = error.source();
    let mut above = error.to_string();
    while let Some(this) = cause {
        let text = this.to_string();
        if !above.contains(&text) {
            aside(&format!("  caused by: {text}"));
        }
        above = text;
        cause = this.source();
    }
    if let Some(help) = help {
        aside(&format!("help: {help}"));
    }
}

/// Text on standard output, at once.
///
/// # Errors
/// [`UsageError::Terminal`] if standard output is gone.
pub fn answer(text: &str) -> Result<(), Error> {
    answer_bytes(harmless(text).as_bytes())
}

/// A JSON value on a line of standard output.
///
/// # Errors
/// As [`answer`].
pub fn answer_json(value: &Value) -> Result<(), Error> {
    answer_bytes(format!("{}\n", harmless_json(&format!("{value:#}"))).as_bytes())
}

/// Bytes that this program made itself on standard output.
///
/// # Errors
/// As [`answer`].
pub fn answer_bytes(bytes: &[u8]) -> Result<(), Error> {
    let mut output = io::stdout().lock();
    output.write_all(bytes).and_then(|()| output.flush()).map_err(|source| UsageError::Terminal(source).into())
}
