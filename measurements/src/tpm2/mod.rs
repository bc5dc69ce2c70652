//! The PCRs of a TPM 2.0 after `lethe.efi` was booted from a disk, in the banks of SHA-256 and SHA-384.
//!
//! PCRs 4, 9, 11 and 12 say what runs and are predicted from the image and the document. PCRs 0, 2 and 7 belong to the
//! firmware and the machine; they are predicted where that is possible.

use crate::authenticode::Digests;
use crate::boot_events::{SecureBoot, application, calling_option, secure_boot_without_keys, separator};
use crate::event_log::EventType;
use crate::firmware::variables::SecureBootKeys;
use crate::pe::PeError;
use crate::register::{Bank as _, Candidate, Expected, Prediction};

/// Whose firmware logs the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Firmware {
    /// EDK II's OVMF and most others: the image goes into PCR 4.
    Edk2,
    /// Google Compute Engine's: partition table and image go into PCR 2.
    Google,
}

/// A PCR in both banks.
pub type Pcr = Prediction<Digests>;

/// The one event that a verifier has to find, once and in this register: the boot of `lethe.efi`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageEvent {
    /// The PCR it is in.
    pub pcr: u32,
    /// The event.
    pub event: Expected<Digests>,
}

/// The event of the image's boot.
///
/// # Errors
/// [`PeError`] for a file that is no PE image with a well-defined digest.
pub fn image_event(firmware: Firmware, efi: &[u8]) -> Result<ImageEvent, PeError> {
    let pcr = match firmware {
        Firmware::Edk2 => 4,
        Firmware::Google => 2,
    };
    Ok(ImageEvent { pcr, event: application("\\EFI\\BOOT\\BOOTX64.EFI", Digests::of_pe(efi)?) })
}

/// PCR 4, if the image is the first boot option that is tried: each failed one before it adds its own events.
#[must_use]
pub fn pcr4(firmware: Firmware, image: &ImageEvent) -> Pcr {
    let mut events = vec![calling_option(), separator()];
    if firmware == Firmware::Edk2 {
        events.push(image.event.clone());
    }
    Prediction::Values(vec![Candidate::of("the image is the first boot option that is tried", events)])
}

/// PCR 2: drivers from outside of the firmware. `partition_table` is the event of the disk, which Google's firmware logs
/// here ([`crate::partition_table::event`]).
#[must_use]
pub fn pcr2(firmware: Firmware, image: &ImageEvent, partition_table: Option<Expected<Digests>>) -> Pcr {
    let when = "no device brings a driver of its own (an option ROM)";
    match (firmware, partition_table) {
        (Firmware::Edk2, _) => Prediction::Values(vec![Candidate::of(when, vec![separator()])]),
        (Firmware::Google, Some(table)) => {
            let events = vec![separator(), table, image.event.clone()];
            Prediction::Values(vec![Candidate::of(when, events)])
        }
        (Firmware::Google, None) => Prediction::Unpredictable {
            reason: "Google's firmware measures the disk's partition table here, and the disk is not given".to_owned(),
            judge:
                "replay the log to the quoted PCR 2 and require exactly one boot application, with the digest listed"
                    .to_owned(),
            events: vec![image.event.clone()],
        },
    }
}

/// PCR 0: the firmware itself.
#[must_use]
pub fn pcr0() -> Pcr {
    Prediction::Unpredictable {
        reason: "firmware measures its version and its volumes as they lie unpacked in memory, which its file does not show"
            .to_owned(),
        judge: "compare with PCR 0 of a machine you started yourself with the same firmware; on a cloud it is the provider's \
                firmware, and the provider's word"
            .to_owned(),
        events: vec![separator()],
    }
}

/// PCR 7: Secure Boot. `keys` is what the variable store says that the machine starts with.
#[must_use]
pub fn pcr7(keys: Option<SecureBootKeys>) -> Pcr {
    let reason = match keys {
        Some(SecureBootKeys::None) => {
            let builds = [
                (SecureBoot::Absent, "the firmware was built without Secure Boot"),
                (SecureBoot::Off, "the firmware was built with Secure Boot, which is off"),
            ];
            let candidate = |(build, when)| Candidate::of(when, secure_boot_without_keys(build));
            return Prediction::Values(builds.map(candidate).to_vec());
        }
        Some(SecureBootKeys::Enrolled) => {
            "keys of Secure Boot are enrolled, and which of them allow the image decides the value"
        }
        None => "the variables that the machine starts with are not given",
    };
    Prediction::Unpredictable {
        reason: reason.to_owned(),
        judge: "Secure Boot is not what proves the image: the one event of its boot is; read the variables in the log if you \
                care who else could have booted here"
            .to_owned(),
        events: Vec::new(),
    }
}

/// PCR 9: load options and initial RAM disks, of which there are none.
#[must_use]
pub fn pcr9() -> Pcr {
    Prediction::Values(vec![Candidate::of("the boot option has no load options", Vec::new())])
}

/// PCR 11: kept for systemd's boot stub, which is not there.
#[must_use]
pub fn pcr11() -> Pcr {
    Prediction::always(Vec::new())
}

/// PCR 12: the deployment document, extended by the image before it reads it; zero where it is bound in another way.
#[must_use]
pub fn pcr12(document: Option<&[u8]>) -> Pcr {
    let Some(document) = document else {
        let when = "the document is not bound by PCR 12, but by the image or another register";
        return Prediction::Values(vec![Candidate::of(when, Vec::new())]);
    };
    let digest = Digests { sha256: deployment::digest_sha256(document), sha384: deployment::digest_sha384(document) };
    let event = Expected::with(EventType::EVENT_TAG, "the deployment document, by the image itself", digest);
    Prediction::Values(vec![Candidate::of("the image is bound to this document by PCR 12", vec![event])])
}
