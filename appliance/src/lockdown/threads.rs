//! Looks at every thread of the process and refuses to serve when one of them kept a privilege.

use std::fs;
use std::io;

/// A thread that is not as it must be.
#[derive(Debug, thiserror::Error)]
pub enum ThreadError {
    /// The kernel's list of threads cannot be read.
    #[error("cannot read the state of the threads")]
    Read(#[source] io::Error),
    /// One kept something.
    #[error("a thread still has {field} {value}")]
    Kept {
        /// Field of /proc/PID/task/TID/status.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// A field is absent from the kernel's answer.
    #[error("the kernel says nothing about a thread's {field}")]
    Silent {
        /// Field of /proc/PID/task/TID/status.
        field: &'static str,
    },
}

/// What each field must be.
type Demand = (&'static str, &'static str);

const NONE: &str = "0000000000000000";
/// As PID 1.
pub const CONFINED: [Demand; 6] =
    [("CapInh", NONE), ("CapPrm", NONE), ("CapEff", NONE), ("CapBnd", NONE), ("CapAmb", NONE), ("NoNewPrivs", "1")];
/// In host mode, where the bounding set of an ordinary user cannot be changed.
pub const CONFINED_HOST: [Demand; 4] = [("CapPrm", NONE), ("CapEff", NONE), ("CapAmb", NONE), ("NoNewPrivs", "1")];

/// Checks all threads; answers how many there are.
///
/// # Errors
/// [`ThreadError`] at the first that does not meet the demands.
pub fn check(demands: &[Demand]) -> Result<usize, ThreadError> {
    let mut threads = 0;
    for entry in fs::read_dir("/proc/self/task").map_err(ThreadError::Read)? {
        let path = entry.map_err(ThreadError::Read)?.path().join("status");
        match fs::read_to_string(path) {
            Ok(status) => check_one(&status, demands)?,
            // It ended meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => continue,
            Err(error) => return Err(ThreadError::Read(error)),
        }
        threads += 1;
    }
    Ok(threads)
}

fn check_one(status: &str, demands: &[Demand]) -> Result<(), ThreadError> {
    for (field, demanded) in demands {
        let value = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .ok_or(ThreadError::Silent { field })?
            .trim();
        if value != *demanded {
            return Err(ThreadError::Kept { field, value: value.to_owned() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Name:\tinit\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n\
        CapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t0\n";

    #[test]
    fn a_thread_without_privileges_is_confined() {
        check_one(GOOD, &CONFINED).unwrap();
    }

    #[test]
    fn one_capability_in_any_set_is_too_much() {
        for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            let status = GOOD.replace(&format!("{field}:\t{NONE}"), &format!("{field}:\t0000000000000400"));
            assert!(matches!(check_one(&status, &CONFINED), Err(ThreadError::Kept { .. })), "{field}");
        }
        let status = GOOD.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0");
        assert!(check_one(&status, &CONFINED).is_err());
    }

    #[test]
    fn silence_of_the_kernel_is_no_yes() {
        assert!(matches!(check_one("Name:\tinit\n", &CONFINED), Err(ThreadError::Silent { field: "CapInh" })));
    }

    #[test]
    fn the_kernel_answers_for_each_thread_of_this_process() {
        assert!(check(&[]).unwrap() >= 1);
    }
}
