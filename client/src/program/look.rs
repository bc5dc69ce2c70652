//! How what is printed looks: colours and line breaks for a terminal, neither for a file or a pipe.

use std::io::{self, IsTerminal};

use crate::{attestation::Outcome, terminal::one_line};

/// Narrower terminals break lines by themselves.
const NARROWEST: usize = 60;
/// Most characters of a text.
const LONGEST: usize = 4096;
/// Columns of names, and of outcomes behind them.
const NAMES: usize = 15;
const OUTCOMES: usize = 12;

/// The look of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Characters a line, where lines are to be broken.
    width: Option<usize>,
    colours: bool,
}

impl Look {
    /// One line for each thing, and no colours.
    pub const PLAIN: Self = Self { width: None, colours: false };

    /// Of standard output. `NO_COLOR` (no-color.org) and `TERM=dumb` are heeded.
    #[must_use]
    pub fn of_output() -> Self {
        if !io::stdout().is_terminal() {
            return Self::PLAIN;
        }
        let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let colours = set("NO_COLOR").is_none() && set("TERM").is_some_and(|term| term != "dumb");
        Self { width: width.filter(|width| *width >= NARROWEST), colours }
    }

    /// A line with a name and a fact.
    #[must_use]
    pub fn fact(self, name: &str, fact: &str) -> String {
        format!("{name:<NAMES$}{}\n", self.beside(NAMES, fact))
    }

    /// A line with a subject, what became of it, and why.
    #[must_use]
    pub fn label(self, subject: &str, outcome: Outcome, reason: &str) -> String {
        if reason.is_empty() {
            return format!("{subject:<NAMES$}{}\n", self.coloured(outcome, &outcome.to_string()));
        }
        let outcome = self.coloured(outcome, &format!("{outcome:<OUTCOMES$}"));
        format!("{subject:<NAMES$}{outcome}{}\n", self.beside(NAMES + OUTCOMES, reason))
    }

    fn coloured(self, outcome: Outcome, text: &str) -> String {
        let colour = match outcome {
            Outcome::Accepted => 32,
            Outcome::Refused => 31,
            Outcome::NotProven => 33,
        };
        if self.colours { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// A text behind `columns` that are taken, broken between words, its later lines below its first. It drives no
    /// terminal and adds no line of its own.
    fn beside(self, columns: usize, text: &str) -> String {
        let text = one_line(text, LONGEST);
        let Some(width) = self.width.map(|width| width.saturating_sub(columns)) else { return text };
        let (mut lines, mut used) = (String::with_capacity(text.len() + columns), 0_usize);
        for word in text.split(' ') {
            let length = word.chars().count();
            if used > 0 && used + 1 + length > width {
                lines.push('\n');
                lines.extend(std::iter::repeat_n(' ', columns));
                used = 0;
            } else if used > 0 {
                lines.push(' ');
                used += 1;
            }
            lines.push_str(word);
            used += length;
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMINAL: Look = Look { width: Some(60), colours: true };

    #[test]
    fn a_long_text_is_broken_between_words_and_stands_below_itself() {
        let text = "the hardware vouches for the keyset, and the TLS key that the server held is in it";
        assert_eq!(
            TERMINAL.beside(27, text),
            "the hardware vouches for the\n                           keyset, and the TLS key that the\n                           \
             server held is in it"
        );
        assert_eq!(Look::PLAIN.beside(27, text), text);
        let digest = "f".repeat(64);
        assert_eq!(TERMINAL.beside(27, &digest), digest, "a word is not broken");
    }

    #[test]
    fn outcomes_have_colours_on_a_terminal_alone() {
        assert_eq!(
            TERMINAL.label("keys", Outcome::Refused, "why"),
            "keys           \u{1b}[31mrefused     \u{1b}[0mwhy\n"
        );
        assert_eq!(Look::PLAIN.label("keys", Outcome::NotProven, "why"), "keys           not proven  why\n");
        assert_eq!(Look::PLAIN.label("verdict", Outcome::Accepted, ""), "verdict        accepted\n");
    }

    #[test]
    fn a_text_of_a_server_has_neither_colours_nor_lines_of_its_own() {
        assert_eq!(TERMINAL.beside(0, "a\u{1b}[32mb"), "a [32mb");
        assert_eq!(Look::PLAIN.fact("name", "a\u{9b}b\nverdict  accepted"), "name           a b verdict  accepted\n");
    }
}
