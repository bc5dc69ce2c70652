//! What a person sees of a machine while it boots, and what a program reads when it is ready.

use std::io::{Write as _, stdout};

use indicatif::ProgressBar;

use super::Error;
use super::console::Line;
use super::record::Record;
use crate::progress::Progress;

/// Shows a boot on stderr.
#[derive(Debug)]
pub struct Show {
    progress: Progress,
    console: bool,
    bar: Option<ProgressBar>,
}

impl Show {
    /// Shows the stages, and with `console` every other line of the guest too.
    #[must_use]
    pub fn new(progress: Progress, console: bool) -> Self {
        Self { progress, console, bar: None }
    }

    /// The way to show other things.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// A line of the console, with what it means.
    pub fn line(&mut self, text: &str, meaning: &Line) {
        match meaning {
            Line::Copied { bytes, of } if self.progress.is_live() => self.copied(*bytes, *of),
            Line::Stage { name, ms } if self.progress.is_live() => {
                self.clear();
                let at = ms.map(|ms| format!(" at {}", seconds(ms))).unwrap_or_default();
                self.progress.status("Stage", format!("{name}{at}"));
            }
            _ if self.console && !text.is_empty() => {
                self.clear();
                eprintln!("{text}");
            }
            _ => {}
        }
    }

    fn copied(&mut self, bytes: u64, of: u64) {
        let bar = self.bar.get_or_insert_with(|| self.progress.bytes("Copying", of));
        bar.set_length(of);
        bar.set_position(bytes.min(of));
        if bytes >= of {
            self.clear();
        }
    }

    /// Takes a bar off the screen.
    pub fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// What the machine said last, if it has not been shown already.
    pub fn explain(&self, error: &Error) {
        if !self.console {
            for line in error.last_lines() {
                eprintln!("  | {line}");
            }
        }
    }

    /// The machine is ready: the address and the key's digest on stdout, for people or as one line of JSON.
    pub fn ready(&mut self, record: &Record, json: bool) {
        self.clear();
        let took = record.ready_ms.map(seconds).unwrap_or_default();
        self.progress.finished("Ready", format!("{} in {took}", record.url));
        let text = if json {
            serde_json::to_string(record).unwrap_or_default() + "\n"
        } else {
            let pin = record.spki.as_deref().unwrap_or("unknown");
            let ak = record.ak.as_ref().map(|path| format!("ak   {}\n", path.display())).unwrap_or_default();
            format!("name {}\nurl  {}\npin  {pin}\n{ak}", record.name, record.url)
        };
        if self.console {
            self.progress.status("Running", "Ctrl-C ends it");
        }
        // A reader that is gone does not stop a machine that serves others.
        let _ = stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush());
    }
}

/// Milliseconds for people.
#[must_use]
pub fn seconds(ms: u64) -> String {
    format!("{}.{:02} s", ms / 1000, ms % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_read_as_seconds() {
        assert_eq!(seconds(0), "0.00 s");
        assert_eq!(seconds(1_234), "1.23 s");
        assert_eq!(seconds(61_009), "61.00 s");
    }
}
