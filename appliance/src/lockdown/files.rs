//! Landlock: which files and TCP ports a process can still name.
//!
//! A Landlock domain covers the thread that enters it and those it starts, so it is entered before the first thread.
//! Files that are open stay open, and memory files are outside of it; nearly everything else is gone.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

/// What the kernel of the image has (6.12). In the image every part of it is demanded; in host mode as much as the
/// machine's kernel knows.
const ABI_OF_IMAGE: ABI = ABI::V6;

/// What stays reachable.
#[derive(Debug, Default)]
pub struct Reachable<'a> {
    /// Read-only: files, or directories with all they contain.
    pub read: Vec<PathBuf>,
    /// configfs' directory of this program's reports: its files are read and written while serving, none is made. A
    /// descriptor, because by now no path leads there (image, SEV-SNP and TDX only).
    pub reports: Option<BorrowedFd<'a>>,
    /// Directory in which the server's UNIX socket is removed at the end (host mode).
    pub socket_directory: Option<PathBuf>,
    /// The one TCP port that can still be bound (image: the address exists only once the network is up, which is later).
    pub bind: Option<u16>,
}

/// Proof that no other file can be opened, and no other TCP port bound or connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confinement {
    /// Everything of [`ABI_OF_IMAGE`].
    Full,
    /// What this machine's kernel knows (host mode).
    Partial,
    /// This machine's kernel has no Landlock (host mode).
    None,
}

/// Landlock said no.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The kernel's answer.
    #[error("cannot confine file access with Landlock")]
    Landlock(#[source] Box<RulesetError>),
    /// A path that must stay reachable cannot be opened.
    #[error("cannot open {path} for Landlock")]
    Path {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: Box<landlock::PathFdError>,
    },
}

impl From<RulesetError> for FilesError {
    fn from(error: RulesetError) -> Self {
        Self::Landlock(Box::new(error))
    }
}

/// Confines this thread and those it starts. With `demand_all` a kernel that lacks a part is an error.
///
/// # Errors
/// [`FilesError`].
pub fn confine(reachable: &Reachable<'_>, demand_all: bool) -> Result<Confinement, FilesError> {
    let level = if demand_all { CompatLevel::HardRequirement } else { CompatLevel::BestEffort };
    let mut ruleset = Ruleset::default()
        .set_compatibility(level)
        .handle_access(AccessFs::from_all(ABI_OF_IMAGE))?
        .handle_access(AccessNet::from_all(ABI_OF_IMAGE))?
        .scope(Scope::from_all(ABI_OF_IMAGE))?
        .create()?;
    for path in &reachable.read {
        ruleset = ruleset.add_rule(beneath(path, AccessFs::ReadFile | AccessFs::ReadDir, level)?)?;
    }
    if let Some(directory) = reachable.reports {
        let access = AccessFs::ReadFile | AccessFs::WriteFile;
        ruleset = ruleset.add_rule(PathBeneath::new(directory, access).set_compatibility(level))?;
    }
    if let Some(directory) = &reachable.socket_directory {
        ruleset = ruleset.add_rule(beneath(directory, AccessFs::RemoveFile.into(), level)?)?;
    }
    if let Some(port) = reachable.bind {
        ruleset = ruleset.add_rule(NetPort::new(port, AccessNet::BindTcp).set_compatibility(level))?;
    }
    let status = ruleset.restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Confinement::Full,
        RulesetStatus::PartiallyEnforced => Confinement::Partial,
        RulesetStatus::NotEnforced => Confinement::None,
    })
}

fn beneath(path: &Path, access: BitFlags<AccessFs>, level: CompatLevel) -> Result<PathBeneath<PathFd>, FilesError> {
    let fd = PathFd::new(path)
        .map_err(|source| FilesError::Path { path: path.display().to_string(), source: Box::new(source) })?;
    Ok(PathBeneath::new(fd, access).set_compatibility(level))
}
