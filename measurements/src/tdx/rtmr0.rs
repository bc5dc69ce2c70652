//! RTMR0: the machine as the host describes it: memory, variables, ACPI tables, boot options.

use sha2::{Digest, Sha384};

use super::{Boot, Edk2, Memory, Rtmr, TdxError, td_hob_digest};
use crate::boot_events::{SecureBoot, only_setup_program, secure_boot_without_keys};
use crate::event_log::EventType;
use crate::firmware::tdx::{Layout, SectionKind};
use crate::firmware::variables::{SecureBootKeys, secure_boot_keys};
use crate::register::{Candidate, Expected, Prediction};

const JUDGE: &str = "replay the log to the quoted RTMR0 and judge its events one by one: the first ones must be those listed, \
                     Secure Boot's variables must be the ones you know, ACPI tables and boot options are the host's and \
                     prove nothing; an image that keeps its own rules against hostile ACPI tables needs no more";

/// The digests of what QEMU hands to firmware for ACPI: the contents of three fw_cfg files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcpiTables {
    /// SHA-384 of `etc/table-loader`.
    pub loader: Rtmr,
    /// SHA-384 of `etc/acpi/rsdp`.
    pub rsdp: Rtmr,
    /// SHA-384 of `etc/acpi/tables`.
    pub tables: Rtmr,
}

impl AcpiTables {
    /// From the files.
    #[must_use]
    pub fn of(loader: &[u8], rsdp: &[u8], tables: &[u8]) -> Self {
        let [loader, rsdp, tables] = [loader, rsdp, tables].map(|file| Sha384::digest(file).into());
        Self { loader, rsdp, tables }
    }

    fn events(&self) -> [Expected<Rtmr>; 3] {
        [("table loader", self.loader), ("RSDP", self.rsdp), ("tables", self.tables)].map(|(name, digest)| {
            Expected::with(EventType::PLATFORM_CONFIG_FLAGS, format!("ACPI {name} from the host"), digest)
        })
    }
}

/// RTMR0 of QEMU with OVMF.
///
/// It is computed where everything in it is an input: memory and ACPI tables given, a kernel handed over by QEMU, firmware
/// before EDK II 2025.05 (later ones measure SMBIOS tables too), no Secure Boot keys in the firmware.
///
/// # Errors
/// [`TdxError`] for a memory that the firmware cannot run in.
pub fn rtmr0(
    layout: &Layout<'_>,
    memory: Option<Memory>,
    acpi: Option<&AcpiTables>,
    boot: Option<&Boot<'_>>,
    edk2: Option<Edk2>,
) -> Result<Prediction<Rtmr>, TdxError> {
    let events = first_events(layout, memory)?;
    let reason = match (memory, acpi, boot, edk2) {
        (None, ..) => "the memory of the machine is not given",
        (_, _, None, _) => "no kernel is given, so that the boot options are not known",
        (_, _, Some(Boot::Disk { .. }), _) => "the boot options name the machine's devices, which are not an input",
        (_, None, ..) => "the ACPI tables that QEMU makes are not given",
        (.., None) => "the EDK II release of the firmware is not given: later ones measure more",
        (.., Some(edk2)) if edk2.is_reworked() => "EDK II since 2025.05 measures SMBIOS tables, which are not an input",
        _ => match layout.section(SectionKind::Variables).map(|section| secure_boot_keys(section.data)) {
            Some(Ok(SecureBootKeys::None)) => return Ok(computed(&events, acpi)),
            Some(Ok(SecureBootKeys::Enrolled)) => {
                "the firmware carries Secure Boot keys, and how they are used is its own choice"
            }
            Some(Err(_)) | None => "the firmware carries no store of variables that can be read",
        },
    };
    Ok(Prediction::Unpredictable { reason: reason.to_owned(), judge: JUDGE.to_owned(), events })
}

/// What every boot of this firmware on this machine starts with.
fn first_events(layout: &Layout<'_>, memory: Option<Memory>) -> Result<Vec<Expected<Rtmr>>, TdxError> {
    let mut events = Vec::new();
    if let Some(memory) = memory {
        let digest = td_hob_digest(layout, memory)?;
        events.push(Expected::with(EventType::EFI_HANDOFF_TABLES2, "the machine's memory (TD HOB)", digest));
    }
    if let Some(section) = layout.section(SectionKind::Variables) {
        events.push(Expected::of(
            EventType::EFI_PLATFORM_FIRMWARE_BLOB2,
            "the firmware's variables (CFV)",
            section.data,
        ));
    }
    Ok(events)
}

fn computed(first: &[Expected<Rtmr>], acpi: Option<&AcpiTables>) -> Prediction<Rtmr> {
    let builds = [
        (SecureBoot::Absent, "the firmware was built without Secure Boot"),
        (SecureBoot::Off, "the firmware was built with Secure Boot, which is off"),
    ];
    let candidate = |(secure_boot, when): (SecureBoot, &str)| {
        let mut events = first.to_vec();
        events.extend(secure_boot_without_keys(secure_boot));
        events.extend(acpi.into_iter().flat_map(AcpiTables::events));
        events.extend(only_setup_program());
        Candidate::of(when, events)
    };
    Prediction::Values(builds.map(candidate).to_vec())
}
