//! What a machine's directory holds before QEMU starts: document, EFI system partition, firmware variables, TPM.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Error;
use super::arguments::TPM_SOCKET;
use super::process::{self, Bound};

/// The deployment document, exactly as it was read and checked.
pub const DOCUMENT: &str = "config.toml";
/// The directory shown as EFI system partition.
pub const ESP: &str = "esp";
/// This machine's firmware variables.
pub const OVMF_VARS: &str = "ovmf-vars.fd";
/// The TPM's state.
const TPM: &str = "tpm";
/// How long the TPM emulator may take to open its socket.
const TPM_LIMIT: Duration = Duration::from_secs(10);

/// Writes the document that QEMU will show, so that a later change of the user's file changes nothing.
///
/// # Errors
/// If it cannot be written.
pub fn write_document(directory: &Path, bytes: &[u8]) -> Result<(), Error> {
    let path = directory.join(DOCUMENT);
    fs::write(&path, bytes).map_err(Error::file("write", &path))
}

/// Makes the EFI system partition with the image as the one program that firmware starts by itself.
///
/// # Errors
/// If a file cannot be written.
pub fn make_esp(directory: &Path, image: &Path) -> Result<(), Error> {
    let esp = directory.join(ESP);
    remove(&esp)?;
    let boot = esp.join("EFI/BOOT");
    fs::create_dir_all(&boot).map_err(Error::file("create", &boot))?;
    let file = boot.join("BOOTX64.EFI");
    fs::copy(image, &file).map_err(Error::file("write", &file))?;
    Ok(())
}

/// Gives the machine its own firmware variables, unless it has some from an earlier boot.
///
/// # Errors
/// If they cannot be copied.
pub fn make_vars(directory: &Path, template: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = directory.join(OVMF_VARS);
    if path.exists() {
        return Ok(());
    }
    fs::copy(template, &path).map_err(Error::file("write", &path))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(Error::file("write", &path))
}

/// Removes what an earlier boot of the same machine has left and this one would trip over.
///
/// # Errors
/// If something cannot be removed.
pub fn clear_run_files(directory: &Path) -> Result<(), Error> {
    for name in [super::arguments::QMP_SOCKET, TPM_SOCKET, DOCUMENT] {
        remove(&directory.join(name))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Error> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::file("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Starts a TPM emulator in the machine's directory, with the state of an earlier boot or a newly made TPM, and waits
/// until QEMU can connect.
///
/// # Errors
/// If it does not start.
pub fn start_tpm(helper: &Path, (swtpm, setup): &(PathBuf, PathBuf), directory: &Path) -> Result<Bound, Error> {
    let state = directory.join(TPM);
    if !state.exists() {
        make_tpm(setup, &state)?;
    }
    let log = directory.join("swtpm.log");
    let output = fs::File::create(&log).map_err(Error::file("create", &log))?;
    let arguments = [
        ["--tpmstate", "dir=tpm,mode=0600"],
        ["--ctrl", "type=unixio,path=tpm.sock,mode=0600"],
        ["--flags", "not-need-init"],
    ];
    let arguments: Vec<_> =
        ["socket", "--tpm2", "--terminate"].iter().chain(arguments.iter().flatten()).map(Into::into).collect();
    let mut tpm = process::spawn(helper, swtpm, &arguments, directory, [Stdio::null(), Stdio::from(output)])?;
    let start = Instant::now();
    while !directory.join(TPM_SOCKET).exists() {
        let ended = matches!(tpm.wait_for(Duration::from_millis(10)), Ok(Some(_)) | Err(_));
        if ended || start.elapsed() > TPM_LIMIT {
            return Err(Error::Tpm { last_lines: lines_of(&fs::read(&log).unwrap_or_default()) });
        }
    }
    Ok(tpm)
}

/// Makes a TPM with the two PCR banks that verifiers read.
fn make_tpm(setup: &Path, state: &Path) -> Result<(), Error> {
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

fn lines_of(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    let surplus = lines.len().saturating_sub(super::error::QUOTED_LINES);
    lines.into_iter().skip(surplus).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_efi_partition_holds_the_image_and_nothing_of_an_earlier_boot() {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("lethe.efi");
        fs::write(&image, "MZ new").unwrap();
        fs::create_dir_all(directory.path().join("esp/EFI/OTHER")).unwrap();
        make_esp(directory.path(), &image).unwrap();
        assert!(!directory.path().join("esp/EFI/OTHER").exists());
        assert_eq!(fs::read(directory.path().join("esp/EFI/BOOT/BOOTX64.EFI")).unwrap(), b"MZ new");
    }

    #[test]
    fn firmware_variables_survive_a_second_boot() {
        let directory = tempfile::tempdir().unwrap();
        let template = directory.path().join("template.fd");
        fs::write(&template, "empty").unwrap();
        make_vars(directory.path(), &template).unwrap();
        fs::write(directory.path().join(OVMF_VARS), "changed").unwrap();
        make_vars(directory.path(), &template).unwrap();
        assert_eq!(fs::read(directory.path().join(OVMF_VARS)).unwrap(), b"changed");
    }

    #[test]
    fn clearing_an_empty_directory_is_no_failure() {
        let directory = tempfile::tempdir().unwrap();
        clear_run_files(directory.path()).unwrap();
        write_document(directory.path(), b"version = 1").unwrap();
        clear_run_files(directory.path()).unwrap();
        assert!(!directory.path().join(DOCUMENT).exists());
    }
}
