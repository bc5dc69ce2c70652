//! Child processes that cannot outlive us, and process ids that cannot be mistaken.

use std::ffi::{OsStr, OsString};
use std::fs::read_to_string;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, getppid};
use rustix::fd::OwnedFd;
use rustix::process::{PidfdFlags, Signal as PidfdSignal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::Error;

/// The hidden command that turns itself into a bound child.
pub const BOUND_COMMAND: &str = "bound";
/// How often a child that was asked to end is looked at.
const POLL: Duration = Duration::from_millis(10);

/// A child that the kernel kills when the thread that started it ends, however that happens; dropped, it is killed too.
#[derive(Debug)]
pub struct Bound {
    child: Child,
    ended: bool,
}

/// Starts `program` in `directory` as a bound child with its own process group and nothing on stdin.
///
/// `helper` is this program: it sets its own parent-death signal, checks that the parent is still there, and becomes
/// `program`. (Setting it between fork and exec would need `unsafe`.)
///
/// # Errors
/// If the helper cannot be started. A `program` that cannot be executed shows as a message on stderr and exit status 1.
pub fn spawn(
    helper: &Path,
    program: &Path,
    arguments: &[OsString],
    directory: &Path,
    output: [Stdio; 2],
) -> Result<Bound, Error> {
    let [stdout, stderr] = output;
    let child = Command::new(helper)
        .arg(BOUND_COMMAND)
        .arg(std::process::id().to_string())
        .arg("--")
        .arg(program)
        .args(arguments)
        .current_dir(directory)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .map_err(|source| Error::Start { program: program.display().to_string(), source })?;
    Ok(Bound { child, ended: false })
}

/// What the hidden command does: becomes `program`, bound to `parent`. Returns only on failure.
///
/// # Errors
/// If the parent is gone or the program cannot be executed.
pub fn run_bound(parent: i32, program: &[OsString]) -> anyhow::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have died before the signal was set: then nobody will ever send it.
    anyhow::ensure!(getppid() == Pid::from_raw(parent), "the parent process is gone");
    // The parent reads its signals from a descriptor and blocks them; a mask is inherited.
    SigSet::all().thread_unblock()?;
    let (name, arguments) = program.split_first().ok_or_else(|| anyhow::anyhow!("no program"))?;
    let error = Command::new(name).args(arguments).exec();
    Err(anyhow::Error::new(error).context(format!("cannot execute {}", Path::new(name).display())))
}

impl Bound {
    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its output, once.
    pub fn take_output(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdout.take(), self.child.stderr.take())
    }

    /// Its status, if it has ended.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn poll(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        self.ended |= status.is_some();
        Ok(status)
    }

    /// Waits for its end, at most until `limit` has passed.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn wait_for(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.poll()? {
                return Ok(Some(status));
            }
            if start.elapsed() >= limit {
                return Ok(None);
            }
            sleep(POLL);
        }
    }

    /// Asks it to end (SIGTERM), and kills it after `grace`.
    pub fn end(&mut self, grace: Duration) {
        if matches!(self.poll(), Ok(Some(_))) {
            return;
        }
        // Not yet waited for, so the process id is still ours.
        if let Ok(id) = i32::try_from(self.id()) {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        if !matches!(self.wait_for(grace), Ok(Some(_))) {
            self.kill();
        }
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.ended = true;
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if !self.ended {
            self.kill();
        }
    }
}

/// A process id with what makes it unmistakable: its start time and the boot it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The number.
    pub pid: i32,
    /// When it started, in clock ticks since the boot of this computer (`/proc/PID/stat`, field 22; proc(5)).
    pub start_ticks: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
}

impl ProcessId {
    /// The identity of a process that exists now.
    ///
    /// # Errors
    /// If it does not exist or `/proc` is not there.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = read_to_string(format!("/proc/{pid}/stat"))?;
        let start_ticks = start_ticks(&stat).ok_or(io::ErrorKind::InvalidData)?;
        let pid = i32::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok(Self { pid, start_ticks, boot_id: read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned() })
    }

    /// A handle on the process, if it is still this one.
    ///
    /// The handle is opened first and the start time compared after: from then on the handle cannot mean another process.
    #[must_use]
    pub fn open(&self) -> Option<Handle> {
        let pid = rustix::process::Pid::from_raw(self.pid)?;
        let descriptor = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let now = Self::of(u32::try_from(self.pid).ok()?).ok()?;
        (now == *self).then_some(Handle(descriptor))
    }
}

/// A process that was identified; signals through it cannot reach another one.
#[derive(Debug)]
pub struct Handle(OwnedFd);

impl Handle {
    /// Asks the process to end.
    pub fn terminate(&self) {
        let _ = pidfd_send_signal(&self.0, PidfdSignal::TERM);
    }

    /// Kills it.
    pub fn kill(&self) {
        let _ = pidfd_send_signal(&self.0, PidfdSignal::KILL);
    }

    /// Whether it ends within `limit`.
    #[must_use]
    pub fn ends_within(&self, limit: Duration) -> bool {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        use std::os::fd::AsFd as _;

        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) if left.is_zero() => return false,
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                Ok(_) => return true,
                Err(_) => return false,
            }
        }
    }
}

/// Field 22 of `/proc/PID/stat`. The second field is the program's name in parentheses and may hold anything.
fn start_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The path under which this very program can be started again, also after its file was replaced.
#[must_use]
pub fn this_program() -> &'static Path {
    Path::new("/proc/self/exe")
}

/// The first executable of this name on `PATH`.
#[must_use]
pub fn find_program(name: &str) -> Option<std::path::PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsStr::new("/usr/bin:/bin").to_owned());
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|d| d.join(name))
        .find(|file| file.metadata().is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_a_hostile_program_name() {
        let stat = "12 (a) S 1 (b)) R 1 12 12 0 -1 4 5 6 7 8 9 10 11 12 20 0 1 0 987654 13 14";
        assert_eq!(start_ticks(stat), Some(987_654));
        assert_eq!(start_ticks("12 (a) R 1"), None);
        assert_eq!(start_ticks(""), None);
    }

    #[test]
    fn a_living_process_opens_and_ends_when_killed() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let id = ProcessId::of(child.id()).unwrap();
        let handle = id.open().unwrap();
        assert!(!handle.ends_within(Duration::from_millis(20)));
        handle.kill();
        assert!(handle.ends_within(Duration::from_secs(5)));
        child.wait().unwrap();
        assert!(id.open().is_none(), "a process that was waited for must not open");
    }

    #[test]
    fn a_recycled_process_id_does_not_open() {
        let this = ProcessId::of(std::process::id()).unwrap();
        assert!(this.open().is_some());
        assert!(ProcessId { start_ticks: this.start_ticks + 1, ..this.clone() }.open().is_none());
        assert!(ProcessId { boot_id: "another boot".to_owned(), ..this }.open().is_none());
    }

    #[test]
    fn only_executables_are_programs() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-at-all").is_none());
    }
}
