//! Builds, boots and measures images.
use std::process::ExitCode;

fn main() -> ExitCode {
    lethe_image::cli::main()
}
