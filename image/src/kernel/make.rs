//! The kernel's own build, in an environment that holds nothing of this machine's user.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, ensure};

use crate::report::advise;

/// Lines of the log that a failure shows.
const LAST_LINES: usize = 20;

/// `make` for one source tree and one object tree.
pub struct Make {
    source: PathBuf,
    objects: PathBuf,
    log: PathBuf,
}

impl Make {
    /// The log lies beside the object tree and is started anew.
    #[must_use]
    pub fn new(source: &Path, objects: &Path) -> Self {
        let log = objects.with_extension("log");
        let _ = fs::remove_file(&log); // absent the first time
        Self { source: source.to_owned(), objects: objects.to_owned(), log }
    }

    /// Resolves a configuration: what `fragments` does not name is off (`allnoconfig`, the base of `tinyconfig`).
    ///
    /// # Errors
    /// If `make` fails.
    pub fn configure(&self, fragments: &Path) -> anyhow::Result<()> {
        let mut all = std::ffi::OsString::from("KCONFIG_ALLCONFIG=");
        all.push(fragments);
        self.execute(self.command().arg(all).arg("allnoconfig"))
    }

    /// Makes targets with as many jobs as there are processors.
    ///
    /// # Errors
    /// If `make` fails; the message carries the end of its log and where all of it is.
    pub fn run(&self, targets: &[&str]) -> anyhow::Result<()> {
        let jobs = thread::available_parallelism().map_or(1, usize::from);
        self.execute(self.command().arg(format!("-j{jobs}")).args(targets))
    }

    fn command(&self) -> Command {
        let map = format!("-ffile-prefix-map={}=linux", self.source.display());
        let mut output = std::ffi::OsString::from("O=");
        output.push(&self.objects);
        let mut command = Command::new("make");
        command
            .arg("-C")
            .arg(&self.source)
            .arg(output)
            .env_clear()
            .envs([("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C"), ("TZ", "UTC"), ("HOME", "/nonexistent")])
            .envs([("KBUILD_BUILD_USER", "lethe"), ("KBUILD_BUILD_HOST", "lethe"), ("KBUILD_BUILD_VERSION", "1")])
            .envs([("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970"), ("SOURCE_DATE_EPOCH", "0")])
            .env("KCFLAGS", map)
            .stdin(Stdio::null());
        command
    }

    fn execute(&self, command: &mut Command) -> anyhow::Result<()> {
        let log = self.open_log()?;
        let errors = log.try_clone().context("cannot share the build log")?;
        let status = command
            .stdout(log)
            .stderr(errors)
            .status()
            .with_context(|| advise("cannot run make", "install it with `apt-get install make`"))?;
        ensure!(
            status.success(),
            advise(
                format!("the kernel build failed ({status}):\n{}", self.last_lines()),
                format!("all of it is in {}", self.log.display())
            )
        );
        Ok(())
    }

    fn open_log(&self) -> anyhow::Result<File> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))
    }

    fn last_lines(&self) -> String {
        let text = fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default().join("\n")
    }
}
