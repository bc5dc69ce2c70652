//! The first instructions of the process, whichever way it runs.

// UNSAFETY: clearing the environment is unsafe while other threads may read it; the heap's settings and `_exit` are C calls.
#![expect(unsafe_code)]

use crate::host::Announced;

/// Takes what is wanted from the environment and clears it, and sees to it that a panic ends the process without
/// showing its message, which may hold a user's text. To be called first, before any thread.
///
/// The kernel hands its unknown boot parameters to PID 1 as environment, and llama.cpp loads libraries that
/// `GGML_BACKEND_PATH` names: nothing here reads the environment after this.
pub fn begin() -> Announced {
    let announced = Announced { pid: std::env::var("LISTEN_PID").ok(), fds: std::env::var("LISTEN_FDS").ok() };
    // SAFETY: no other thread has been started by this process.
    let cleared = unsafe { nix::env::clearenv() };
    if cleared.is_err() {
        std::process::abort();
    }
    keep_heaps();
    std::panic::set_hook(Box::new(|panic| {
        let (file, line) = panic.location().map_or(("?", 0), |location| (location.file(), location.line()));
        // The place is the source's own; the message is not printed.
        eprintln!("lethe: panic at {file}:{line}");
        std::process::abort();
    }));
    announced
}

/// Makes the C library keep the freed tops of its heaps. Before it gives one back it opens
/// `/proc/sys/vm/overcommit_memory` (malloc/arena.c, `check_may_shrink_heap`), and under the serving policy an open kills the
/// process: a long prompt would be enough. What is freed has been cleared, so keeping it costs room and no secrecy.
fn keep_heaps() {
    // SAFETY: takes two numbers by value; no other thread has been started by this process.
    let set = unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, -1) };
    if set != 1 {
        std::process::abort();
    }
}

/// Ends the process at once: no destructor of C++ runs while the engine's threads still use what it would destroy.
///
/// What the process held goes back to the kernel as it is; answers and prompts were cleared when their requests ended.
pub fn end(status: i32) -> ! {
    // SAFETY: takes a number by value and does not return.
    unsafe { libc::_exit(status) }
}
