//! The source files firmware is built from, pinned by digest: given, fetched before, or fetched now.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;

use crate::digest;
use crate::progress::Progress;
use crate::report::advise;

/// `image/firmware/source.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Debian's source package.
    pub package: String,
    /// Version of the package that holds exactly these files.
    pub package_version: String,
    /// What EDK II calls the release.
    pub version: String,
    /// Top folder inside the upstream archive.
    pub folder: String,
    /// Addresses the files are fetched from, in order.
    from: Vec<String>,
    /// EDK II itself.
    pub upstream: Archive,
    /// Debian's patches to it.
    pub debian: Archive,
}

/// One file of the source package.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// Its name in the archive.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

/// Both archives, checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Sources {
    /// EDK II itself.
    pub upstream: PathBuf,
    /// Debian's patches to it.
    pub debian: PathBuf,
}

impl Pin {
    /// Both archives, after their digests were compared: of the files given, of `folder`, or fetched into it.
    ///
    /// # Errors
    /// If a file given is none of the two, or one cannot be had; the advice says where to get it.
    pub fn sources(&self, given: &[PathBuf], folder: &Path, progress: &Progress) -> anyhow::Result<Sources> {
        let mut sources =
            Sources { upstream: folder.join(&self.upstream.name), debian: folder.join(&self.debian.name) };
        let (mut has_upstream, mut has_debian) = (false, false);
        for path in given {
            let found = self.checked(path, progress)?;
            if found == self.upstream.sha256 {
                (sources.upstream, has_upstream) = (path.clone(), true);
            } else {
                (sources.debian, has_debian) = (path.clone(), true);
            }
        }
        if !has_upstream {
            self.fetched(&self.upstream, &sources.upstream, progress)?;
        }
        if !has_debian {
            self.fetched(&self.debian, &sources.debian, progress)?;
        }
        Ok(sources)
    }

    /// The digest of a file the user gave, if it is one of the two.
    fn checked(&self, path: &Path, progress: &Progress) -> anyhow::Result<String> {
        let found = file_digest(path, progress).with_context(|| {
            advise(format!("cannot read the firmware source {}", path.display()), self.how_to_get())
        })?;
        if [&self.upstream.sha256, &self.debian.sha256].contains(&&found) {
            return Ok(found);
        }
        let Self { package, package_version, upstream, debian, .. } = self;
        let message = format!(
            "{} is none of the pinned sources of {package} {package_version}: its SHA-256 is {found}, not {} ({}) and not {} ({})",
            path.display(),
            upstream.sha256,
            upstream.name,
            debian.sha256,
            debian.name
        );
        bail!(advise(message, self.how_to_get()))
    }

    fn fetched(&self, archive: &Archive, path: &Path, progress: &Progress) -> anyhow::Result<()> {
        if path.exists() {
            if file_digest(path, progress)? == archive.sha256 {
                return Ok(());
            }
            fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        let folder = path.parent().context("a source has a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let mut failures = Vec::new();
        for from in &self.from {
            let address = format!("{from}/{}", archive.name);
            match fetch(&address, archive, folder, progress) {
                Ok(file) => {
                    file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
                    return Ok(());
                }
                Err(error) => failures.push(format!("{address}: {error:#}")),
            }
        }
        let message = format!("cannot fetch {}:\n{}", archive.name, failures.join("\n"));
        bail!(advise(message, self.how_to_get()))
    }

    fn how_to_get(&self) -> String {
        let Self { package, package_version, upstream, debian, .. } = self;
        format!(
            "every version is kept at https://snapshot.debian.org/package/{package}/{package_version}/: fetch {} and {} and give \
             both with --source FILE",
            upstream.name, debian.name
        )
    }
}

/// Fetches one file; nothing but the pinned bytes comes back.
fn fetch(
    address: &str,
    archive: &Archive,
    folder: &Path,
    progress: &Progress,
) -> anyhow::Result<tempfile::NamedTempFile> {
    let mut child = Command::new("curl")
        .args(["--fail", "--silent", "--show-error", "--location", "--max-redirs", "3", "--proto", "=https"])
        .args(["--connect-timeout", "20", "--speed-limit", "1000", "--speed-time", "30", "--"])
        .arg(address)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| advise("cannot run curl", "install it with `apt-get install curl`"))?;
    let body = child.stdout.take().context("no pipe from curl")?;
    let mut file = tempfile::NamedTempFile::new_in(folder).context("cannot create a file")?;
    // One byte more than pinned is enough to know that it is another file.
    let mut body = progress.reader("Fetching", archive.size, io::Read::take(body, archive.size + 1));
    let copied = io::copy(&mut body, &mut file).context("cannot save it")?;
    drop(body);
    let ended = child.wait_with_output().context("cannot wait for curl")?;
    ensure!(copied <= archive.size, "more than {} bytes", archive.size);
    ensure!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr).trim());
    file.flush().context("cannot save it")?;
    let found = file_digest(file.path(), &Progress::silent())?;
    ensure!(found == archive.sha256, "its SHA-256 is {found}, not {}", archive.sha256);
    Ok(file)
}

