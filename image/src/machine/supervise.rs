//! The loop that owns a running machine: console, signals, time limit, end.

use std::ffi::OsString;
use std::io::{Read, stdout};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::Error;
use super::arguments::arguments;
use super::console::{Lines, Outcome, Watch};
use super::description::Machine;
use super::events::Show;
use super::logs::ConsoleLog;
use super::process::{self, Bound, ProcessId, this_program};
use super::record::{Record, State};
use super::signals::Signals;
use super::store::Claim;
use super::tpm;

/// How long QEMU may take to end when asked.
const QEMU_GRACE: Duration = Duration::from_secs(3);
/// How long a guest that refused may take to power off.
const REFUSAL_GRACE: Duration = Duration::from_secs(5);
/// Most bytes taken from the console at once.
const READ_BYTES: usize = 64 * 1024;

/// A machine to run, with all that was prepared for it.
#[derive(Debug)]
pub struct Job {
    /// What it is.
    pub machine: Machine,
    /// What is remembered of it.
    pub record: Record,
    /// Its directory.
    pub claim: Claim,
    /// QEMU's program.
    pub qemu: PathBuf,
    /// The TPM emulator's programs, if the machine has a TPM.
    pub tpm: Option<(PathBuf, PathBuf)>,
    /// How long it may take to become ready.
    pub ready_timeout: Duration,
    /// Whether a parent waits for `ready` at the other end of stdout and the machine goes on without it.
    pub detached: bool,
    /// Whether the result is JSON.
    pub json: bool,
}

/// How a supervised machine came to its end without a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Stopped by a signal after it had been ready.
    Stopped,
    /// Stopped before it was ready, by this signal, or because the command that waited for it is gone.
    Interrupted(Signal),
}

/// Runs the machine until it ends or is told to. Afterwards no process of it exists.
///
/// # Errors
/// If it cannot be started, refuses, ends by itself, or is not ready in time.
pub fn supervise(job: Job, show: &mut Show) -> Result<Ending, Error> {
    let signals = Signals::take()?;
    let mut run = Run::start(job, signals)?;
    let result = run.watch(show);
    show.clear();
    run.finish(&result)?;
    result
}

struct Run {
    job: Job,
    signals: Signals,
    log: ConsoleLog,
    // Dropped in this order: QEMU before the TPM it talks to.
    qemu: Bound,
    tpm: Option<Bound>,
    console: Option<std::process::ChildStdout>,
    messages: Option<std::process::ChildStderr>,
    lines: Lines,
    watch: Watch,
    qemu_lines: Lines,
    qemu_said: Vec<String>,
    started: Instant,
    refused_at: Option<Instant>,
}

impl Run {
    fn start(mut job: Job, signals: Signals) -> Result<Self, Error> {
        let directory = job.claim.directory().to_owned();
        let log = ConsoleLog::create(&directory)?;
        job.record.supervisor = ProcessId::of(std::process::id()).ok();
        job.record.save(&directory)?;
        let tpm = match &job.tpm {
            Some(programs) => {
                job.record.ak = Some(tpm::prepare(this_program(), programs, &directory)?);
                Some(tpm::start(this_program(), &programs.0, &directory)?)
            }
            None => None,
        };
        let arguments = arguments(&job.machine);
        job.record.command = command_line(&job.qemu, &arguments);
        let started = Instant::now();
        let output = [Stdio::piped(), Stdio::piped()];
        let mut qemu = process::spawn(this_program(), &job.qemu, &arguments, &directory, output)?;
        job.record.qemu = ProcessId::of(qemu.id()).ok();
        job.record.save(&directory)?;
        let (console, messages) = qemu.take_output();
        Ok(Self {
            job,
            signals,
            log,
            qemu,
            tpm,
            console,
            messages,
            lines: Lines::default(),
            watch: Watch::default(),
            qemu_lines: Lines::default(),
            qemu_said: Vec::new(),
            started,
            refused_at: None,
        })
    }

    fn is_ready(&self) -> bool {
        self.job.record.state == State::Ready
    }

    /// Waits for whatever comes first, again and again.
    fn watch(&mut self, show: &mut Show) -> Result<Ending, Error> {
        loop {
            let parent_is_gone = self.wait()?;
            if let Some(signal) = self.signals.asked_to_end() {
                return Ok(if self.is_ready() { Ending::Stopped } else { Ending::Interrupted(signal) });
            }
            self.read_console(show)?;
            self.read_messages();
            if let Some(Outcome::Ready { spki }) = self.watch.outcome().cloned()
                && !self.is_ready()
            {
                self.ready(spki, show)?;
            }
            if self.console.is_none() && self.messages.is_none() {
                let _ = self.qemu.wait_for(QEMU_GRACE);
                return Err(self.ended());
            }
            if parent_is_gone && !self.is_ready() {
                return Ok(Ending::Interrupted(Signal::SIGHUP));
            }
            if self.watch.is_refused() {
                let since = *self.refused_at.get_or_insert_with(Instant::now);
                if since.elapsed() >= REFUSAL_GRACE {
                    return Err(self.ended());
                }
            } else if !self.is_ready() && self.started.elapsed() >= self.job.ready_timeout {
                let seconds = self.job.ready_timeout.as_secs();
                return Err(Error::NotReady { seconds, last_lines: self.last_lines() });
            }
        }
    }

