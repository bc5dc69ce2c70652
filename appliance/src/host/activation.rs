//! Sockets handed over by a service manager (`sd_listen_fds(3)`).

// UNSAFETY: descriptors named by number in the environment are taken over.
#![expect(unsafe_code)]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt};

use crate::boot::serving::BoundSocket;

/// First descriptor of the protocol.
const FIRST: i32 = 3;
/// Most sockets that are taken.
const MAX: i32 = 16;

/// What the environment said, read before it was cleared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Announced {
    /// `LISTEN_PID`
    pub pid: Option<String>,
    /// `LISTEN_FDS`
    pub fds: Option<String>,
}

/// Sockets that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActivationError {
    /// The variables make no sense.
    #[error("LISTEN_FDS is not a number from 1 to {MAX}")]
    Count,
    /// A descriptor is not open, or not a socket.
    #[error("descriptor {fd} of LISTEN_FDS is not an open socket")]
    Descriptor {
        /// Its number.
        fd: i32,
        /// Why.
        #[source]
        source: Errno,
    },
    /// A socket of another kind.
    #[error("descriptor {fd} of LISTEN_FDS is not a listening TCP or UNIX stream socket")]
    Kind {
        /// Its number.
        fd: i32,
    },
}

/// How many sockets were announced to the process `pid`; zero if none, or if they were meant for another process.
///
/// # Errors
/// [`ActivationError::Count`]
pub fn count(announced: &Announced, pid: u32) -> Result<i32, ActivationError> {
    let (Some(for_pid), Some(fds)) = (&announced.pid, &announced.fds) else { return Ok(0) };
    if for_pid.parse() != Ok(pid) {
        return Ok(0);
    }
    fds.parse().ok().filter(|count| (1..=MAX).contains(count)).ok_or(ActivationError::Count)
}

/// Takes the announced sockets over.
///
/// # Errors
/// [`ActivationError`] if one of them is not a listening stream socket.
pub fn take(count: i32) -> Result<Vec<BoundSocket>, ActivationError> {
    (FIRST..FIRST + count).map(take_one).collect()
}

fn take_one(fd: i32) -> Result<BoundSocket, ActivationError> {
    let failed = |source| ActivationError::Descriptor { fd, source };
    // SAFETY: F_GETFD takes no pointer and only asks whether the number is an open descriptor.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return Err(failed(Errno::last()));
    }
    // SAFETY: the descriptor is open, and by the protocol it belongs to this process alone: nothing here opened it,
    // and each number is taken once.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    fcntl(&socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(failed)?;
    if !getsockopt(&socket, sockopt::AcceptConn).map_err(failed)? {
        return Err(ActivationError::Kind { fd });
    }
    let address: SockaddrStorage = getsockname(socket.as_raw_fd()).map_err(failed)?;
    match address.family() {
        Some(AddressFamily::Unix) => Ok(BoundSocket::Unix(socket)),
        Some(AddressFamily::Inet | AddressFamily::Inet6) => Ok(BoundSocket::Tcp(socket)),
        _ => Err(ActivationError::Kind { fd }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(pid: &str, fds: &str) -> Announced {
        Announced { pid: Some(pid.to_owned()), fds: Some(fds.to_owned()) }
    }

    #[test]
    fn sockets_announced_to_this_process_count() {
        assert_eq!(count(&announced("42", "2"), 42), Ok(2));
    }

    #[test]
    fn sockets_announced_to_another_process_or_to_nobody_do_not() {
        assert_eq!(count(&announced("41", "2"), 42), Ok(0));
        assert_eq!(count(&Announced::default(), 42), Ok(0));
        assert_eq!(count(&Announced { fds: Some("2".to_owned()), pid: None }, 42), Ok(0));
    }

    #[test]
    fn a_count_that_makes_no_sense_is_refused() {
        for fds in ["0", "-1", "17", "x", ""] {
            assert_eq!(count(&announced("42", fds), 42), Err(ActivationError::Count), "{fds}");
        }
    }
}
