//! What the registers mean: the event log behind them, replayed and judged. Rules P6 to P10.

use measurements::event_log::{Algorithm, Event, EventType, Log, Proof, Registers as Kind, proof};

use super::registers::{Bank, Registers};
use crate::{Refusal, Rule, account::is_firmwares_own, cursor::all_zero, policy::Line};

/// Largest event log read, in bytes.
const MAX_LOG_BYTES: usize = 1 << 20;
/// Registers that firmware and boot loader alone extend: each must be what the log makes of it.
const FIRMWARE_REGISTERS: [u8; 11] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11];
/// Where option ROMs are measured, and on Google's firmware what is started too.
const DRIVERS: u32 = 2;
/// Where firmware measures what it starts.
const APPLICATIONS: u32 = 4;
/// Where the kernel's EFI stub measures its options and an initial ramdisk.
const KERNEL_INPUT: u32 = 9;
/// Where systemd's stub measures the parts of a unified image: this image has none.
const UNIFIED_IMAGE: u8 = 11;
/// Where the appliance measures its deployment document.
const DOCUMENT: u8 = 12;
/// Options that firmware passes on its own account: none, and the mark of boot entries that EDK2 makes by itself
/// (`mBmAutoCreateBootOptionGuid`, 8108ac4e-9f11-4d59-850e-e21a522c59b2).
pub(crate) const HARMLESS_OPTIONS: [&[u8]; 2] =
    [&[], &[0x4e, 0xac, 0x08, 0x81, 0x11, 0x9f, 0x59, 0x4d, 0x85, 0x0e, 0xe2, 0x1a, 0x52, 0x2c, 0x59, 0xb2]];

/// Whose habits the firmware has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// Applications in PCR 4, as the profile says.
    Standard,
    /// Google's: applications in PCR 2, or in PCR 4 on older machines.
    Google,
}

/// What should have been booted.
#[derive(Debug, Clone, Copy)]
pub struct Boot<'a> {
    /// Authenticode digests of acceptable images, each with the quoted bank's algorithm.
    pub images: &'a [&'a [u8]],
    /// The deployment document's exact bytes.
    pub document: &'a [u8],
    /// Whose habits the firmware has.
    pub firmware: Firmware,
    /// Load options, beside none and EDK2's own mark, that firmware may have passed to the kernel, byte for byte. The
    /// image ignores them; they are listed so that nothing else can pass for them.
    pub load_options: &'a [&'a [u8]],
}

/// Which image should have been booted.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    /// Authenticode digests of acceptable images, each with the quoted bank's algorithm.
    pub digests: &'a [&'a [u8]],
    /// Whose habits the firmware has.
    pub firmware: Firmware,
    /// As in [`Boot`].
    pub load_options: &'a [&'a [u8]],
}

impl<'a> Boot<'a> {
    const fn image(&self) -> Image<'a> {
        Image { digests: self.images, firmware: self.firmware, load_options: self.load_options }
    }
}

/// Reads a log and replays it against the quoted registers: rule P6.
pub(super) fn replay<'a>(bytes: &'a [u8], banks: &[Bank], quoted: &Registers) -> Result<Log<'a>, Refusal> {
    Rule::P6.require(bytes.len() <= MAX_LOG_BYTES, "the event log is too large")?;
    let log = Log::parse(bytes).map_err(|error| Rule::P6.refuse(format!("the event log is malformed: {error}")))?;
    Rule::P6.require(log.registers() == Kind::Pcr, "the event log is not a TPM's")?;
    for event in &log.events {
        check_data(event)?;
    }
    for bank in banks {
        let algorithm = algorithm(*bank);
        Rule::P6.require(log.algorithms.contains(&algorithm), "the event log lacks a quoted bank")?;
        let replayed = log.replay(algorithm);
        for index in FIRMWARE_REGISTERS {
            let Some(value) = quoted.get(*bank, index) else { continue };
            let expected = replayed.iter().find(|register| register.index == u32::from(index));
            let equal = expected.map_or_else(|| all_zero(value), |register| register.value == value);
            if !equal {
                return Err(Rule::P6.refuse(format!("the event log does not replay to PCR {index} of {}", bank.name())));
            }
        }
    }
    Ok(log)
}

