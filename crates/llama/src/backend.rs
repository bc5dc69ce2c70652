//! Starts llama.cpp once per process and takes its three ways of talking to the world: log, abort, uncaught exception.
// UNSAFETY: llama.cpp is C; its callbacks are C function pointers and `std::set_terminate` is a C++ symbol.
#![expect(unsafe_code)]

use std::ffi::{c_char, c_void};
use std::io::Write;
use std::process::abort;
use std::sync::OnceLock;

use llama_cpp_2::llama_backend::LlamaBackend;

use crate::kernels::Kernels;

/// Ends the process after llama.cpp gave up; gets the refusal code (`engine-abort` or `engine-exception`).
///
/// It must not return; if it does, the process is aborted.
pub type EndHook = fn(code: &'static str);

/// Proof that llama.cpp is initialised and silent.
#[derive(Debug, Clone, Copy)]
pub struct Backend(());

struct Started {
    // held for the life of the process: freeing the backend while a model lives would be a use after free
    _backend: Option<LlamaBackend>,
    end: EndHook,
    kernels: Kernels,
}

static STARTED: OnceLock<Started> = OnceLock::new();

unsafe extern "C" {
    /// `std::set_terminate(void (*)())` of libstdc++ (Itanium C++ ABI mangling).
    #[link_name = "_ZSt13set_terminatePFvvE"]
    fn cxx_set_terminate(handler: extern "C" fn()) -> Option<extern "C" fn()>;
}

impl Backend {
    /// Silences llama.cpp's log, installs the handlers and initialises the backend. Later calls only return the proof;
    /// the first call's hook stays.
    ///
    /// `end` runs when ggml aborts or a C++ exception is not caught: it should print `lethe: refused: <code> …` and power
    /// off or exit. [`Backend::print_and_exit`] is the one for ordinary programs.
    pub fn init(end: EndHook) -> Self {
        Self::init_with(end, Kernels::best())
    }

    /// As [`Backend::init`], with kernels of the caller's choice, for measurements and comparisons.
    ///
    /// # Panics
    /// If the processor does not have their instructions.
    pub fn init_with(end: EndHook, kernels: Kernels) -> Self {
        assert!(kernels.runs_here(), "this processor does not run the {kernels} kernels");
        STARTED.get_or_init(|| {
            // SAFETY: both callbacks are functions without state that live as long as the program, and match the C types.
            unsafe {
                llama_cpp_sys_2::llama_log_set(Some(drop_log), std::ptr::null_mut());
                llama_cpp_sys_2::ggml_set_abort_callback(Some(on_abort));
            }
            // SAFETY: `set_terminate` stores the pointer; the handler is a function of this program and does not return.
            unsafe { cxx_set_terminate(on_terminate) };
            kernels.register();
            Started { _backend: LlamaBackend::init().ok(), end, kernels }
        });
        Self(())
    }

    /// The kernels that compute.
    #[must_use]
    pub fn kernels(self) -> Kernels {
        STARTED.get().map_or_else(Kernels::best, |started| started.kernels)
    }

    /// Prints `lethe: refused: <code> llama.cpp stopped` on standard error and exits with status 70, without running
    /// destructors: llama.cpp's state is not to be trusted any more.
    pub fn print_and_exit(code: &'static str) {
        let _ = writeln!(std::io::stderr(), "lethe: refused: {code} llama.cpp stopped");
        // SAFETY: `_exit` takes its argument by value and does not return.
        unsafe { _exit(70) }
    }
}

unsafe extern "C" {
    fn _exit(status: i32) -> !;
}

fn end(code: &'static str) -> ! {
    match STARTED.get() {
        Some(started) => (started.end)(code),
        None => Backend::print_and_exit(code),
    }
    abort()
}

extern "C" fn drop_log(_level: llama_cpp_sys_2::ggml_log_level, _text: *const c_char, _user: *mut c_void) {}

/// The message names a source line and sometimes tensor names; it may be derived from the file and is not printed.
extern "C" fn on_abort(_message: *const c_char) {
    end("engine-abort")
}

extern "C" fn on_terminate() {
    end("engine-exception")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    unsafe extern "C" {
        #[link_name = "_ZSt9terminatev"]
        fn cxx_terminate() -> !;
    }

    /// Runs one of the ignored tests below, which end their process, and answers its exit status and what it wrote.
    fn run(test: &str) -> (Option<i32>, String) {
        let program = std::env::current_exe().unwrap();
        let name = format!("backend::tests::{test}");
        let output = Command::new(program).args(["--ignored", "--exact", &name, "--nocapture"]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    #[test]
    #[ignore = "ends the process; run by an_abort_prints_one_line_and_exits"]
    fn aborts() {
        let _ = Backend::init(Backend::print_and_exit);
        // SAFETY: all arguments are NUL-terminated constants; it ends the process.
        unsafe { llama_cpp_sys_2::ggml_abort(c"user text".as_ptr(), 1, c"secret".as_ptr()) };
    }

    #[test]
    #[ignore = "ends the process; run by an_uncaught_exception_prints_one_line_and_exits"]
    fn terminates() {
        let _ = Backend::init(Backend::print_and_exit);
        // SAFETY: takes nothing; it ends the process.
        unsafe { cxx_terminate() };
    }

    #[test]
    fn an_abort_prints_one_line_and_exits() {
        assert_eq!(run("aborts"), (Some(70), "lethe: refused: engine-abort llama.cpp stopped\n".to_owned()));
    }

    #[test]
    fn an_uncaught_exception_prints_one_line_and_exits() {
        assert_eq!(run("terminates"), (Some(70), "lethe: refused: engine-exception llama.cpp stopped\n".to_owned()));
    }
}
