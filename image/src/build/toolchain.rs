//! The programs a build needs, and what versions of them this machine has.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::report::advise;

/// Programs whose version decides bytes of the kernel.
const KERNEL: &[&str] = &["as", "gcc", "ld", "lz4"];
/// Programs whose version decides bytes of the appliance.
const APPLIANCE: &[&str] = &["cargo", "rustc", "cmake", "g++", "clang"];
/// Libraries that the linker puts into the appliance; their bytes count, whatever their package calls itself.
const LIBRARIES: &[&str] = &["libc.a", "libm.a", "libstdc++.a", "libgcc.a", "libgcc_eh.a"];
/// Programs a build needs, with the Debian package each comes from.
const NEEDED: &[(&str, &str)] = &[
    ("as", "binutils"),
    ("bc", "bc"),
    ("bison", "bison"),
    ("clang", "clang"),
    ("cmake", "cmake"),
    ("flex", "flex"),
    ("g++", "g++"),
    ("gcc", "gcc"),
    ("ld", "binutils"),
    ("make", "make"),
    ("patch", "patch"),
    ("strip", "binutils"),
    ("tar", "tar"),
    ("xz", "xz-utils"),
    ("lz4", "lz4"),
];
/// Header of the library the kernel's object checker links.
const LIBELF: &str = "/usr/include/libelf.h";

/// Versions by program name.
#[derive(Debug, Clone)]
pub struct Toolchain {
    versions: BTreeMap<&'static str, String>,
}

impl Toolchain {
    /// Asks every program for its version.
    ///
    /// # Errors
    /// If one is not there; the advice is the line that installs all that are missing.
    pub fn probe(root: &Path) -> anyhow::Result<Self> {
        let mut missing: Vec<&str> =
            NEEDED.iter().filter(|(program, _)| !on_path(program)).map(|(_, package)| *package).collect();
        if !Path::new(LIBELF).exists() {
            missing.push("libelf-dev");
        }
        missing.dedup();
        let packages = missing.join(" ");
        ensure!(
            missing.is_empty(),
            advise(format!("missing to build an image: {packages}"), format!("apt-get install {packages}"))
        );
        let programs = KERNEL.iter().chain(APPLIANCE);
        let mut versions: BTreeMap<_, _> =
            programs.map(|program| Ok((*program, version(program, root)?))).collect::<anyhow::Result<_>>()?;
        for library in LIBRARIES {
            versions.insert(library, digest_of(library)?);
        }
        Ok(Self { versions })
    }

    /// Every program with its version, every library with its SHA-256.
    #[must_use]
    pub fn versions(&self) -> &BTreeMap<&'static str, String> {
        &self.versions
    }

    /// The programs whose version decides bytes of the kernel.
    pub fn of_the_kernel(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.versions.iter().filter(|(name, _)| KERNEL.contains(name)).map(|(name, version)| (*name, version.as_str()))
    }

    /// A toolchain with invented versions.
    #[cfg(test)]
    pub(crate) fn invented(gcc: &str) -> Self {
        Self { versions: BTreeMap::from([("gcc", gcc.to_owned()), ("cargo", "1".to_owned())]) }
    }
}

fn on_path(program: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|folder| Path::new(folder).join(program).exists())
}

/// First line of `PROGRAM --version`, in the checkout, where rustup finds the pinned toolchain.
fn version(program: &str, root: &Path) -> anyhow::Result<String> {
    let mut command = Command::new(program);
    command.arg("--version").current_dir(root).env("LC_ALL", "C").stdin(Stdio::null());
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{program} --version ended with {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    // lz4 frames its line with stars.
    Ok(text.lines().next().unwrap_or_default().trim_matches(['*', ' ']).to_owned())
}

/// SHA-256 of a static library, from where the compiler would take it.
fn digest_of(library: &str) -> anyhow::Result<String> {
    let mut command = Command::new("g++");
    command.arg(format!("-print-file-name={library}")).env("LC_ALL", "C").stdin(Stdio::null());
    let output = command.output().context("cannot run g++")?;
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let bytes = std::fs::read(&path).with_context(|| {
        advise(format!("g++ finds no {library} to link statically"), "apt-get install libc6-dev libstdc++-12-dev")
    })?;
    Ok(format!("sha256 {}", super::manifest::sha256(&bytes)))
}
