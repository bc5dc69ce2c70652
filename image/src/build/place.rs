//! Where the appliance is compiled: always at the same paths, in a mount namespace, with nothing of the user around it.
//!
//! Compilers write paths into what they make: `file!()`, C++'s `__FILE__`, the names of generated sources. Flags that rename them do not
//! reach all of these, and change cargo's fingerprints when they name a checkout. So the checkout, cargo's registry, the toolchain and the
//! target folder are mounted under `/mnt`, where no other process sees them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context as _, ensure};
use sha2::{Digest as _, Sha256};

use crate::kernel::cache;
use crate::report::advise;

/// What the namespace's first program does.
const ENTER: &str = include_str!("place.sh");
/// Where the target folder is mounted.
const TARGET: &str = "/mnt/target";
/// All that a build sees of the environment.
const ENVIRONMENT: [(&str, &str); 10] = [
    ("PATH", "/mnt/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/nonexistent"),
    ("TMPDIR", "/mnt/tmp"),
    ("LC_ALL", "C"),
    ("TZ", "UTC"),
    ("SOURCE_DATE_EPOCH", "0"),
    ("CARGO_HOME", "/mnt/cargo"),
    ("CARGO_TARGET_DIR", TARGET),
    ("CARGO_NET_OFFLINE", "true"),
    // CMake asks git for a build number wherever it finds a repository above its source
    ("GIT_CEILING_DIRECTORIES", "/mnt"),
];

/// The fixed places, for one checkout.
pub struct Place {
    checkout: PathBuf,
    registry: PathBuf,
    toolchain: PathBuf,
    target: PathBuf,
}

impl Place {
    /// Finds what is to be mounted, and fetches the crates of the lock file with the user's own cargo settings.
    ///
    /// `target` is the folder for what is compiled; absent: one in the cache that belongs to this checkout.
    ///
    /// # Errors
    /// If cargo cannot fetch, or a folder cannot be made.
    pub fn prepare(checkout: &Path, target: Option<&Path>) -> anyhow::Result<Self> {
        let checkout = checkout.canonicalize().with_context(|| format!("cannot find {}", checkout.display()))?;
        let target = match target {
            Some(target) => target.to_owned(),
            None => cache::root()?.join("appliance").join(name(&checkout)),
        };
        fs::create_dir_all(&target).with_context(|| format!("cannot make {}", target.display()))?;
        fetch(&checkout)?;
        let place = Self { registry: cargo_home()?.join("registry"), toolchain: sysroot(&checkout)?, checkout, target };
        place.visible()?;
        Ok(place)
    }

    /// Says whether everything can still be seen when `/mnt` is covered.
    fn visible(&self) -> anyhow::Result<()> {
        for path in [&self.checkout, &self.registry, &self.toolchain, &self.target] {
            ensure!(
                !path.canonicalize().unwrap_or_else(|_| path.clone()).starts_with("/mnt"),
                advise(
                    format!("{} lies below /mnt, which a build covers with its own places", path.display()),
                    "use a folder elsewhere (XDG_CACHE_HOME moves the cache, CARGO_HOME and RUSTUP_HOME move cargo's)"
                )
            );
        }
        Ok(())
    }

    /// A cargo command that runs in the places, offline.
    #[must_use]
    pub fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = alone(ENTER);
        command.args([&self.checkout, &self.registry, &self.toolchain, &self.target]);
        command.arg("/mnt/rust/bin/cargo").args(arguments).env_clear().envs(ENVIRONMENT);
        command.stdin(Stdio::null());
        command
    }

    /// The path outside of a file that the build names by its place.
    #[must_use]
    pub fn outside(&self, inside: &Path) -> Option<PathBuf> {
        inside.strip_prefix(TARGET).ok().map(|rest| self.target.join(rest))
    }
}

/// A shell script in a mount namespace of its own, to which arguments can be added: they are the script's `$1` and so on.
#[must_use]
pub fn alone(script: &str) -> Command {
    let mut command = Command::new("unshare");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
    command
}

/// Says whether this machine lets a user have mounts of its own.
///
/// # Errors
/// If not, with what to do about it.
pub fn check() -> anyhow::Result<()> {
    let mut command = alone("mount -t tmpfs lethe /mnt");
    let works = command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    ensure!(
        works,
        advise(
            "this machine gives no private mounts, and an image must be built at fixed places",
            "run as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1), or, in a container, give it CAP_SYS_ADMIN; \
             `lethe-image build --in-place` does without, but others cannot reproduce that image"
        )
    );
    Ok(())
}

fn fetch(checkout: &Path) -> anyhow::Result<()> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = "x86_64-unknown-linux-gnu";
    let status = Command::new(cargo)
        .args(["fetch", "--quiet", "--locked", "--target", target])
        .current_dir(checkout)
        .stdin(Stdio::null())
        .status()
        .with_context(|| advise("cannot run cargo", "install Rust: https://rustup.rs"))?;
    ensure!(status.success(), "cargo could not fetch the crates of Cargo.lock ({status})");
    Ok(())
}

fn cargo_home() -> anyhow::Result<PathBuf> {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    let found = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home);
    found.context("neither CARGO_HOME nor HOME is set")
}

/// The folder of the pinned toolchain, past rustup's proxies.
fn sysroot(checkout: &Path) -> anyhow::Result<PathBuf> {
    let mut command = Command::new("rustc");
    command.args(["--print", "sysroot"]).current_dir(checkout).stdin(Stdio::null());
    let output = command.output().context("cannot run rustc")?;
    ensure!(output.status.success(), "rustc --print sysroot ended with {}", output.status);
    let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    ensure!(path.join("bin/cargo").is_file(), "there is no cargo in the toolchain {}", path.display());
    Ok(path)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A folder name of a checkout's own: two checkouts at one place would take each other's files for theirs.
fn name(checkout: &Path) -> OsString {
    use std::os::unix::ffi::OsStrExt as _;
    let digest = hex::encode(Sha256::digest(checkout.as_os_str().as_bytes()));
    digest.get(..16).unwrap_or(&digest).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        let path = |text: &str| PathBuf::from(text);
        Place { checkout: path("/home/a/lethe"), registry: path("/r"), toolchain: path("/t"), target: path("/cache/x") }
    }

    #[test]
    fn a_build_sees_nothing_of_the_user() {
        let command = place().cargo(&["build"]);
        let names: Vec<_> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names.len(), ENVIRONMENT.len());
        assert!(!names.contains(&"RUSTFLAGS".into()));
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        assert!(words.ends_with(&["/mnt/rust/bin/cargo".into(), "build".into()]), "{words:?}");
    }

    #[test]
    fn what_is_made_is_found_outside_and_nothing_else_is() {
        assert_eq!(place().outside(Path::new("/mnt/target/release/a")), Some(PathBuf::from("/cache/x/release/a")));
        assert_eq!(place().outside(Path::new("/home/a/lethe/target/a")), None);
    }

    #[test]
    fn what_a_build_would_cover_is_refused() {
        assert!(place().visible().is_ok());
        let below = Place { target: "/mnt/data/target".into(), ..place() };
        assert!(below.visible().unwrap_err().to_string().contains("/mnt/data/target"));
    }

    #[test]
    fn each_checkout_has_a_folder_of_its_own() {
        assert_ne!(name(Path::new("/a")), name(Path::new("/b")));
        assert_eq!(name(Path::new("/a")), name(Path::new("/a")));
    }
}
