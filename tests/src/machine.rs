//! A detached machine of `lethe-image boot`, deleted when the test ends.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use protocol::{Nonce, Report};
use serde_json::Value;
use tempfile::TempDir;

use crate::{document, program};

/// A machine that serves.
pub struct Machine {
    /// Its name, for `lethe-image`.
    pub name: String,
    /// Where it answers.
    pub url: String,
    /// File with the attestation key of its TPM, if it has one.
    pub ak: Option<PathBuf>,
    _directory: TempDir,
}

impl Machine {
    /// Boots the image with a document for this model, and waits until it serves.
    ///
    /// # Panics
    /// With what `lethe-image` said, when it does not.
    #[must_use]
    pub fn boot(name: &str, model: &Path, tables: &str, extra: &[&str]) -> Self {
        Self::boot_with(name, model, document::for_model(model, tables).as_bytes(), extra)
    }

    /// The same with the document's exact bytes.
    ///
    /// # Panics
    /// As [`Machine::boot`].
    #[must_use]
    pub fn boot_with(name: &str, model: &Path, document: &[u8], extra: &[&str]) -> Self {
        let directory = TempDir::new().expect("a directory for the document");
        let config = directory.path().join("lethe.toml");
        std::fs::write(&config, document).expect("the document is written");
        let image = program::image();
        let inputs = ["--image".as_ref(), image.as_os_str(), "--config".as_ref(), config.as_os_str()];
        Self::start(name, model, directory, &inputs, extra)
    }

    /// Boots a disk of these bytes, as `lethe-image disk` makes it, with the document that is on it.
    ///
    /// # Panics
    /// As [`Machine::boot`].
    #[must_use]
    pub fn boot_disk(name: &str, model: &Path, disk: &[u8], extra: &[&str]) -> Self {
        let directory = TempDir::new().expect("a directory for the disk");
        let path = directory.path().join("lethe.raw");
        std::fs::write(&path, disk).expect("the disk is written");
        Self::start(name, model, directory, &["--disk".as_ref(), path.as_os_str()], extra)
    }

    fn start(name: &str, model: &Path, directory: TempDir, inputs: &[&OsStr], extra: &[&str]) -> Self {
        let name = format!("test-{name}-{}", std::process::id());
        let mut machine = Self { name, url: String::new(), ak: None, _directory: directory };
        let output = Command::new(program::program("lethe-image"))
            .args(["boot", "--detach", "--name", &machine.name, "--model"])
            .arg(model)
            .args(inputs)
            .args(extra)
            .output()
            .expect("lethe-image starts");
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), machine.log());
        let list = program::run("lethe-image", &["list", "--json"]);
        let list: Value = serde_json::from_slice(&list.stdout).expect("the list is JSON");
        let list = list.as_array().expect("a list of machines");
        let entry = list.iter().find(|entry| entry["name"] == machine.name.as_str()).expect("our machine is listed");
        machine.url = entry["url"].as_str().expect("it has an address").to_owned();
        machine.ak = entry["ak"].as_str().map(PathBuf::from);
        machine
    }

    /// Its report over a nonce, as an ordinary HTTP client gets it.
    ///
    /// # Panics
    /// With what curl said, when there is none.
    #[must_use]
    pub fn report(&self, nonce: &Nonce) -> Report {
        let start = Instant::now();
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--insecure", "--max-time", "120"])
            .arg(format!("{}/v1/aci/attestation?nonce={nonce}", self.url))
            .output()
            .expect("curl is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        eprintln!("a report over a nonce: {:.2} s, {} bytes", start.elapsed().as_secs_f64(), output.stdout.len());
        serde_json::from_slice(&output.stdout).expect("a report")
    }

    /// Everything its console has shown.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&program::run("lethe-image", &["logs", &self.name]).stdout).into_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = program::run("lethe-image", &["delete", &self.name, "--force"]);
    }
}