fn file_digest(path: &Path, progress: &Progress) -> anyhow::Result<String> {
    let open = || -> io::Result<_> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok((file, length))
    };
    let (file, length) = open().with_context(|| format!("cannot open {}", path.display()))?;
    digest::hex_of(progress.reader("Checking", length, file)).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const ABD: &str = "a52d159f262b2c6ddb724a61840befc36eb30c88877a4030b65cbe86298449c9";

    fn pin() -> Pin {
        let archive = |name: &str, sha256: &str| Archive { name: name.into(), size: 3, sha256: sha256.into() };
        Pin {
            package: "edk2".into(),
            package_version: "1-1".into(),
            version: "1".into(),
            folder: "edk2-1".into(),
            from: vec!["https://invalid.".into()],
            upstream: archive("edk2_1.orig.tar.xz", ABC),
            debian: archive("edk2_1-1.debian.tar.xz", ABD),
        }
    }

    fn file(folder: &Path, name: &str, content: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn given_files_are_told_apart_by_their_digests() {
        let folder = tempfile::tempdir().unwrap();
        let one = file(folder.path(), "one", "abc");
        let other = file(folder.path(), "other", "abd");
        let sources = pin().sources(&[other.clone(), one.clone()], folder.path(), &Progress::silent()).unwrap();
        assert_eq!(sources, Sources { upstream: one, debian: other });
    }

    #[test]
    fn files_fetched_before_are_taken_if_they_are_the_pinned_ones() {
        let folder = tempfile::tempdir().unwrap();
        let upstream = file(folder.path(), "edk2_1.orig.tar.xz", "abc");
        let debian = file(folder.path(), "edk2_1-1.debian.tar.xz", "abd");
        let sources = pin().sources(&[], folder.path(), &Progress::silent()).unwrap();
        assert_eq!(sources, Sources { upstream, debian });
    }

    #[test]
    fn a_given_file_of_other_bytes_is_refused_with_all_digests_and_an_address() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "edk2_1.orig.tar.xz", "abe");
        let error = pin().sources(&[path], folder.path(), &Progress::silent()).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(ABC) && message.contains(ABD), "{message}");
        assert!(pin().how_to_get().contains("https://snapshot.debian.org/package/edk2/1-1/"));
    }

    #[test]
    fn a_broken_download_is_never_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "edk2_1.orig.tar.xz", "ab");
        file(folder.path(), "edk2_1-1.debian.tar.xz", "abd");
        let error = pin().sources(&[], folder.path(), &Progress::silent()).unwrap_err();
        assert!(error.to_string().contains("cannot fetch edk2_1.orig.tar.xz"), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn the_pin_of_this_tree_is_well_formed() {
        let text = include_str!("../../firmware/source.toml");
        let pin: Pin = toml::from_str(text).unwrap();
        for archive in [&pin.upstream, &pin.debian] {
            assert_eq!(archive.sha256.len(), 64);
            assert!(archive.name.starts_with(&format!("{}_{}", pin.package, pin.version)));
        }
        assert!(pin.from.iter().all(|from| from.starts_with("https://")));
        assert!(toml::from_str::<Pin>(&format!("sha1 = \"\"\n{text}")).is_err());
    }
}
