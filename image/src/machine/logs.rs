//! The console log of a machine: written by its supervisor, printed by `lethe-image logs`.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _, stdout};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use super::Error;
use super::name::Name;
use super::store::Store;

/// The log's file in the machine's directory.
pub const FILE: &str = "console.log";
/// The part before, when the log has outgrown its limit.
pub const OLDER: &str = "console.log.1";
/// A guest that never stops talking fills twice this much of the disk, in bytes, and no more.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// How often `--follow` looks for more.
const POLL: Duration = Duration::from_millis(100);

/// Arguments of `logs`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  lethe-image logs demo --tail 20\n  lethe-image logs demo --follow")]
pub struct Args {
    /// The machine
    name: Name,
    /// Only the last lines
    #[arg(long, value_name = "N")]
    tail: Option<usize>,
    /// Go on until the machine ends
    #[arg(long, short)]
    follow: bool,
}

/// Prints the console of a machine.
///
/// # Errors
/// If there is no such machine or its log cannot be read.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let store = Store::of_user()?;
    let directory = store.directory(&args.name);
    if !directory.is_dir() {
        return Err(Error::Unknown { name: args.name.clone() }.into());
    }
    let printed = print(&directory, args, || store.is_running(&args.name));
    match printed {
        // `lethe-image logs demo | head` is no failure.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other.map_err(Error::file("read", directory.join(FILE)))?),
    }
}

fn print(directory: &Path, args: &Args, running: impl Fn() -> bool) -> std::io::Result<()> {
    let mut out = stdout().lock();
    let mut log = open(&directory.join(FILE))?;
    print_existing(directory, log.as_mut(), args.tail, &mut out)?;
    out.flush()?;
    if args.follow { follow(&directory.join(FILE), log, running, &mut out) } else { Ok(()) }
}

/// Prints what is added to the log, also after it has been replaced by a new one, until its machine has ended.
fn follow(
    path: &Path,
    mut log: Option<BufReader<File>>,
    running: impl Fn() -> bool,
    out: &mut impl std::io::Write,
) -> std::io::Result<()> {
    loop {
        // Asked before reading: what a supervisor writes as its last words is then read.
        let more_may_come = running();
        if let Some(file) = &mut log {
            std::io::copy(file, out)?;
            out.flush()?;
        }
        match open(path)? {
            Some(new) if inode(Some(&new))? != inode(log.as_ref())? => log = Some(new),
            _ if more_may_come => sleep(POLL),
            _ => return Ok(()),
        }
    }
}

fn inode(file: Option<&BufReader<File>>) -> std::io::Result<Option<u64>> {
    file.map(|file| file.get_ref().metadata().map(|facts| facts.ino())).transpose()
}

/// Prints what is there, or its last lines, and leaves the file at its end.
fn print_existing(
    directory: &Path,
    log: Option<&mut BufReader<File>>,
    tail: Option<usize>,
    out: &mut impl std::io::Write,
) -> std::io::Result<()> {
    let older = open(&directory.join(OLDER))?;
    let Some(tail) = tail else {
        if let Some(mut part) = older {
            std::io::copy(&mut part, out)?;
        }
        if let Some(part) = log {
            std::io::copy(part, out)?;
        }
        return Ok(());
    };
    let mut last = VecDeque::new();
    let mut keep = |part: &mut BufReader<File>| -> std::io::Result<()> {
        let mut line = Vec::new();
        while part.read_until(b'\n', &mut line)? > 0 {
            last.push_back(std::mem::take(&mut line));
            if last.len() > tail {
                last.pop_front();
            }
        }
        Ok(())
    };
    if let Some(mut part) = older {
        keep(&mut part)?;
    }
    if let Some(part) = log {
        keep(part)?;
    }
    last.iter().try_for_each(|line| out.write_all(line))
}

fn open(path: &Path) -> std::io::Result<Option<BufReader<File>>> {
    match File::open(path) {
        Ok(file) => Ok(Some(BufReader::new(file))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The log of a machine that runs: lines that were made safe, bounded in all.
#[derive(Debug)]
pub struct ConsoleLog {
    path: PathBuf,
    older: PathBuf,
    file: File,
    bytes: u64,
    limit: u64,
}

impl ConsoleLog {
    /// Starts the log anew.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn create(directory: &Path) -> Result<Self, Error> {
        Self::with_limit(directory, MAX_BYTES)
    }

    fn with_limit(directory: &Path, limit: u64) -> Result<Self, Error> {
        let (path, older) = (directory.join(FILE), directory.join(OLDER));
        let _ = fs::remove_file(&older);
        let file = new_file(&path)?;
        Ok(Self { path, older, file, bytes: 0, limit })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn line(&mut self, line: &str) -> Result<(), Error> {
        if self.bytes > self.limit {
            fs::rename(&self.path, &self.older).map_err(Error::file("rename", &self.path))?;
            self.file = new_file(&self.path)?;
            self.bytes = 0;
        }
        let text = format!("{line}\n");
        self.bytes = self.bytes.saturating_add(text.len() as u64);
        self.file.write_all(text.as_bytes()).map_err(Error::file("write", &self.path))
    }
}

/// A new file even where a reader still has the old one open.
fn new_file(path: &Path) -> Result<File, Error> {
    let _ = fs::remove_file(path);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(Error::file("create", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(directory: &Path, tail: Option<usize>) -> String {
        let mut log = open(&directory.join(FILE)).unwrap();
        let mut out = Vec::new();
        print_existing(directory, log.as_mut(), tail, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_log_prints_whole_or_its_last_lines() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = ConsoleLog::create(directory.path()).unwrap();
        for line in ["one", "two", "three"] {
            log.line(line).unwrap();
        }
        assert_eq!(printed(directory.path(), None), "one\ntwo\nthree\n");
        assert_eq!(printed(directory.path(), Some(2)), "two\nthree\n");
        assert_eq!(printed(directory.path(), Some(9)), "one\ntwo\nthree\n");
        assert_eq!(printed(directory.path(), Some(0)), "");
    }

    #[test]
    fn a_guest_that_never_stops_talking_fills_a_bounded_log() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = ConsoleLog::with_limit(directory.path(), 100).unwrap();
        for number in 0..1000 {
            log.line(&format!("line {number}")).unwrap();
        }
        let bytes: u64 = fs::read_dir(directory.path()).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes < 300, "{bytes}");
        assert!(printed(directory.path(), None).ends_with("line 998\nline 999\n"));
        assert_eq!(printed(directory.path(), Some(1)), "line 999\n");
    }

    #[test]
    fn a_new_boot_starts_a_new_log() {
        let directory = tempfile::tempdir().unwrap();
        ConsoleLog::create(directory.path()).unwrap().line("before").unwrap();
        ConsoleLog::create(directory.path()).unwrap().line("after").unwrap();
        assert_eq!(printed(directory.path(), None), "after\n");
    }

    #[test]
    fn a_machine_without_log_prints_nothing() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(printed(directory.path(), None), "");
    }
}
