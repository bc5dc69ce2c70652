//! From bytes to a checked document: size, UTF-8, nesting, TOML, keys, ranges, agreement, types; in this order.

use toml::{Table, Value};

use crate::agree::disagreements;
use crate::error::DocumentError;
use crate::nesting::too_deep;
use crate::walk::walk;
use crate::{Document, MAX_BYTES};

/// Longest piece of the TOML reader's reason that is passed on, in characters.
const REASON_CHARS: usize = 120;

/// Reads a document.
///
/// The bytes may come from a hostile host: work and memory are bounded by [`MAX_BYTES`], nothing panics, and the error
/// repeats nothing of the document but the beginning of an unknown key's name, escaped.
///
/// # Errors
/// The first [`DocumentError`] of [`faults`].
pub fn parse(bytes: &[u8]) -> Result<Document, DocumentError> {
    read(bytes).map_err(|faults| faults.into_iter().next().unwrap_or(DocumentError::Unreadable))
}

/// Everything that is wrong with a document, for tools that help to mend it; empty if [`parse`] accepts it.
#[must_use]
pub fn faults(bytes: &[u8]) -> Vec<DocumentError> {
    read(bytes).err().unwrap_or_default()
}

fn read(bytes: &[u8]) -> Result<Document, Vec<DocumentError>> {
    if bytes.len() > MAX_BYTES {
        return Err(vec![DocumentError::TooLong { found_bytes: bytes.len() }]);
    }
    let text = std::str::from_utf8(bytes).map_err(|e| vec![DocumentError::NotUtf8 { offset: e.valid_up_to() }])?;
    if let Some(offset) = too_deep(text) {
        return Err(vec![DocumentError::TooDeep { line: place(text, offset).0 }]);
    }
    let table: Table = toml::from_str(text).map_err(|error| vec![syntax(text, &error)])?;
    let faults = walk(&table);
    if !faults.is_empty() {
        return Err(faults);
    }
    let document: Document = Value::Table(table).try_into().map_err(|_| vec![DocumentError::Unreadable])?;
    let faults = disagreements(&document);
    if faults.is_empty() { Ok(document) } else { Err(faults) }
}

fn syntax(text: &str, error: &toml::de::Error) -> DocumentError {
    let (line, column) = place(text, error.span().map_or(0, |span| span.start));
    // The reason names grammar, not input; it is cut and cleaned all the same, because that is another crate's habit.
    let clean = |character: char| if character.is_ascii_graphic() || character == ' ' { character } else { '?' };
    let reason = error.message().chars().take(REASON_CHARS).map(clean).collect();
    DocumentError::Syntax { line, column, reason }
}

/// Line and column (in bytes) of an offset, both from 1.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
    (line, column)
}
