//! The program `lethe`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    lethe::program::main().into()
}
