//! What a machine's directory holds before QEMU starts: document, EFI system partition, firmware variables.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::Error;
use super::arguments::TPM_SOCKET;
use super::tpm;

/// The deployment document, exactly as it was read and checked.
pub const DOCUMENT: &str = "config.toml";
/// The directory shown as EFI system partition.
pub const ESP: &str = "esp";
/// This machine's firmware variables.
pub const OVMF_VARS: &str = "ovmf-vars.fd";

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
    for name in [super::arguments::QMP_SOCKET, TPM_SOCKET, tpm::KEY_SOCKET, tpm::KEY, DOCUMENT] {
        remove(&directory.join(name))?;
    }
    Ok(())
}

/// Removes a file or a directory, if there is one.
///
/// # Errors
/// If it cannot be removed.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::file("remove", path)(error)),
        _ => Ok(()),
    }
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
