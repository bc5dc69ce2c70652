//! The measured binary: compiled by cargo, stripped, and checked to need nothing from the system.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context as _, ensure};

use crate::build::elf;
use crate::build::parts::Parts;
use crate::build::place::Place;
use crate::progress::Progress;
use crate::report::advise;

const PACKAGE: &str = "lethe-appliance";

/// Compiles the appliance, at the fixed places or (without them) in the checkout, and gives the bytes that become /init.
///
/// # Errors
/// If it does not compile, or the result is not a static-pie.
pub fn build(root: &Path, place: Option<&Place>, parts: &mut Parts, progress: &Progress) -> anyhow::Result<Vec<u8>> {
    progress.status("Compiling", PACKAGE);
    let binary = compile(root, place, parts, progress)?;
    let stripped = strip(&binary)?;
    elf::check_static_pie(&stripped).with_context(|| format!("{} cannot be /init", binary.display()))?;
    parts.note_appliance(&stripped).context("the stripped program is broken")?;
    Ok(stripped)
}

/// Cargo's own lines go to the terminal; what it made comes as JSON.
fn compile(root: &Path, place: Option<&Place>, parts: &mut Parts, progress: &Progress) -> anyhow::Result<PathBuf> {
    let mut arguments = vec!["build", "--release", "--locked", "--package", PACKAGE, "--bin", PACKAGE];
    arguments.push("--message-format=json-render-diagnostics");
    if !progress.is_live() {
        arguments.push("--quiet");
    }
    let mut command = match place {
        Some(place) => place.cargo(&arguments),
        None => {
            let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            command.args(arguments).current_dir(root).stdin(Stdio::null());
            command
        }
    };
    command.stderr(Stdio::inherit());
    let output = command.output().with_context(|| advise("cannot run cargo", "install Rust: https://rustup.rs"))?;
    ensure!(output.status.success(), "cargo could not build {PACKAGE} ({})", output.status);
    let messages = String::from_utf8_lossy(&output.stdout);
    let outside = |path: &Path| place.and_then(|place| place.outside(path)).unwrap_or_else(|| path.to_owned());
    for message in messages.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        parts.note_unit(&message, outside)?;
    }
    let made = executable(&messages).with_context(|| format!("cargo did not say where {PACKAGE} is"))?;
    Ok(outside(&made))
}

/// The path of the program among cargo's messages, one JSON object a line.
fn executable(messages: &str) -> Option<PathBuf> {
    let mut paths = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let named = message.get("target")?.get("name")?.as_str()? == PACKAGE;
        message.get("executable").and_then(|path| path.as_str()).filter(|_| named).map(PathBuf::from)
    });
    paths.next_back()
}

/// Without symbols and compiler notes: nothing in the machine reads them, and they name places of this machine.
fn strip(binary: &Path) -> anyhow::Result<Vec<u8>> {
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let stripped = folder.path().join("init");
    let mut command = Command::new("strip");
    command
        .args(["--strip-all", "--enable-deterministic-archives", "--remove-section=.comment", "-o"])
        .arg(&stripped)
        .arg(binary);
    let status =
        command.env("LC_ALL", "C").status().with_context(|| advise("cannot run strip", "apt-get install binutils"))?;
    ensure!(status.success(), "strip ended with {status}");
    fs::read(&stripped).with_context(|| format!("cannot read the stripped {PACKAGE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_found_among_the_messages_of_cargo() {
        let messages = concat!(
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"build-script-build\"},\"executable\":\"/t/b\"}\n",
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"lethe-appliance\"},\"executable\":null}\n",
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"lethe-appliance\"},\"executable\":\"/t/lethe-appliance\"}\n",
            "{\"reason\":\"build-finished\",\"success\":true}\n"
        );
        assert_eq!(executable(messages), Some(PathBuf::from("/t/lethe-appliance")));
    }

    #[test]
    fn messages_without_the_program_give_none() {
        assert_eq!(executable("{\"reason\":\"build-finished\",\"success\":true}\nnot json\n"), None);
    }
}
