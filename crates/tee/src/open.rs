//! Finds the kind of a machine by its device nodes, and opens what is needed of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::sev_snp::SevSnp;
use crate::tdx::Tdx;
use crate::tpm2::{Device, Tpm2};
use crate::tsm::{Directory, Provider, Reports};
use crate::{NoTee, Tee, TeeError};

/// Longest event log, in bytes; firmware's reach a few dozen KiB.
pub const EVENT_LOG_MAX_BYTES: usize = 512 * 1024;

/// Where the kernel shows its devices; tests look elsewhere.
#[derive(Debug, Clone)]
pub struct Places {
    /// `/dev/sev-guest`.
    pub sev_guest: PathBuf,
    /// `/dev/tdx_guest`.
    pub tdx_guest: PathBuf,
    /// `/dev/tpmrm0`: the kernel's resource manager keeps our key apart from everybody else's.
    pub tpm: PathBuf,
    /// configfs' directory of reports.
    pub reports: PathBuf,
    /// The TPM's event log in securityfs.
    pub tpm_log: PathBuf,
    /// The event log of confidential guests, an ACPI table's data.
    pub ccel: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            sev_guest: "/dev/sev-guest".into(),
            tdx_guest: "/dev/tdx_guest".into(),
            tpm: "/dev/tpmrm0".into(),
            reports: "/sys/kernel/config/tsm/report".into(),
            tpm_log: "/sys/kernel/security/tpm0/binary_bios_measurements".into(),
            ccel: "/sys/firmware/acpi/tables/data/CCEL".into(),
        }
    }
}

/// Opens the machine as what it is: SEV-SNP and TDX before a TPM, which on them is the host's or the paravisor's.
///
/// # Errors
/// [`TeeError`] where a device is there and cannot be used: such a machine is not one without a TEE.
pub fn open(places: &Places) -> Result<Box<dyn Tee>, TeeError> {
    if let Some(device) = device(&places.sev_guest)? {
        let directory = Directory::open(&places.reports)?;
        let descriptor = directory.again()?;
        let reports = Reports::new(directory, Provider::SevGuest)?;
        return Ok(Box::new(SevSnp::new(reports, device, Some(descriptor))));
    }
    if let Some(device) = device(&places.tdx_guest)? {
        let directory = Directory::open(&places.reports)?;
        let descriptor = directory.again()?;
        let quotes = Reports::new(directory, Provider::TdxGuest)?;
        return Ok(Box::new(Tdx::new(quotes, device, log(&places.ccel)?, Some(descriptor))));
    }
    if let Some(device) = device(&places.tpm)? {
        let event_log = log(&places.tpm_log)?.unwrap_or_default();
        return Ok(Box::new(Tpm2::open(Device::new(device), event_log)?));
    }
    Ok(Box::new(NoTee))
}

/// A device node, opened for both directions; nothing if there is none.
fn device(path: &Path) -> Result<Option<File>, TeeError> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TeeError::Device { path: path.display().to_string(), source }),
    }
}

/// A log of firmware; nothing if there is none.
fn log(path: &Path) -> Result<Option<Vec<u8>>, TeeError> {
    let failed = |source| TeeError::Device { path: path.display().to_string(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(EVENT_LOG_MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > EVENT_LOG_MAX_BYTES {
        return Err(TeeError::TooLong { path: path.display().to_string(), limit: EVENT_LOG_MAX_BYTES });
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Platform;

    fn places(directory: &Path) -> Places {
        let at = |name: &str| directory.join(name);
        Places {
            sev_guest: at("sev-guest"),
            tdx_guest: at("tdx_guest"),
            tpm: at("tpmrm0"),
            reports: at("report"),
            tpm_log: at("log"),
            ccel: at("CCEL"),
        }
    }

    /// An entry as the kernel shows it, in a plain directory.
    fn entry(places: &Places, provider: &str) {
        let entry = places.reports.join("lethe");
        fs::create_dir_all(&entry).unwrap();
        fs::write(entry.join("provider"), provider).unwrap();
        fs::write(entry.join("privlevel"), "").unwrap();
    }

    #[test]
    fn a_machine_without_devices_has_no_tee() {
        let directory = tempfile::TempDir::new().unwrap();
        assert_eq!(open(&places(directory.path())).unwrap().platform(), Platform::None);
    }

    #[test]
    fn sev_wins_over_tdx_and_both_over_a_tpm() {
        let directory = tempfile::TempDir::new().unwrap();
        let places = places(directory.path());
        fs::write(&places.tpm, "").unwrap();
        fs::write(&places.tdx_guest, "").unwrap();
        entry(&places, "tdx_guest\n");
        assert_eq!(open(&places).unwrap().platform(), Platform::Tdx);
        fs::write(&places.sev_guest, "").unwrap();
        entry(&places, "sev_guest\n");
        assert_eq!(open(&places).unwrap().platform(), Platform::SevSnp);
    }

    #[test]
    fn a_device_that_cannot_be_used_is_not_a_machine_without_one() {
        let directory = tempfile::TempDir::new().unwrap();
        let places = places(directory.path());
        fs::write(&places.tdx_guest, "").unwrap();
        entry(&places, "sev_guest\n");
        assert!(matches!(open(&places), Err(TeeError::Reports(_))), "reports of another platform");
        fs::remove_file(&places.tdx_guest).unwrap();
        fs::create_dir(&places.tpm).unwrap();
        assert!(matches!(open(&places), Err(TeeError::Device { .. })));
    }

    #[test]
    fn an_event_log_is_bounded() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("log");
        assert_eq!(log(&path).unwrap(), None);
        fs::write(&path, vec![1; EVENT_LOG_MAX_BYTES]).unwrap();
        assert_eq!(log(&path).unwrap().unwrap().len(), EVENT_LOG_MAX_BYTES);
        fs::write(&path, vec![1; EVENT_LOG_MAX_BYTES + 1]).unwrap();
        assert!(matches!(log(&path), Err(TeeError::TooLong { .. })));
    }
}
