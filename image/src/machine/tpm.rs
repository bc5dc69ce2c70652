//! A machine's TPM: an emulator whose seeds lie in the machine's directory, and the attestation key that they make.
//!
//! The key is made from the seeds and one fixed template, so whoever owns the seeds can ask for it before the machine boots:
//! the launcher does, through a socket that no guest sees, and that is the key to pin. An emulated TPM proves the path from
//! firmware to verifier, not the hardware: its owner could sign anything.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Error;
use super::arguments::TPM_SOCKET;
use super::disks::remove;
use super::process::{self, Bound};

/// The TPM's state.
const STATE: &str = "tpm";
/// The socket through which the launcher asks for the key.
pub(super) const KEY_SOCKET: &str = "tpm-key.sock";
/// The attestation key's `SubjectPublicKeyInfo`, DER.
pub const KEY: &str = "ak.der";
/// How long the emulator may take to open its socket, and to answer.
const LIMIT: Duration = Duration::from_secs(10);
/// How long it may take to end.
const GRACE: Duration = Duration::from_secs(3);
/// Longest answer of a TPM, in bytes.
const ANSWER_MAX_BYTES: usize = 4096;
/// What stands before the parameters of an answer: tag, length, code.
const HEADER_BYTES: usize = 10;

/// Makes the TPM, unless it is there from an earlier boot, and writes its attestation key beside it. Gives the key's file.
///
/// # Errors
/// If the emulator does not start, or makes no key.
pub fn prepare(helper: &Path, (swtpm, setup): &(PathBuf, PathBuf), directory: &Path) -> Result<PathBuf, Error> {
    let state = directory.join(STATE);
    if !state.exists() {
        make(setup, &state)?;
    }
    let server = format!("type=unixio,path={KEY_SOCKET},mode=0600");
    let arguments = ["--server", server.as_str(), "--flags", "not-need-init,startup-clear"];
    let mut emulator = start_emulator(helper, swtpm, directory, &arguments, KEY_SOCKET)?;
    let key = attestation_key(directory);
    // It ends by itself when the connection closes.
    if !matches!(emulator.wait_for(GRACE), Ok(Some(_))) {
        emulator.end(GRACE);
    }
    remove(&directory.join(KEY_SOCKET))?;
    let path = directory.join(KEY);
    fs::write(&path, key?).map_err(Error::file("write", &path))?;
    Ok(path)
}

/// Starts the emulator for QEMU and waits until it can connect.
///
/// # Errors
/// If it does not start.
pub fn start(helper: &Path, swtpm: &Path, directory: &Path) -> Result<Bound, Error> {
    let control = format!("type=unixio,path={TPM_SOCKET},mode=0600");
    start_emulator(helper, swtpm, directory, &["--ctrl", &control, "--flags", "not-need-init"], TPM_SOCKET)
}

fn start_emulator(helper: &Path, swtpm: &Path, directory: &Path, more: &[&str], socket: &str) -> Result<Bound, Error> {
    let log = directory.join("swtpm.log");
    let output = fs::File::create(&log).map_err(Error::file("create", &log))?;
    let state = format!("dir={STATE},mode=0600");
    let arguments: Vec<_> =
        ["socket", "--tpm2", "--terminate", "--tpmstate", &state].iter().chain(more).map(Into::into).collect();
    let mut emulator = process::spawn(helper, swtpm, &arguments, directory, [Stdio::null(), Stdio::from(output)])?;
    let start = Instant::now();
    while !directory.join(socket).exists() {
        let ended = matches!(emulator.wait_for(Duration::from_millis(10)), Ok(Some(_)) | Err(_));
        if ended || start.elapsed() > LIMIT {
            return Err(Error::Tpm { last_lines: lines_of(&fs::read(&log).unwrap_or_default()) });
        }
    }
    Ok(emulator)
}

/// Makes a TPM with the two PCR banks that verifiers read.
fn make(setup: &Path, state: &Path) -> Result<(), Error> {
    fs::create_dir_all(state).map_err(Error::file("create", state))?;
    let made = Command::new(setup)
        .args(["--tpm2", "--pcr-banks", "sha256,sha384", "--tpmstate"])
        .arg(state)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Start { program: setup.display().to_string(), source })?;
    if made.status.success() {
        return Ok(());
    }
    // A half-made TPM must not be taken for a whole one at the next boot.
    remove(state)?;
    Err(Error::Tpm { last_lines: lines_of(&[made.stdout, made.stderr].concat()) })
}

/// The key that the appliance's own code makes of this TPM.
fn attestation_key(directory: &Path) -> Result<Vec<u8>, Error> {
    let failed = |error: String| Error::Tpm { last_lines: vec![error] };
    // The address of a socket has 108 bytes at most, which a directory of the user's may have alone.
    let open = fs::File::open(directory).map_err(Error::file("open", directory))?;
    let socket = format!("/proc/self/fd/{}/{KEY_SOCKET}", open.as_raw_fd());
    let stream = UnixStream::connect(socket).map_err(|error| failed(error.to_string()))?;
    stream.set_read_timeout(Some(LIMIT)).map_err(|error| failed(error.to_string()))?;
    let tpm = tee::tpm2::Tpm2::open(Connection(stream), Vec::new()).map_err(|error| failed(error.to_string()))?;
    Ok(tpm.ak().to_vec())
}

/// The emulator's data channel: commands and answers one after the other.
struct Connection(UnixStream);

impl tee::tpm2::Transport for Connection {
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(command)?;
        let mut answer = vec![0; HEADER_BYTES];
        self.0.read_exact(&mut answer)?;
        let length = answer.get(2..6).and_then(|bytes| bytes.first_chunk().copied()).map(u32::from_be_bytes);
        let length = length.and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
        if !(HEADER_BYTES..=ANSWER_MAX_BYTES).contains(&length) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        answer.resize(length, 0);
        self.0.read_exact(answer.split_at_mut(HEADER_BYTES).1)?;
        Ok(answer)
    }
}

fn lines_of(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    let surplus = lines.len().saturating_sub(super::error::QUOTED_LINES);
    lines.into_iter().skip(surplus).collect()
}