/// Events that are firmware's own account have to be able to be nothing else; otherwise a program could pass for one.
fn check_data(event: &Event<'_>) -> Result<(), Refusal> {
    let holds = match event.kind {
        EventType::SEPARATOR | EventType::EFI_ACTION | EventType::ACTION | EventType::EFI_GPT_EVENT => {
            is_firmwares_own(event)
        }
        EventType::EFI_VARIABLE_DRIVER_CONFIG => proof(event) != Proof::Nothing,
        _ => true,
    };
    let (kind, offset) = (event.kind.0, event.offset);
    if holds {
        Ok(())
    } else {
        Err(Rule::P6.refuse(format!("the event at {offset:#x} is not proven to be of its type {kind:#x}")))
    }
}

/// Digests of the drivers that a log says were started, in one bank.
pub(super) fn drivers(log: &Log<'_>, bank: Bank) -> Vec<Vec<u8>> {
    let started = log.events.iter().filter(|event| is_driver(event.kind));
    started.filter_map(|event| event.digest(algorithm(bank)).map(<[u8]>::to_vec)).collect()
}

const fn is_driver(kind: EventType) -> bool {
    matches!(kind, EventType::EFI_BOOT_SERVICES_DRIVER | EventType::EFI_RUNTIME_SERVICES_DRIVER)
}

/// Judges a replayed log in one bank: rules P7 to P10.
pub(super) fn judge(
    log: &Log<'_>,
    bank: Bank,
    quoted: &Registers,
    boot: &Boot<'_>,
    drivers_allowed: &Line<bool>,
) -> Result<(), Refusal> {
    judge_image(log, bank, quoted, &boot.image(), drivers_allowed)?;
    judge_document(log, bank, quoted, boot.document)
}

/// Judges what a replayed log says of the image, in one bank: rules P7 to P9.
pub(super) fn judge_image(
    log: &Log<'_>,
    bank: Bank,
    quoted: &Registers,
    image: &Image<'_>,
    drivers_allowed: &Line<bool>,
) -> Result<(), Refusal> {
    check_drivers(log, image, drivers_allowed)?;
    check_application(log, bank, image)?;
    check_kernel_input(log, bank, image)?;
    let zero = quoted.get(bank, UNIFIED_IMAGE).is_some_and(all_zero);
    Rule::P9.require(zero, "PCR 11 is not zero: parts of a unified image were measured")
}

/// Rule P7: programs are measured where this firmware measures them, and a driver is started only if the policy allows it.
///
/// The log of a driver says as little of where it came from as that of an application: firmware starts drivers of option ROMs,
/// and those that a variable registers, from any disk. Google's machines have no option ROMs, and its firmware measures
/// applications beside them, so that no policy allows drivers there.
fn check_drivers(log: &Log<'_>, image: &Image<'_>, allowed: &Line<bool>) -> Result<(), Refusal> {
    for event in &log.events {
        let (driver, register) = (is_driver(event.kind), event.register);
        let strayed = (driver && register != DRIVERS)
            || (event.kind == EventType::EFI_BOOT_SERVICES_APPLICATION && !matches!(register, DRIVERS | APPLICATIONS));
        if strayed {
            return Err(Rule::P7.refuse(format!("PCR {register} has an event of type {:#x}", event.kind.0)));
        }
        Rule::P7.require(!driver || image.firmware == Firmware::Standard, "a driver was started")?;
        allowed.forbid(Rule::P7, driver, "a driver was started")?;
    }
    Ok(())
}

/// Rule P7: exactly one application, and it is the image. Everything else in its register is firmware's own account.
fn check_application(log: &Log<'_>, bank: Bank, image: &Image<'_>) -> Result<(), Refusal> {
    let mut applications = 0;
    for event in log.events.iter().filter(|event| matches!(event.register, DRIVERS | APPLICATIONS)) {
        let allowed = match event.kind {
            EventType::NO_ACTION | EventType::SEPARATOR | EventType::EFI_ACTION => true,
            EventType::EFI_GPT_EVENT => event.register == DRIVERS,
            // Judged above.
            EventType::EFI_BOOT_SERVICES_DRIVER | EventType::EFI_RUNTIME_SERVICES_DRIVER => true,
            EventType::EFI_BOOT_SERVICES_APPLICATION => {
                applications += 1;
                let digest = event.digest(algorithm(bank)).unwrap_or_default();
                Rule::P7
                    .require(image.digests.contains(&digest), "a boot application was started that is not the image")?;
                event.register == APPLICATIONS || image.firmware == Firmware::Google
            }
            _ => false,
        };
        if !allowed {
            return Err(Rule::P7.refuse(format!("PCR {} has an event of type {:#x}", event.register, event.kind.0)));
        }
    }
    match applications {
        1 => Ok(()),
        0 => Err(Rule::P7.refuse("no boot application was started")),
        _ => Err(Rule::P7.refuse("more than one boot application was started")),
    }
}

