//! Capabilities, ids and `no_new_privs`.
//!
//! Capabilities belong to threads, and the engine's threads exist before the lockdown is complete. So what only
//! concerns a later exec (bounding set, securebits, `no_new_privs`) goes before the first thread is started, which all
//! threads inherit; and the rest goes at the end with a change of user id, which the C library carries out on every
//! thread and by which the kernel empties each thread's capability sets. [`super::threads`] then checks all of them.

// UNSAFETY: prctl(PR_SET_SECUREBITS) has no safe wrapper.
#![expect(unsafe_code)]

use std::io;

use caps::{CapSet, Capability};
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, getgroups, setgroups, setresgid, setresuid};

/// The id serving runs under. No file of the image belongs to it.
pub const SERVER_ID: u32 = 61_443;

/// `SECBIT_NOROOT` and `SECBIT_KEEP_CAPS_LOCKED`, with `SECBIT_NOROOT_LOCKED`, `SECBIT_NO_CAP_AMBIENT_RAISE` and its
/// lock (linux/securebits.h). `SECBIT_NO_SETUID_FIXUP` stays off: the change of id must empty the capability sets.
const SECUREBITS: libc::c_ulong = 1 | (1 << 1) | (1 << 5) | (1 << 6) | (1 << 7);

/// Proof that nothing this process may ever execute could give it privileges.
#[derive(Debug)]
pub struct Renounced(());

/// A privilege that could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// A capability set could not be changed.
    #[error("cannot empty the {set} capability set")]
    Capabilities {
        /// Which.
        set: &'static str,
        /// Why.
        #[source]
        source: caps::errors::CapsError,
    },
    /// `no_new_privs` could not be set.
    #[error("cannot set no_new_privs")]
    NoNewPrivileges(#[source] io::Error),
    /// The securebits could not be set.
    #[error("cannot set securebits")]
    Securebits(#[source] io::Error),
    /// An id could not be changed.
    #[error("cannot change {what}")]
    Id {
        /// Which.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Before the first thread, as PID 1: empties the bounding set, locks the securebits, sets `no_new_privs`. What the
/// process can do right now does not change.
///
/// # Errors
/// [`PrivilegeError`].
pub fn renounce() -> Result<Renounced, PrivilegeError> {
    clear(CapSet::Bounding)?;
    // SAFETY: PR_SET_SECUREBITS takes its one argument by value.
    if unsafe { libc::prctl(libc::PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0) } != 0 {
        return Err(PrivilegeError::Securebits(io::Error::last_os_error()));
    }
    no_new_privileges()?;
    Ok(Renounced(()))
}

/// Before the first thread, in host mode: `no_new_privs`, and every capability of a process that root started. The
/// user id is the caller's choice and stays.
///
/// # Errors
/// [`PrivilegeError`].
pub fn renounce_in_host_mode() -> Result<Renounced, PrivilegeError> {
    no_new_privileges()?;
    // An ordinary user may not change the bounding set, and with no_new_privs it has no meaning.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap_or(false) {
        clear(CapSet::Bounding)?;
    }
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        clear(set)?;
    }
    Ok(Renounced(()))
}

/// At the end, as PID 1: groups and ids on every thread, and with them the capabilities.
///
/// # Errors
/// [`PrivilegeError::Id`].
pub fn change_user(_: &Renounced) -> Result<(), PrivilegeError> {
    let failed = |what| move |errno: nix::errno::Errno| PrivilegeError::Id { what, source: errno.into() };
    if !getgroups().map_err(failed("the supplementary groups"))?.is_empty() {
        setgroups(&[]).map_err(failed("the supplementary groups"))?;
    }
    let (group, user) = (Gid::from_raw(SERVER_ID), Uid::from_raw(SERVER_ID));
    setresgid(group, group, group).map_err(failed("the group id"))?;
    setresuid(user, user, user).map_err(failed("the user id"))
}

fn no_new_privileges() -> Result<(), PrivilegeError> {
    prctl::set_no_new_privs().map_err(|errno| PrivilegeError::NoNewPrivileges(errno.into()))
}

fn clear(set: CapSet) -> Result<(), PrivilegeError> {
    let name = match set {
        CapSet::Ambient => "ambient",
        CapSet::Bounding => "bounding",
        CapSet::Effective => "effective",
        CapSet::Inheritable => "inheritable",
        CapSet::Permitted => "permitted",
    };
    caps::clear(None, set).map_err(|source| PrivilegeError::Capabilities { set: name, source })
}
