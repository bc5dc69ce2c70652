//! The kernel source an image is built from, pinned by digest.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde::Deserialize;

use crate::digest;
use crate::progress::Progress;
use crate::report::advise;

/// `image/kernel/source.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Debian package that carries the archive.
    pub package: String,
    /// Version of the package that carries exactly this archive.
    pub package_version: String,
    /// What the kernel calls itself.
    pub version: String,
    /// Where the package puts the archive.
    pub archive: PathBuf,
    /// Top folder inside the archive.
    pub folder: String,
    /// SHA-256 of the archive, in hexadecimal.
    pub sha256: String,
}

impl Pin {
    /// The archive, after its digest was compared: the one given, or the installed one.
    ///
    /// # Errors
    /// If there is none, or it is another version; the advice says how to get the pinned one.
    pub fn verified_archive(&self, given: Option<&Path>, progress: &Progress) -> anyhow::Result<PathBuf> {
        let path = given.unwrap_or(&self.archive);
        let file = File::open(path)
            .with_context(|| advise(format!("cannot open the kernel source {}", path.display()), self.how_to_get()))?;
        let length = file.metadata().with_context(|| format!("cannot read {}", path.display()))?.len();
        let found = digest::hex_of(progress.reader("Checking", length, file))
            .with_context(|| format!("cannot read {}", path.display()))?;
        if found != self.sha256 {
            let message = format!(
                "{} is not the pinned kernel source {} {}{}: its SHA-256 is {found}, not {}",
                path.display(),
                self.package,
                self.package_version,
                self.installed_instead(),
                self.sha256
            );
            return Err(advise(message, self.how_to_get()).into());
        }
        Ok(path.to_owned())
    }

    fn how_to_get(&self) -> String {
        let Self { package, package_version, .. } = self;
        format!(
            "install it with `apt-get install {package}={package_version}`; a version that has left the archive is kept at \
             https://snapshot.debian.org/package/linux/ and goes in with --kernel-source FILE"
        )
    }

    /// ` (installed: VERSION)` if the package is there in another version.
    fn installed_instead(&self) -> String {
        let query = Command::new("dpkg-query").args(["--show", "--showformat=${Version}", &self.package]).output();
        match query {
            Ok(output) if output.status.success() => {
                let version = String::from_utf8_lossy(&output.stdout).into_owned();
                if version == self.package_version { String::new() } else { format!(" (installed: {version})") }
            }
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(archive: &Path, sha256: &str) -> Pin {
        Pin {
            package: "no-such-package".into(),
            package_version: "1".into(),
            version: "1".into(),
            archive: archive.to_owned(),
            folder: "linux".into(),
            sha256: sha256.into(),
        }
    }

    #[test]
    fn archive_with_the_pinned_digest_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("a.tar.xz");
        std::fs::write(&archive, "abc").unwrap();
        let pin = pin(Path::new("/nonexistent"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(pin.verified_archive(Some(&archive), &Progress::silent()).unwrap(), archive);
    }

    #[test]
    fn other_bytes_are_refused_with_both_digests() {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("a.tar.xz");
        std::fs::write(&archive, "abd").unwrap();
        let error = pin(&archive, &"0".repeat(64)).verified_archive(None, &Progress::silent()).unwrap_err().to_string();
        assert!(
            error.contains(&"0".repeat(64))
                && error.contains("a52d159f262b2c6ddb724a61840befc36eb30c88877a4030b65cbe86298449c9"),
            "{error}"
        );
    }

    #[test]
    fn missing_archive_is_refused() {
        assert!(pin(Path::new("/nonexistent"), "").verified_archive(None, &Progress::silent()).is_err());
    }
}
