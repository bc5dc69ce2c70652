//! Watches that the engine moves while there is work.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::engine::Pulse;
use super::shared::Shared;

/// Exit status of a process that ended because its engine stood still or failed for good.
pub const EXIT_ENGINE: i32 = 75;

/// Why the scheduler asks for the end of the process. A virtual machine then starts again clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Work waited and nothing moved for `stall_exit_s`.
    Stalled,
    /// The engine failed several times in a row, or its thread ended.
    Failed,
}

impl Ending {
    /// Code for the console.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Stalled => "engine-stalled",
            Self::Failed => "engine-failed",
        }
    }
}

/// Ends the process; tests put something else in its place.
pub type EndProcess = Arc<dyn Fn(Ending) + Send + Sync>;

/// Prints one line on standard error and ends the process with [`EXIT_ENGINE`].
#[must_use]
pub fn end_process() -> EndProcess {
    Arc::new(|ending| {
        eprintln!("lethe: event {}", ending.code());
        std::process::exit(EXIT_ENGINE)
    })
}

/// Times after which a standstill counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StallLimits {
    /// Not ready from then on, until it moves again.
    pub unready: Duration,
    /// The process ends.
    pub exit: Duration,
}

/// Runs until the scheduler is gone.
pub(super) fn watch(shared: &Weak<Shared>, pulse: &dyn Pulse, limits: StallLimits, end: &EndProcess) {
    let tick = (limits.unready.min(limits.exit) / 4).clamp(Duration::from_millis(5), Duration::from_secs(1));
    let mut seen = (0, 0);
    let mut moved = Instant::now();
    loop {
        std::thread::sleep(tick);
        let Some(shared) = shared.upgrade() else { return };
        if shared.has_ended() {
            return;
        }
        let now = (shared.steps(), pulse.beats());
        if now != seen || !shared.has_work() {
            seen = now;
            moved = Instant::now();
        }
        let still = moved.elapsed();
        shared.set_stalled(still >= limits.unready);
        if still >= limits.exit {
            shared.end();
            return end(Ending::Stalled);
        }
    }
}
