//! The signals that end a supervisor, as a descriptor in its poll set.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::Error;

/// SIGINT, SIGTERM, SIGHUP and SIGCHLD, blocked for this thread and those it starts, and readable here instead.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Takes the signals over. Call it before another thread is started, which would still be hit by them.
    ///
    /// # Errors
    /// If the kernel refuses the mask or the descriptor.
    pub fn take() -> Result<Self, Error> {
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD] {
            mask.add(signal);
        }
        mask.thread_block().map_err(Error::system("block signals"))?;
        SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map(Self)
            .map_err(Error::system("read signals"))
    }

    /// The signal that asks this process to end, if one has come; SIGCHLD only wakes.
    pub fn asked_to_end(&self) -> Option<Signal> {
        while let Ok(Some(info)) = self.0.read_signal() {
            match i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok()) {
                Some(Signal::SIGCHLD) | None => {}
                Some(signal) => return Some(signal),
            }
        }
        None
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
