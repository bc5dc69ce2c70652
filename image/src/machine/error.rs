//! Why a machine was not started, found or stopped.

use std::io;
use std::path::PathBuf;

use super::name::Name;
use crate::report::{FAILURE, USAGE};

/// Exit status when the guest refused to boot.
pub const REFUSED: u8 = 3;
/// Exit status when the guest was not ready in time.
pub const NOT_READY: u8 = 4;
/// Lines of console that a failure to boot quotes.
pub const QUOTED_LINES: usize = 12;

/// Why a machine was not started, found or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory of ours could not be used.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Neither `XDG_STATE_HOME` nor `HOME` says where the user's files are.
    #[error("no directory for machines: neither XDG_STATE_HOME nor HOME is an absolute path")]
    NoHome,
    /// A program that is needed is not installed.
    #[error("{program} was not found")]
    NoProgram {
        /// Its name.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A program could not be started.
    #[error("cannot start {program}")]
    Start {
        /// Its name.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The machine runs already, or another command holds it.
    #[error("machine {name} is running")]
    Running {
        /// Which.
        name: Name,
    },
    /// There is no machine of this name.
    #[error("there is no machine named {name}")]
    Unknown {
        /// Which.
        name: Name,
    },
    /// A machine's record does not read.
    #[error("the record of machine {name} is damaged")]
    Record {
        /// Which.
        name: Name,
        /// How.
        #[source]
        source: serde_json::Error,
    },
    /// A machine did not stop, even when killed.
    #[error("machine {name} did not stop")]
    Unstoppable {
        /// Which.
        name: Name,
    },
    /// An input of `boot` cannot work.
    #[error("{what}")]
    Input {
        /// What is wrong with it.
        what: String,
        /// What to do.
        help: String,
    },
    /// The model file could not have the digest of the document.
    #[error("the model is not the one of the document: {what}")]
    WrongModel {
        /// Size or digest, expected and found.
        what: String,
    },
    /// The deployment document does not parse.
    #[error("the deployment document {} is refused", path.display())]
    Document {
        /// Which file.
        path: PathBuf,
        /// Key and reason.
        #[source]
        source: deployment::DocumentError,
    },
    /// The accelerator that was asked for cannot be had.
    #[error("KVM was asked for and cannot be used: {why}")]
    NoKvm {
        /// Why.
        why: String,
    },
    /// The guest said `lethe: refused`.
    #[error("the machine refused to boot: {code} {reason}")]
    Refused {
        /// Its code.
        code: String,
        /// Its reason.
        reason: String,
    },
    /// The guest ended without being ready.
    #[error("the machine ended before it was ready")]
    Ended {
        /// The end of its console, then of QEMU's messages.
        last_lines: Vec<String>,
    },
    /// The guest ended by itself after it had been ready.
    #[error("the machine ended by itself")]
    Died {
        /// The end of its console.
        last_lines: Vec<String>,
    },
    /// The time for becoming ready ran out.
    #[error("the machine was not ready after {seconds} s")]
    NotReady {
        /// The limit.
        seconds: u64,
        /// The end of its console.
        last_lines: Vec<String>,
    },
    /// The TPM emulator did not start.
    #[error("the TPM emulator failed: {}", last_lines.join("; "))]
    Tpm {
        /// What it said.
        last_lines: Vec<String>,
    },
    /// The kernel would not give us signals, a session, or a process handle.
    #[error("cannot {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// For `map_err` on file operations.
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    /// For `map_err` on system calls.
    pub(crate) fn system<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System { action, source: source.into() }
    }

    /// What the machine said last, where that may explain the failure.
    #[must_use]
    pub fn last_lines(&self) -> &[String] {
        match self {
            Self::Ended { last_lines } | Self::Died { last_lines } | Self::NotReady { last_lines, .. } => last_lines,
            _ => &[],
        }
    }

    /// What to do next.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::NoHome => "set XDG_STATE_HOME to a directory of yours".to_owned(),
            Self::NoProgram { package, .. } => format!("install it: apt install {package}"),
            Self::Running { name } => {
                format!("stop it with `lethe-image stop {name}`, or choose another --name")
            }
            Self::Unknown { .. } => "`lethe-image list` shows the machines there are".to_owned(),
            Self::Record { name, .. } => format!("remove it with `lethe-image delete {name} --force`"),
            Self::Unstoppable { name } => format!("`lethe-image list --json` shows the process ids of {name}"),
            Self::Input { help, .. } => help.clone(),
            Self::WrongModel { .. } => {
                "write a document for this file with `lethe-image config new`, or name the file it was written for"
                    .to_owned()
            }
            Self::Document { path, .. } => {
                format!("`lethe-image config check {}` shows every fault, `config explain` every key", path.display())
            }
            Self::NoKvm { .. } => "leave --accel out: `auto` falls back to emulation".to_owned(),
            Self::Refused { .. } => "nothing was served; mend what the reason names and boot again".to_owned(),
            Self::Ended { .. } | Self::Died { .. } | Self::Tpm { .. } => {
                "the console of a machine with a --name is kept: `lethe-image logs NAME`".to_owned()
            }
            Self::NotReady { .. } => "give it longer with --ready-timeout, or more with --cpus and --memory".to_owned(),
            Self::File { .. } | Self::Start { .. } | Self::System { .. } => return None,
        })
    }

    /// The exit status this failure ends the program with.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self {
            Self::Input { .. } => USAGE,
            Self::Refused { .. } => REFUSED,
            Self::NotReady { .. } => NOT_READY,
            _ => FAILURE,
        }
    }
}
