//! `lethe-image cargo`: any cargo command at the places of [`super::place`], so that tests share what was compiled for the image.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use super::checkout;
use super::place::{self, Place};

/// What tests of the appliance take from their environment.
const PASSED: [&str; 2] = ["LETHE_MODEL", "LETHE_CORPUS"];
/// Where cargo leaves programs, below its target folder.
const PROGRAMS: &str = "/mnt/target/x86_64-unknown-linux-gnu/release";

/// Run cargo at the fixed places of the image's build (used by `scripts/test`).
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Program to copy beside this one when cargo has succeeded
    #[arg(long, value_name = "NAME")]
    keep: Option<String>,
    /// Cargo's arguments
    #[arg(last = true, required = true)]
    arguments: Vec<String>,
}

/// Runs it; cargo's exit status, as far as it is one, is the answer.
///
/// # Errors
/// If this machine gives no private mounts, cargo cannot be run, or the program is not there.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    place::check()?;
    let place = Place::prepare(&checkout::root()?, None)?;
    let arguments: Vec<&str> = args.arguments.iter().map(String::as_str).collect();
    let passed = PASSED.iter().filter_map(|name| env::var_os(name).map(|value| (name, absolute(value))));
    let status = place.cargo(&arguments).envs(passed).status().context("cannot run unshare")?;
    if let (true, Some(name)) = (status.success(), &args.keep) {
        let from = place.outside(&Path::new(PROGRAMS).join(name)).context("the program is outside of the places")?;
        let to = env::current_exe().context("cannot find this program")?.with_file_name(name);
        // a program that runs cannot be written over, only replaced
        let _ = std::fs::remove_file(&to);
        std::fs::copy(&from, &to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    }
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Cargo runs in another folder.
fn absolute(path: OsString) -> OsString {
    std::path::absolute(&path).map_or(path, Into::into)
}
