//! Puts the policy in force on every thread.

use super::policy::{self, PolicyError, Profile};

/// Proof that the policy is in force.
#[derive(Debug)]
pub struct Filtered {
    /// How many rules it has.
    pub rules: usize,
}

/// The policy could not be put in force.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The file.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The kernel.
    #[error("cannot install the system call policy on every thread")]
    Install(#[source] seccompiler::Error),
}

/// Installs the programs on all threads at once (`SECCOMP_FILTER_FLAG_TSYNC`). There is no way back.
///
/// # Errors
/// [`FilterError`]; the process must then end, since some programs may be in force and others not.
pub fn filter(profile: Profile) -> Result<Filtered, FilterError> {
    let programs = policy::programs(profile)?;
    let rules = policy::rule_count(profile)?;
    // The refusals first: after the last program, the one that kills, `seccomp` itself is gone.
    for program in programs.iter().rev() {
        seccompiler::apply_filter_all_threads(program).map_err(FilterError::Install)?;
    }
    Ok(Filtered { rules })
}
