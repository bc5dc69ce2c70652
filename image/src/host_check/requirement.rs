//! What a kind of machine needs of its host, and whether this one has it.

use serde::Serialize;

/// Whether the host has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It does.
    Ok,
    /// It does not.
    Missing,
    /// Linux does not show it; nothing depends on a guess.
    Unknown,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Requirement {
    /// What is needed.
    pub what: &'static str,
    /// Whether it is there.
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What to do where it is missing.
    pub advice: &'static str,
}

impl Requirement {
    /// Judged by a condition; `None`: it cannot be seen.
    #[must_use]
    pub fn new(what: &'static str, has: Option<bool>, found: impl Into<String>, advice: &'static str) -> Self {
        let status = match has {
            Some(true) => Status::Ok,
            Some(false) => Status::Missing,
            None => Status::Unknown,
        };
        Self { what, status, found: found.into(), advice }
    }
}

/// Whether nothing is known to be missing.
#[must_use]
pub fn complete(requirements: &[Requirement]) -> bool {
    requirements.iter().all(|requirement| requirement.status != Status::Missing)
}
