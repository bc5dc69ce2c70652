//! Status lines and bars on stderr, in the manner of cargo; nothing of them where stderr is no terminal.

use std::fmt::Display;
use std::io::{IsTerminal as _, Read, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where progress is shown, and whether it is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    live: bool,
}

impl Progress {
    /// Shows progress if stderr is a terminal.
    #[must_use]
    pub fn on_stderr() -> Self {
        Self { live: stderr().is_terminal() }
    }

    /// Shows nothing but warnings and final lines.
    #[must_use]
    pub fn silent() -> Self {
        Self { live: false }
    }

    /// Whether steps and bars are shown.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// `   Compiling appliance`: a step begins or a fact is known. Shown on a terminal only.
    pub fn status(&self, verb: &str, text: impl Display) {
        if self.live {
            eprintln!("{}", styled(verb, &text.to_string()));
        }
    }

    /// The line that ends a long step (`    Finished lethe.efi, 9.8 MiB, in 41 s`): shown everywhere.
    pub fn finished(&self, verb: &str, text: impl Display) {
        if self.live {
            eprintln!("{}", styled(verb, &text.to_string()));
        } else {
            eprintln!("{}", plain(verb, &text.to_string()));
        }
    }

    /// `warning: …`: shown everywhere.
    pub fn warning(&self, text: impl Display) {
        if self.live {
            eprintln!("\x1b[1;33mwarning\x1b[0m: {text}");
        } else {
            eprintln!("warning: {text}");
        }
    }

    /// A bar over `total` bytes; call [`ProgressBar::finish_and_clear`] at the end. Hidden where stderr is no terminal.
    #[must_use]
    pub fn bytes(&self, verb: &str, total: u64) -> ProgressBar {
        let target = if self.live { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let template = "{prefix:>12.bold.cyan} [{bar:28}] {bytes}/{total_bytes} {bytes_per_sec} eta {eta}";
        let bar = ProgressBar::with_draw_target(Some(total), target).with_prefix(verb.to_owned());
        match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style.progress_chars("=> ")),
            Err(_) => bar,
        }
    }

    /// A line with a clock that runs, for a step of unknown length. Hidden where stderr is no terminal.
    #[must_use]
    pub fn spinner(&self, verb: &str, text: impl Display) -> ProgressBar {
        let target = if self.live { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target).with_prefix(verb.to_owned());
        let bar = match ProgressStyle::with_template("{prefix:>12.bold.cyan} {msg} {elapsed}") {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        };
        bar.set_message(text.to_string());
        if self.live {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        bar
    }

    /// Reads through a bar: what passes is counted.
    pub fn reader<R: Read>(&self, verb: &str, total: u64, source: R) -> impl Read + use<R> {
        self.bytes(verb, total).wrap_read(source)
    }
}

fn plain(verb: &str, text: &str) -> String {
    format!("{verb:>12} {text}")
}

fn styled(verb: &str, text: &str) -> String {
    format!("\x1b[1;32m{verb:>12}\x1b[0m {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_stand_right_aligned_in_twelve_columns() {
        assert_eq!(plain("Booting", "lethe-1"), "     Booting lethe-1");
        assert_eq!(plain("Ready", "x").find('x'), plain("Compiling", "x").find('x'));
    }

    #[test]
    fn silent_progress_hides_its_bars() {
        assert!(Progress::silent().bytes("Copying", 10).is_hidden());
        assert!(Progress::silent().spinner("Linking", "vmlinux").is_hidden());
    }
}
