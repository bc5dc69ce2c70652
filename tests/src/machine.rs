//! A detached machine of `lethe-image boot`, deleted when the test ends.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use protocol::{Nonce, Report};
use serde_json::Value;
use tempfile::TempDir;

use crate::{document, program};

/// What asks `lethe-image boot` for firmware that measures, and for an emulated TPM.
pub const TPM: [&str; 4] = ["--firmware", "ovmf", "--tee", "tpm2"];

/// A machine that serves.
pub struct Machine {
    /// Its name, for `lethe-image`.
    pub name: String,
    /// Where it answers.
    pub url: String,
    /// File with the attestation key of its TPM, if it has one.
    pub ak: Option<PathBuf>,
    directory: TempDir,
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

    /// Stops it and boots it once more under its name, so with the TPM and the firmware's variables that it had: this image, the
    /// document's exact bytes.
    ///
    /// # Panics
    /// As [`Machine::boot`].
    pub fn again(&mut self, image: &Path, model: &Path, document: &[u8], extra: &[&str]) {
        let stopped = program::run("lethe-image", &["stop", &self.name]);
        assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
        let config = self.directory.path().join("lethe.toml");
        std::fs::write(&config, document).expect("the document is written");
        self.run(model, &["--image".as_ref(), image.as_os_str(), "--config".as_ref(), config.as_os_str()], extra);
    }

    fn start(name: &str, model: &Path, directory: TempDir, inputs: &[&OsStr], extra: &[&str]) -> Self {
        let name = format!("test-{name}-{}", std::process::id());
        let mut machine = Self { name, url: String::new(), ak: None, directory };
        machine.run(model, inputs, extra);
        machine
    }

    fn run(&mut self, model: &Path, inputs: &[&OsStr], extra: &[&str]) {
        let output = Command::new(program::program("lethe-image"))
            .args(["boot", "--detach", "--name", &self.name, "--model"])
            .arg(model)
            .args(inputs)
            .args(extra)
            .output()
            .expect("lethe-image starts");
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), self.log());
        let list = program::run("lethe-image", &["list", "--json"]);
        let list: Value = serde_json::from_slice(&list.stdout).expect("the list is JSON");
        let list = list.as_array().expect("a list of machines");
        let entry = list.iter().find(|entry| entry["name"] == self.name.as_str()).expect("our machine is listed");
        self.url = entry["url"].as_str().expect("it has an address").to_owned();
        self.ak = entry["ak"].as_str().map(PathBuf::from);
    }

    /// Its report over a nonce, as an ordinary HTTP client gets it.
    ///
    /// # Panics
    /// With what curl said, when there is none.
    #[must_use]
    pub fn report(&self, nonce: &Nonce) -> Report {
        self.report_in_time(nonce).0
    }

    /// The same, with the time that it took as a client sees it.
    ///
    /// # Panics
    /// As [`Machine::report`].
    #[must_use]
    pub fn report_in_time(&self, nonce: &Nonce) -> (Report, Duration) {
        let start = Instant::now();
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--insecure", "--max-time", "120"])
            .arg(format!("{}/v1/aci/attestation?nonce={nonce}", self.url))
            .output()
            .expect("curl is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let taken = start.elapsed();
        eprintln!("a report over a nonce: {:.2} s, {} bytes", taken.as_secs_f64(), output.stdout.len());
        (serde_json::from_slice(&output.stdout).expect("a report"), taken)
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