/// Rule P8: PCR 9 has nothing but load options that mean nothing. The event's words are not covered by its digest, so the
/// digest itself has to be known: an initial ramdisk could call itself load options.
fn check_kernel_input(log: &Log<'_>, bank: Bank, image: &Image<'_>) -> Result<(), Refusal> {
    let algorithm = algorithm(bank);
    for event in log.events.iter().filter(|event| event.register == KERNEL_INPUT && event.kind != EventType::NO_ACTION)
    {
        let digest = event.digest(algorithm);
        let known = HARMLESS_OPTIONS
            .iter()
            .chain(image.load_options)
            .any(|options| algorithm.digest(&[options]).as_deref() == digest);
        Rule::P8.require(known, "PCR 9 has an event that may be an initial ramdisk")?;
    }
    Ok(())
}

/// Rule P10: PCR 12 is one extension, by the document's digest; firmware left it alone.
pub(super) fn judge_document(log: &Log<'_>, bank: Bank, quoted: &Registers, document: &[u8]) -> Result<(), Refusal> {
    let algorithm = algorithm(bank);
    let digest = algorithm.digest(&[document]).unwrap_or_default();
    let expected = algorithm.digest(&[&vec![0; bank.length()], &digest]);
    Rule::P10.require(
        quoted.get(bank, DOCUMENT) == expected.as_deref(),
        "PCR 12 is not the deployment document's digest alone",
    )?;
    let mut events =
        log.events.iter().filter(|event| event.register == u32::from(DOCUMENT) && event.kind != EventType::NO_ACTION);
    let first = events.next();
    let agrees =
        first.is_none_or(|event| event.digest(algorithm) == Some(digest.as_slice())) && events.next().is_none();
    Rule::P10.require(agrees, "the event log has other events in PCR 12")
}

const fn algorithm(bank: Bank) -> Algorithm {
    match bank {
        Bank::Sha1 => Algorithm::Sha1,
        Bank::Sha256 => Algorithm::Sha256,
        Bank::Sha384 => Algorithm::Sha384,
    }
}

/// Whether a log is the boot of what it says was started, with the registers that it replays to.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_judge(event_log: &[u8]) -> bool {
    let Ok(log) = Log::parse(event_log) else { return false };
    let mut banks = vec![Bank::Sha256, Bank::Sha384];
    banks.retain(|bank| log.algorithms.contains(&algorithm(*bank)));
    let mut quoted = Registers::new();
    for bank in &banks {
        (0..24).for_each(|index| quoted.set(*bank, index, &vec![0; bank.length()]));
        for register in log.replay(algorithm(*bank)) {
            u8::try_from(register.index).into_iter().for_each(|index| quoted.set(*bank, index, &register.value));
        }
    }
    let Ok(log) = replay(event_log, &banks, &quoted) else { return false };
    let line = Line { is: true, because: String::new() };
    banks.iter().any(|bank| {
        let started = log.events.iter().filter(|event| event.kind == EventType::EFI_BOOT_SERVICES_APPLICATION);
        let images: Vec<&[u8]> = started.filter_map(|event| event.digest(algorithm(*bank))).collect();
        [Firmware::Standard, Firmware::Google].into_iter().any(|firmware| {
            let boot = Boot { images: &images, document: b"document", firmware, load_options: &[] };
            let image = judge_image(&log, *bank, &quoted, &boot.image(), &line).is_ok();
            image | judge_document(&log, *bank, &quoted, boot.document).is_ok() | !drivers(&log, *bank).is_empty()
        })
    })
}
