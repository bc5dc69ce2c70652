//! EDK II's own build, in an environment that holds nothing of this machine's user.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, ensure};

use super::platform::Platform;
use crate::build::place;
use crate::progress::Progress;
use crate::report::advise;

/// Lines of the log that a failure shows.
const LAST_LINES: usize = 20;
/// EDK II's C tools, from the top of its tree.
const TOOLS: &str = "BaseTools/Source/C";
/// Python programs EDK II calls by name.
const WRAPPERS: &str = "BaseTools/BinWrappers/PosixLike";
/// What EDK II's set-up script would copy from its templates.
const CONFIGURATION: &[&str] = &["build_rule", "target", "tools_def"];
/// Where the tree lies for its build. Modules keep room for the name of their object file, even where the name itself is taken out.
const PLACE: &str = "/mnt/edk2";
/// Puts the tree there, for the build alone.
const ENTER: &str = r#"
    set -eu
    mount -t tmpfs -o mode=755 lethe /mnt
    mkdir /mnt/edk2
    mount --bind "$1" /mnt/edk2
    shift
    cd /mnt/edk2
    exec "$@""#;
/// Nothing that is not needed to boot the image: no shell, no keys that someone else would hold.
const OPTIONS: &[&str] = &["-D", "BUILD_SHELL=FALSE", "-D", "SECURE_BOOT_ENABLE=FALSE"];

/// Builds EDK II's own tools inside its tree.
///
/// # Errors
/// If `make` fails; the message carries the end of its log and where all of it is.
pub fn build_tools(tree: &Path, version: &str, log: &Path, progress: &Progress) -> anyhow::Result<()> {
    let spinner = progress.spinner("Building", format!("tools of EDK II {version}"));
    let mut command = command("make", tree);
    command.args(["-C", TOOLS, &format!("-j{}", jobs())]);
    let result = execute(&mut command, log);
    spinner.finish_and_clear();
    result
}

/// Builds one image from nothing, and leaves no object behind.
///
/// # Errors
/// If the build fails; the message carries the end of its log and where all of it is.
pub fn build(
    tree: &Path,
    platform: Platform,
    version: &str,
    log: &Path,
    progress: &Progress,
) -> anyhow::Result<Vec<u8>> {
    let objects = tree.join("Build");
    let clear = || match fs::remove_dir_all(&objects) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", objects.display()))
        }
        _ => Ok(()),
    };
    clear()?;
    for name in CONFIGURATION {
        let from = tree.join(format!("BaseTools/Conf/{name}.template"));
        let to = tree.join(format!("Conf/{name}.txt"));
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    let spinner = progress.spinner("Building", format!("OVMF for {} (EDK II {version})", platform.title()));
    let mut command = command("build", tree);
    command
        .args(["-a", "X64", "-t", "GCC5", "-b", "RELEASE", "-p", platform.description(), "-n", &jobs().to_string()])
        .args(OPTIONS);
    let result = execute(&mut command, log);
    spinner.finish_and_clear();
    result?;
    let product = tree.join(platform.product());
    let image = fs::read(&product).with_context(|| format!("cannot read {}", product.display()))?;
    clear()?;
    Ok(image)
}

fn jobs() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// A program in the tree, or one of the distribution, with the tree at its place.
fn command(program: &str, tree: &Path) -> Command {
    let place = Path::new(PLACE);
    let mut path = place.join(WRAPPERS).into_os_string();
    path.push(":/usr/sbin:/usr/bin:/sbin:/bin");
    let mut command = place::alone(ENTER);
    command
        .arg(tree)
        .arg(program)
        .env_clear()
        .env("PATH", path)
        .envs([("LC_ALL", "C"), ("TZ", "UTC"), ("HOME", "/nonexistent"), ("SOURCE_DATE_EPOCH", "0")])
        // Sets of strings are walked in an order that depends on this.
        .envs([("PYTHONHASHSEED", "0"), ("PYTHON_COMMAND", "/usr/bin/python3"), ("PYTHONDONTWRITEBYTECODE", "1")])
        .env("WORKSPACE", place)
        .env("EDK_TOOLS_PATH", place.join("BaseTools"))
        .env("CONF_PATH", place.join("Conf"))
        .stdin(Stdio::null());
    command
}

fn execute(command: &mut Command, log: &Path) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let errors = file.try_clone().context("cannot share the build log")?;
    let status = command.stdout(file).stderr(errors).status().with_context(|| format!("cannot run {program}"))?;
    ensure!(
        status.success(),
        advise(
            format!("the firmware build failed ({status}):\n{}", last_lines(log)),
            format!("all of it is in {}", log.display())
        )
    );
    Ok(())
}

fn last_lines(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_build_shows_the_end_of_its_log_and_where_the_rest_is() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("tdx.log");
        let mut command = command("sh", folder.path());
        let error = execute(command.args(["-c", "echo first; seq 30; exit 3"]), &log).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("\n30"), "{error}");
        assert!(!error.contains("first"), "{error}");
        assert!(fs::read_to_string(&log).unwrap().starts_with("first\n"));
        execute(command_of_success(folder.path()).arg("-c").arg("exit 0"), &log).unwrap();
    }

    fn command_of_success(folder: &Path) -> Command {
        command("sh", folder)
    }

    #[test]
    fn nothing_of_the_user_reaches_the_build() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        execute(&mut command("env", folder.path()), &log).unwrap();
        let text = fs::read_to_string(&log).unwrap();
        let names: Vec<&str> = text.lines().filter_map(|line| line.split('=').next()).collect();
        assert!(names.contains(&"PYTHONHASHSEED"));
        assert!(!names.contains(&"USER") && !names.contains(&"CARGO_MANIFEST_DIR"), "{names:?}");
    }
}
