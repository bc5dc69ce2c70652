//! Prompts and weights stay in RAM: no swap, no core, no other process that reads them, every page locked.

use std::io;

use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use crate::boot::Refused;

/// Proof that every current and future page of this process stays in RAM and leaves no core. Only [`lock`] makes one;
/// with `--insecure-host` it may carry what is missing.
#[derive(Debug)]
pub struct MemoryLocked {
    missing: Vec<Missing>,
}

/// What `--insecure-host` let pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Swap is on.
    SwapOff,
    /// Pages are not locked.
    MemoryLock,
}

impl Missing {
    /// Name in the log, in `/health` and in evidence.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SwapOff => "swap-off",
            Self::MemoryLock => "memory-lock",
        }
    }
}

impl MemoryLocked {
    /// What is not as it should be; empty unless the user accepted that.
    #[must_use]
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }
}

/// Why memory would not be safe.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// Pages could be written to a disk.
    #[error(
        "swap is active on {device}: refusing to load weights and prompts into memory that can be paged out (swapoff -a)"
    )]
    SwapActive {
        /// First device or file of /proc/swaps.
        device: String,
    },
    /// The kernel's list of swap devices cannot be read.
    #[error("cannot read /proc/swaps")]
    Swaps(#[source] io::Error),
    /// This binary was linked without the wiping heap.
    #[error("freed memory is not cleared: this binary was linked without its wiping heap")]
    Heap,
    /// Cores cannot be forbidden.
    #[error("cannot forbid core dumps")]
    Core(#[source] io::Error),
    /// The limit would stop the process later, in the middle of its work.
    #[error(
        "memory that may be locked is limited to {limit_kib} KiB: start with `ulimit -l unlimited`, or LimitMEMLOCK=infinity in the service's unit"
    )]
    Limit {
        /// The limit.
        limit_kib: u64,
    },
    /// Locking failed.
    #[error("cannot lock memory")]
    Lock(#[source] io::Error),
}

impl From<MemoryError> for Refused {
    fn from(error: MemoryError) -> Self {
        let code = match &error {
            MemoryError::SwapActive { .. } => "swap-active",
            MemoryError::Swaps(_) => "swap-unknown",
            MemoryError::Heap => "heap-not-wiped",
            MemoryError::Core(_) => "core-dumps",
            MemoryError::Limit { .. } => "memory-limit",
            MemoryError::Lock(_) => "memory-lock",
        };
        Self::new(code, &error)
    }
}

/// Checks and locks. `swaps` is the content of /proc/swaps, `None` where the kernel knows no swap at all.
///
/// With `tolerant` a missing protection that belongs to the machine rather than to this process is noted instead.
///
/// # Errors
/// [`MemoryError`] at the first protection that cannot be had.
pub fn lock(swaps: Option<&[u8]>, tolerant: bool) -> Result<MemoryLocked, MemoryError> {
    if !wipe::installed() {
        return Err(MemoryError::Heap);
    }
    let mut missing = Vec::new();
    let mut allow = |result: Result<(), MemoryError>, what| match result {
        Err(_) if tolerant => {
            missing.push(what);
            Ok(())
        }
        other => other,
    };
    allow(require_no_swap(swaps), Missing::SwapOff)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|errno| MemoryError::Core(errno.into()))?;
    // Also takes /proc/self/mem and ptrace away from other processes of the same user.
    prctl::set_dumpable(false).map_err(|errno| MemoryError::Core(errno.into()))?;
    allow(raise_limit().and_then(|()| lock_pages()), Missing::MemoryLock)?;
    Ok(MemoryLocked { missing })
}

/// Refuses any entry below the heading of /proc/swaps.
fn require_no_swap(swaps: Option<&[u8]>) -> Result<(), MemoryError> {
    let text = String::from_utf8_lossy(swaps.unwrap_or_default());
    match text.lines().skip(1).find_map(|line| line.split_whitespace().next()) {
        Some(device) => Err(MemoryError::SwapActive { device: device.to_owned() }),
        None => Ok(()),
    }
}

/// The limit counts whole mappings (thread stacks, heaps, the model), not used pages, and it is asked again at every
/// later mapping, when capabilities are long gone: anything less than no limit fails in the middle of the work.
fn raise_limit() -> Result<(), MemoryError> {
    if setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_ok() {
        return Ok(());
    }
    match getrlimit(Resource::RLIMIT_MEMLOCK) {
        Ok((_, RLIM_INFINITY)) => setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY)
            .map_err(|errno| MemoryError::Lock(errno.into())),
        Ok((_, hard)) => Err(MemoryError::Limit { limit_kib: hard / 1024 }),
        Err(errno) => Err(MemoryError::Lock(errno.into())),
    }
}

/// Locks pages when they are first used (`MCL_ONFAULT`): otherwise every thread's whole stack would be filled in.
fn lock_pages() -> Result<(), MemoryError> {
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault)
        .map_err(|errno| MemoryError::Lock(errno.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADING: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";

    #[test]
    fn no_swap_is_the_heading_alone_or_no_list_at_all() {
        assert!(require_no_swap(Some(HEADING.as_bytes())).is_ok());
        assert!(require_no_swap(Some(b"")).is_ok());
        assert!(require_no_swap(None).is_ok());
    }

    #[test]
    fn active_swap_is_refused_by_name() {
        let swaps = format!("{HEADING}/dev/dm-1                partition\t999420\t\t0\t\t-2\n");
        let refused = Refused::from(require_no_swap(Some(swaps.as_bytes())).unwrap_err());
        assert_eq!(refused.code(), "swap-active");
        assert!(refused.reason().contains("/dev/dm-1"), "{refused}");
    }

    #[test]
    fn the_refusal_of_a_limit_names_the_line_that_mends_it() {
        let refused = Refused::from(MemoryError::Limit { limit_kib: 8192 });
        assert_eq!(refused.code(), "memory-limit");
        assert!(refused.reason().contains("8192 KiB"));
        assert!(refused.reason().contains("LimitMEMLOCK=infinity") && refused.reason().contains("ulimit -l unlimited"));
    }
}
