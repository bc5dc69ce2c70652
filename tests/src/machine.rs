//! A detached machine of `lethe-image boot`, deleted when the test ends.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::{document, program};

/// A machine that serves.
pub struct Machine {
    /// Its name, for `lethe-image`.
    pub name: String,
    /// Where it answers.
    pub url: String,
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
        let name = format!("test-{name}-{}", std::process::id());
        let mut machine = Self { name, url: String::new(), _directory: directory };
        let image = program::image();
        let output = Command::new(program::program("lethe-image"))
            .args(["boot", "--detach", "--name", &machine.name, "--image"])
            .args([image.as_os_str(), "--model".as_ref(), model.as_os_str(), "--config".as_ref(), config.as_os_str()])
            .args(extra)
            .output()
            .expect("lethe-image starts");
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), machine.log());
        let list = program::run("lethe-image", &["list", "--json"]);
        let list: Value = serde_json::from_slice(&list.stdout).expect("the list is JSON");
        let list = list.as_array().expect("a list of machines");
        let entry = list.iter().find(|entry| entry["name"] == machine.name.as_str()).expect("our machine is listed");
        machine.url = entry["url"].as_str().expect("it has an address").to_owned();
        machine
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
