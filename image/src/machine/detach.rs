//! Machines that outlive the command that started them: a supervisor in a session of its own.
//!
//! The command starts itself again with [`SUPERVISED`]. That process does everything a foreground boot does, with the
//! same messages on the same stderr; at `ready` it writes the result into the pipe that is its stdout and lets go of the
//! terminal. If the command that waits is gone before, the supervisor ends the machine.

use std::io::Read as _;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use std::os::fd::AsFd as _;

use super::Error;
use super::process::this_program;
use super::signals::Signals;
use crate::report::FAILURE;

/// The hidden option that makes a boot the supervisor of a detached machine.
pub const SUPERVISED: &str = "--supervised";
/// How long an interrupted supervisor may take to end its machine.
const GRACE: Duration = Duration::from_secs(10);

/// Starts the supervisor with this command's own arguments, waits until its machine is ready and prints its result.
///
/// # Errors
/// If the supervisor cannot be started or read from; a failed boot is an exit status, already explained.
pub fn launch() -> anyhow::Result<ExitCode> {
    let signals = Signals::take()?;
    let mut supervisor = Command::new(this_program())
        .args(std::env::args_os().skip(1))
        .arg(SUPERVISED)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the supervisor")?;
    let mut pipe = supervisor.stdout.take().context("the supervisor has no output")?;
    let mut result = Vec::new();
    loop {
        let mut list = [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        match poll(&mut list, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait for the supervisor"),
        }
        let readable = list.last().and_then(PollFd::any).unwrap_or(false);
        if let Some(signal) = signals.asked_to_end() {
            return Ok(interrupt(&mut supervisor, signal));
        }
        let mut bytes = [0; 4096];
        if readable {
            match pipe.read(&mut bytes).context("cannot read from the supervisor")? {
                0 => break,
                count => result.extend(bytes.iter().take(count)),
            }
        }
    }
    if result.is_empty() {
        let status = supervisor.wait().context("cannot wait for the supervisor")?;
        let code = status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
        return Ok(ExitCode::from(code.unwrap_or(FAILURE)));
    }
    std::io::Write::write_all(&mut std::io::stdout(), &result)?;
    Ok(ExitCode::SUCCESS)
}

/// Ends a supervisor whose machine is not ready yet.
fn interrupt(supervisor: &mut Child, signal: Signal) -> ExitCode {
    // Not yet waited for, so the process id is still ours.
    if let Ok(id) = i32::try_from(supervisor.id()) {
        let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
    }
    let start = Instant::now();
    while matches!(supervisor.try_wait(), Ok(None)) {
        if start.elapsed() >= GRACE {
            // The kernel then kills QEMU and the TPM emulator too.
            let _ = supervisor.kill();
            let _ = supervisor.wait();
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    interrupted(signal)
}

/// The exit status of a command that was ended by a signal, as shells show it.
#[must_use]
pub fn interrupted(signal: Signal) -> ExitCode {
    ExitCode::from(u8::try_from(128 + signal as i32).unwrap_or(FAILURE))
}

/// Makes this process a supervisor: a session of its own, so that no terminal's Ctrl-C or hang-up reaches it, and
/// signals as a new program has them.
///
/// # Errors
/// If the kernel refuses.
pub fn leave_terminal() -> Result<(), Error> {
    setsid().map_err(Error::system("start a session"))?;
    SigSet::all().thread_unblock().map_err(Error::system("unblock signals"))
}

/// Lets go of the command that waited, and of its terminal.
///
/// # Errors
/// If the kernel refuses.
pub fn let_go() -> Result<(), Error> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null");
    let null = null.map_err(Error::file("open", "/dev/null"))?;
    dup2_stdin(&null)
        .and_then(|()| dup2_stdout(&null))
        .and_then(|()| dup2_stderr(&null))
        .map_err(Error::system("let go of the terminal"))
}
