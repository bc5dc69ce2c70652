//! The source tree of Lethe: where it is, and what state it is in.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde::Serialize;

use crate::report::advise;

/// A file only the top of the source tree has.
const MARK: &str = "image/kernel/source.toml";

/// Finds the top of the source tree from the current folder upwards.
///
/// # Errors
/// If this is not run inside a checkout.
pub fn root() -> anyhow::Result<PathBuf> {
    let here = env::current_dir().context("cannot read the current folder")?;
    let found = here.ancestors().find(|folder| folder.join(MARK).is_file()).map(Path::to_owned);
    found.with_context(|| advise("no Lethe source tree here or above", "run `lethe-image build` inside a checkout"))
}

/// What the version control says about the tree.
#[derive(Debug, Clone, Serialize)]
pub struct State {
    /// The commit, or none outside a repository.
    pub commit: Option<String>,
    /// Whether files differ from the commit, or are not in it. Without a commit: always.
    pub dirty: bool,
}

impl State {
    /// Asks git.
    #[must_use]
    pub fn of(root: &Path) -> Self {
        let commit = git(root, &["rev-parse", "HEAD"]);
        let changes = git(root, &["status", "--porcelain"]);
        Self { dirty: commit.is_none() || changes.is_none_or(|text| !text.is_empty()), commit }
    }
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
