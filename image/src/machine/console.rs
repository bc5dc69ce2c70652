//! The guest's console: bytes of a machine that may be hostile, into lines that are safe to show, into what they mean.

use std::collections::VecDeque;
use std::iter::Peekable;
use std::str::Chars;

/// Longest line that is kept together, in bytes; a longer one is cut into several.
pub const MAX_LINE_BYTES: usize = 4096;

/// Cuts a byte stream into lines and takes everything out of them that could steer a terminal.
#[derive(Debug, Default)]
pub struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// The lines that are complete now.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in bytes {
            if *byte == b'\n' || self.pending.len() >= MAX_LINE_BYTES {
                cut(&printable(&std::mem::take(&mut self.pending)), &mut lines);
            }
            if *byte != b'\n' {
                self.pending.push(*byte);
            }
        }
        lines
    }

    /// What stands in an unfinished line.
    pub fn rest(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let rest = printable(&std::mem::take(&mut self.pending));
        if !rest.is_empty() {
            cut(&rest, &mut lines);
        }
        lines
    }
}

/// Firmware clears the screen where it could have ended a line: what was cleared away was a line too.
fn cut(text: &str, lines: &mut Vec<String>) {
    let (cleared, last) = text.rsplit_once('\n').unwrap_or(("", text));
    lines.extend(cleared.split('\n').map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned));
    lines.push(last.trim_end().to_owned());
}

/// The text of a line without escape sequences, control characters and characters that change its direction. Where the
/// screen was cleared there is a line break.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\x1b' => {
                if skip_escape(&mut characters) {
                    out.push('\n');
                }
            }
            '\t' => out.push(' '),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// Leaves out the rest of an escape sequence (ECMA-48, ECMA-35). True if it clears the screen.
fn skip_escape(characters: &mut Peekable<Chars<'_>>) -> bool {
    if characters.next_if_eq(&'[').is_some() {
        // Parameters and intermediates, then one final byte.
        while characters.next_if(|c| (' '..='?').contains(c)).is_some() {}
        return characters.next_if(|c| ('@'..='~').contains(c)) == Some('J');
    }
    while characters.next_if(|c| (' '..='/').contains(c)).is_some() {}
    characters.next_if(|c| ('0'..='~').contains(c)) == Some('c')
}

/// What a line of the console means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// `lethe: stage <name> [key=value …]`
    Stage {
        /// Which step of the boot.
        name: String,
        /// Milliseconds since the guest's start, if it says so.
        ms: Option<u64>,
    },
    /// `lethe: stage model copied=<bytes> of=<bytes>`
    Copied {
        /// Bytes of the model that are in memory.
        bytes: u64,
        /// Bytes it has.
        of: u64,
    },
    /// `lethe: spki sha256:<hex>`, the text from `sha256:` on.
    Spki(String),
    /// `lethe: ready port=<port> ms=<since boot>`
    Ready {
        /// The port inside the guest.
        port: u16,
        /// Milliseconds since the guest's start, if it says so.
        ms: Option<u64>,
    },
    /// `lethe: refused: <code> <reason>`
    Refused {
        /// A word for programs.
        code: String,
        /// A sentence for people.
        reason: String,
    },
    /// Anything else, `lethe: event …` among it.
    Other,
}

/// Reads one line.
#[must_use]
pub fn read(line: &str) -> Line {
    let Some(text) = line.strip_prefix("lethe: ") else { return Line::Other };
    if let Some(refusal) = text.strip_prefix("refused: ") {
        let (code, reason) = refusal.split_once(' ').unwrap_or((refusal, ""));
        return Line::Refused { code: code.to_owned(), reason: reason.to_owned() };
    }
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    match (words.next(), words.next()) {
        (Some("stage"), Some(name)) => stage(name, text),
        (Some("spki"), Some(pin)) if is_pin(pin) => Line::Spki(pin.to_owned()),
        (Some("ready"), Some(_)) => match value(text, "port") {
            Some(port) => Line::Ready { port, ms: value(text, "ms") },
            None => Line::Other,
        },
        _ => Line::Other,
    }
}

fn stage(name: &str, text: &str) -> Line {
    match (value(text, "copied"), value(text, "of"), value(text, "ms")) {
        (Some(bytes), Some(of), None) if name == "model" => Line::Copied { bytes, of },
        // With its time, the step is done.
        (.., ms) => Line::Stage { name: name.to_owned(), ms },
    }
}

/// The number after `key=`.
fn value<T: std::str::FromStr>(text: &str, key: &str) -> Option<T> {
    text.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
}

fn is_pin(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// How far the guest has come, from its lines.
#[derive(Debug, Default)]
pub struct Watch {
    spki: Option<String>,
    outcome: Option<Outcome>,
    last: VecDeque<String>,
}

/// What a boot came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It answers, with the TLS key it named before.
    Ready {
        /// The key's digest.
        spki: Option<String>,
    },
    /// It refused.
    Refused {
        /// A word for programs.
        code: String,
        /// A sentence for people.
        reason: String,
    },
}

impl Watch {
    /// Takes the next line; gives its meaning.
    pub fn line(&mut self, text: &str) -> Line {
        let line = read(text);
        match &line {
            Line::Spki(pin) if self.outcome.is_none() => self.spki = Some(pin.clone()),
            Line::Ready { .. } if self.outcome.is_none() => {
                self.outcome = Some(Outcome::Ready { spki: self.spki.clone() });
            }
            // A machine that served and then refuses has refused; a refused one never becomes ready.
            Line::Refused { code, reason } if !self.is_refused() => {
                self.outcome = Some(Outcome::Refused { code: code.clone(), reason: reason.clone() });
            }
            _ => {}
        }
        if !text.is_empty() && !matches!(line, Line::Copied { .. }) {
            if self.last.len() == super::error::QUOTED_LINES {
                self.last.pop_front();
            }
            self.last.push_back(text.to_owned());
        }
        line
    }

    /// What the boot came to, once that is known.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Whether it refused.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Refused { .. }))
    }

    /// The last lines that say something.
    #[must_use]
    pub fn last_lines(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests;
