//! What is remembered of a machine, in its `machine.json`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::Error;
use super::description::{Accel, Tee};
use super::name::Name;
use super::process::ProcessId;

/// The record's file in the machine's directory.
pub const FILE: &str = "machine.json";

/// A machine as `list --json` shows it. The supervisor alone writes it while it lives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The machine's name.
    pub name: Name,
    /// How far it has come.
    pub state: State,
    /// When it was started, in seconds since 1970.
    pub started_unix_s: u64,
    /// Whether its directory goes when it ends: a foreground machine that was given no name.
    pub ephemeral: bool,
    /// Where it answers, e.g. `https://127.0.0.1:18443`.
    pub url: String,
    /// The forwarded port on 127.0.0.1.
    pub port: u16,
    /// The TLS key's digest, `sha256:<hex>`, as the guest printed it.
    pub spki: Option<String>,
    /// The file with the attestation key of the machine's TPM, `SubjectPublicKeyInfo` in DER, as the launcher read it from the
    /// TPM before the guest could use it.
    #[serde(default)]
    pub ak: Option<PathBuf>,
    /// From the start of QEMU to `ready`, in milliseconds.
    pub ready_ms: Option<u64>,
    /// Why the guest refused, if it did: code and reason.
    pub refused: Option<String>,
    /// The image file, or the disk with it.
    pub image: PathBuf,
    /// Its SHA-256.
    pub image_sha256: String,
    /// The model file.
    pub model: PathBuf,
    /// SHA-256 of the deployment document; none if it is baked into the image.
    pub document_sha256: Option<String>,
    /// What runs before the image: `none`, `ovmf` or `path`.
    pub firmware: String,
    /// The trusted execution environment.
    pub tee: Tee,
    /// The accelerator.
    pub accel: Accel,
    /// Virtual processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// QEMU and its arguments.
    pub command: Vec<String>,
    /// The supervising process.
    pub supervisor: Option<ProcessId>,
    /// QEMU's process.
    pub qemu: Option<ProcessId>,
}

/// How far a machine has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Started and not yet ready.
    Starting,
    /// It answers.
    Ready,
    /// It was stopped, or ended by itself after it had been ready.
    Stopped,
    /// It refused to boot.
    Refused,
    /// It ended before it was ready, or was not ready in time.
    Failed,
    /// Its supervisor is gone without having written how it ended.
    Died,
}

impl State {
    /// One word for lists.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Stopped => "stopped",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Died => "died",
        }
    }

    /// The state of a machine whose record says this and whose supervisor lives, or does not.
    #[must_use]
    pub fn judged(self, running: bool) -> Self {
        match self {
            Self::Starting | Self::Ready if !running => Self::Died,
            state => state,
        }
    }
}

impl Record {
    /// Writes the record into a machine's directory; a reader sees the old one or the new one.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save(&self, directory: &Path) -> Result<(), Error> {
        let path = directory.join(FILE);
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            file.persist(&path)?;
            Ok(())
        };
        write().map_err(Error::file("write", &path))
    }

    /// Reads the record of a machine's directory.
    ///
    /// # Errors
    /// If there is none or it does not parse.
    pub fn load(directory: &Path, name: &Name) -> Result<Self, Error> {
        let path = directory.join(FILE);
        let text = fs::read(&path).map_err(Error::file("read", &path))?;
        serde_json::from_slice(&text).map_err(|source| Error::Record { name: name.clone(), source })
    }

    /// Seconds since the machine was started.
    #[must_use]
    pub fn age_s(&self) -> u64 {
        now_unix_s().saturating_sub(self.started_unix_s)
    }
}

/// Seconds since 1970.
#[must_use]
pub fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}

#[cfg(test)]
pub(crate) fn example(name: &str) -> Record {
    Record {
        name: name.parse().unwrap(),
        state: State::Ready,
        started_unix_s: 1_000,
        ephemeral: false,
        url: "https://127.0.0.1:18443".to_owned(),
        port: 18443,
        spki: Some(format!("sha256:{}", "ab".repeat(32))),
        ak: None,
        ready_ms: Some(1_234),
        refused: None,
        image: "/images/lethe.efi".into(),
        image_sha256: "cd".repeat(32),
        model: "/models/tiny.gguf".into(),
        document_sha256: Some("ef".repeat(32)),
        firmware: "none".to_owned(),
        tee: Tee::None,
        accel: Accel::Tcg,
        cpus: 2,
        memory_mib: 1024,
        command: vec!["qemu-system-x86_64".to_owned()],
        supervisor: None,
        qemu: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_as_written() {
        let directory = tempfile::tempdir().unwrap();
        let record = example("demo");
        record.save(directory.path()).unwrap();
        assert_eq!(Record::load(directory.path(), &record.name).unwrap(), record);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_damaged_record_is_an_error_that_names_the_machine() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), "{").unwrap();
        let error = Record::load(directory.path(), &"demo".parse().unwrap()).unwrap_err();
        assert!(matches!(error, Error::Record { .. }), "{error}");
    }

    #[test]
    fn a_machine_without_supervisor_is_not_shown_as_running() {
        assert_eq!(State::Ready.judged(true), State::Ready);
        assert_eq!(State::Ready.judged(false), State::Died);
        assert_eq!(State::Starting.judged(false), State::Died);
        assert_eq!(State::Refused.judged(false), State::Refused);
    }
}
