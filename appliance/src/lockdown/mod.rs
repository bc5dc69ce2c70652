//! What the appliance gives up before it reads the first byte of a request.
//!
//! Half of it goes before the first thread is started and is inherited ([`renounce`]), half goes at the end on every
//! thread at once ([`confine`]); the proof of the first is needed for the second.

pub mod files;
pub mod memory;
mod names;
pub mod policy;
pub mod privileges;
pub mod seccomp;
pub mod threads;

use crate::boot::Refused;
use files::{Confinement, FilesError, Reachable};
use policy::Profile;
use privileges::{PrivilegeError, Renounced};
use seccomp::FilterError;
use threads::ThreadError;

/// A step of the lockdown that failed.
#[derive(Debug, thiserror::Error)]
pub enum LockdownError {
    /// Landlock.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Capabilities and ids.
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    /// A thread kept something.
    #[error(transparent)]
    Threads(#[from] ThreadError),
    /// seccomp.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

impl From<LockdownError> for Refused {
    fn from(error: LockdownError) -> Self {
        let code = match &error {
            LockdownError::Files(_) => "lockdown-files",
            LockdownError::Privileges(_) => "lockdown-privileges",
            LockdownError::Threads(_) => "lockdown-threads",
            LockdownError::Filter(_) => "lockdown-seccomp",
        };
        Self::new(code, &error)
    }
}

/// Proof of the first half.
#[derive(Debug)]
pub struct Begun {
    privileges: Renounced,
    files: Confinement,
}

/// Proof that the process is confined: only with it a socket listens.
#[derive(Debug)]
pub struct Confined {
    /// Threads that were checked.
    pub threads: usize,
    /// System call rules in force.
    pub rules: usize,
    /// How much of Landlock is in force.
    pub files: Confinement,
}

/// Before the first thread: Landlock, `no_new_privs`, and all a later exec could give.
///
/// # Errors
/// [`LockdownError`].
pub fn renounce(profile: Profile, reachable: &Reachable<'_>) -> Result<Begun, LockdownError> {
    let (privileges, files) = match profile {
        Profile::Image | Profile::ImageWithReports => (privileges::renounce()?, files::confine(reachable, true)?),
        Profile::Host => (privileges::renounce_in_host_mode()?, files::confine(reachable, false)?),
    };
    Ok(Begun { privileges, files })
}

/// At the end, on every thread: ids and with them capabilities, then seccomp.
///
/// # Errors
/// [`LockdownError`].
pub fn confine(profile: Profile, begun: Begun) -> Result<Confined, LockdownError> {
    let demands: &[_] = match profile {
        Profile::Image | Profile::ImageWithReports => {
            privileges::change_user(&begun.privileges)?;
            &threads::CONFINED
        }
        Profile::Host => &threads::CONFINED_HOST,
    };
    let threads = threads::check(demands)?;
    let filtered = seccomp::filter(profile)?;
    Ok(Confined { threads, rules: filtered.rules, files: begun.files })
}