    /// Sleeps until something can be read, a signal comes or a limit passes. True if nobody waits for `ready` any more.
    fn wait(&self) -> Result<bool, Error> {
        let limit = match self.refused_at {
            Some(since) => Some(REFUSAL_GRACE.saturating_sub(since.elapsed())),
            None if self.is_ready() => None,
            None => Some(self.job.ready_timeout.saturating_sub(self.started.elapsed())),
        };
        let timeout = match limit {
            // One more millisecond: poll counts in whole ones, and a limit must have passed when it wakes us.
            Some(left) => PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX),
            None => PollTimeout::NONE,
        };
        let stdout = stdout();
        let mut list = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        list.extend(self.console.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        list.extend(self.messages.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        let waits_for_parent = self.job.detached && !self.is_ready();
        if waits_for_parent {
            // No event is asked for: a pipe without reader reports POLLERR by itself.
            list.push(PollFd::new(stdout.as_fd(), PollFlags::empty()));
        }
        match poll(&mut list, timeout) {
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => return Ok(false),
            Err(error) => return Err(Error::system("wait for the machine")(error)),
        }
        let gone = |entry: &PollFd<'_>| entry.revents().is_some_and(|events| events.contains(PollFlags::POLLERR));
        Ok(waits_for_parent && list.last().is_some_and(gone))
    }

    fn read_console(&mut self, show: &mut Show) -> Result<(), Error> {
        let lines = match read_some(&mut self.console) {
            Some(bytes) => self.lines.push(&bytes),
            None => self.lines.rest(),
        };
        for line in lines {
            self.log.line(&line)?;
            let meaning = self.watch.line(&line);
            show.line(&line, &meaning);
        }
        Ok(())
    }

    /// QEMU's own messages go to the log too, marked.
    fn read_messages(&mut self) {
        let lines = match read_some(&mut self.messages) {
            Some(bytes) => self.qemu_lines.push(&bytes),
            None => self.qemu_lines.rest(),
        };
        for line in lines {
            // A log that is full or gone does not stop a machine for the sake of a warning.
            let _ = self.log.line(&format!("qemu: {line}"));
            if self.qemu_said.len() < super::error::QUOTED_LINES {
                self.qemu_said.push(line);
            }
        }
    }

    fn ready(&mut self, spki: Option<String>, show: &mut Show) -> Result<(), Error> {
        let record = &mut self.job.record;
        record.state = State::Ready;
        record.ready_ms = u64::try_from(self.started.elapsed().as_millis()).ok();
        record.spki = spki;
        record.save(self.job.claim.directory())?;
        show.ready(record, self.job.json);
        if self.job.detached {
            super::detach::let_go()?;
        }
        Ok(())
    }

    /// What an end without our doing means.
    fn ended(&self) -> Error {
        match self.watch.outcome() {
            Some(Outcome::Refused { code, reason }) => Error::Refused { code: code.clone(), reason: reason.clone() },
            Some(Outcome::Ready { .. }) => Error::Died { last_lines: self.last_lines() },
            None => Error::Ended { last_lines: self.last_lines() },
        }
    }

    fn last_lines(&self) -> Vec<String> {
        let mut lines = self.watch.last_lines();
        lines.extend(self.qemu_said.iter().map(|line| format!("qemu: {line}")));
        lines
    }

    /// Ends what still runs and writes the last word.
    fn finish(&mut self, result: &Result<Ending, Error>) -> Result<(), Error> {
        self.qemu.end(QEMU_GRACE);
        if let Some(tpm) = &mut self.tpm {
            tpm.end(QEMU_GRACE);
        }
        let was_ready = self.is_ready();
        let record = &mut self.job.record;
        record.state = match result {
            Ok(_) => State::Stopped,
            Err(Error::Refused { code, reason }) => {
                record.refused = Some(format!("{code} {reason}"));
                State::Refused
            }
            Err(_) if was_ready => State::Stopped,
            Err(_) => State::Failed,
        };
        let directory = self.job.claim.directory();
        if record.ephemeral {
            std::fs::remove_dir_all(directory).map_err(Error::file("delete", directory))
        } else {
            record.save(directory)
        }
    }
}

/// What a pipe has, if it has something; a pipe at its end becomes none.
fn read_some<P: Read + std::os::fd::AsFd>(pipe: &mut Option<P>) -> Option<Vec<u8>> {
    let source = pipe.as_mut()?;
    if !has_something(source.as_fd()) {
        return Some(Vec::new());
    }
    let mut bytes = vec![0; READ_BYTES];
    match source.read(&mut bytes) {
        Ok(0) | Err(_) => {
            *pipe = None;
            None
        }
        Ok(count) => {
            bytes.truncate(count);
            Some(bytes)
        }
    }
}

fn has_something(descriptor: BorrowedFd<'_>) -> bool {
    poll(&mut [PollFd::new(descriptor, PollFlags::POLLIN)], PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

fn command_line(program: &std::path::Path, arguments: &[OsString]) -> Vec<String> {
    let program = program.display().to_string();
    std::iter::once(program).chain(arguments.iter().map(|a| a.to_string_lossy().into_owned())).collect()
}
