//! The firmware's event log (CCEL) behind the runtime registers: replayed (T9), and judged (T9, T14, T15).

use measurements::event_log::{Algorithm, Event, EventType, Log, Proof, Registers, proof};

use super::Verified;
use crate::{Refusal, Rule, account::is_firmwares_own, cursor::all_zero, tpm::HARMLESS_OPTIONS};

/// Largest event log read, in bytes.
const MAX_LOG_BYTES: usize = 1 << 20;
/// Number of RTMR0 in a log, where firmware measures the machine as its host describes it; 0 is MRTD.
const MACHINE: u32 = 1;
/// Number of RTMR1, where firmware measures what it starts.
const APPLICATIONS: u32 = 2;
/// Number of RTMR2, where the kernel's EFI stub measures its options and an initial ramdisk.
const KERNEL_INPUT: u32 = 3;
/// RTMR0 to RTMR2 are what the log makes of them, or zero; RTMR3 belongs to the guest, whose extensions the firmware's log
/// lacks, and is compared only if the log speaks of it.
const FIRMWARE_REGISTERS: usize = 3;

impl Verified {
    /// Replays an event log against the runtime registers of this quote: RTMR0 to RTMR2, and RTMR3 if the log has events for it.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under T9 for a log that is malformed, or leads to other registers.
    pub fn replay(&self, event_log: &[u8]) -> Result<(), Refusal> {
        replay(event_log, self.rtmr()).map(drop)
    }

    /// Judges what was booted: the log replays, RTMR1 has exactly one application, whose Authenticode SHA-384 is one of
    /// these, RTMR2 no initial ramdisk, RTMR3 is zero, and RTMR0 has no event of a kind that is unknown there. It means
    /// something where MRTD is firmware that measures.
    ///
    /// What RTMR0's events say of memory and ACPI tables is the host's: of these their kind is judged and no more. Whether
    /// the tables are good ones only a known value of RTMR0 says, see [`Verified::machine`].
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under T9, T14 or T15.
    pub fn judge_image(&self, event_log: &[u8], digests: &[&[u8]]) -> Result<(), Refusal> {
        judge_image(&replay(event_log, self.rtmr())?, self.rtmr(), digests)
    }
}

fn judge_image(log: &Log<'_>, [.., rtmr3]: &[[u8; 48]; 4], digests: &[&[u8]]) -> Result<(), Refusal> {
    Rule::T14.require(all_zero(rtmr3), "RTMR3 was extended, which the image never does")?;
    let mut applications = 0;
    for event in log.events.iter().filter(|event| event.kind != EventType::NO_ACTION) {
        match event.register {
            APPLICATIONS => applications += usize::from(check_application(event, digests)?),
            KERNEL_INPUT => check_kernel_input(event)?,
            MACHINE => check_machine(event)?,
            _ => return Err(Rule::T14.refuse("the event log has an event of RTMR3")),
        }
    }
    match applications {
        1 => Ok(()),
        0 => Err(Rule::T9.refuse("no boot application was started")),
        _ => Err(Rule::T9.refuse("more than one boot application was started")),
    }
}

/// Rule T15: an event of RTMR0 is of a kind that firmware is known to measure there. Variables and separators are their own
/// proof, and have to be; for memory, ACPI tables and the like the digest is all there is.
fn check_machine(event: &Event<'_>) -> Result<(), Refusal> {
    let holds = match event.kind {
        EventType::SEPARATOR => is_firmwares_own(event),
        EventType::EFI_VARIABLE_DRIVER_CONFIG
        | EventType::EFI_VARIABLE_BOOT
        | EventType::EFI_VARIABLE_BOOT2
        | EventType::EFI_VARIABLE_AUTHORITY => proof(event) != Proof::Nothing,
        // The TD HOB and SMBIOS; the volume of variables; ACPI tables.
        EventType::EFI_HANDOFF_TABLES
        | EventType::EFI_HANDOFF_TABLES2
        | EventType::EFI_PLATFORM_FIRMWARE_BLOB
        | EventType::EFI_PLATFORM_FIRMWARE_BLOB2
        | EventType::PLATFORM_CONFIG_FLAGS => true,
        other => return Err(Rule::T15.refuse(format!("RTMR0 has an event of type {:#x}", other.0))),
    };
    Rule::T15.require(holds, "an event of RTMR0 is not proven to be of its type")
}

/// Whether an event of RTMR1 is the start of the image; anything but firmware's own account is refused. Option ROMs would be
/// the host's, so that no driver is allowed.
fn check_application(event: &Event<'_>, digests: &[&[u8]]) -> Result<bool, Refusal> {
    match event.kind {
        EventType::SEPARATOR | EventType::EFI_ACTION | EventType::EFI_GPT_EVENT => {
            let own = is_firmwares_own(event);
            Rule::T9.require(own, "an event of RTMR1 is not proven to be of its type").map(|()| false)
        }
        EventType::EFI_BOOT_SERVICES_APPLICATION => {
            let digest = event.digest(Algorithm::Sha384).unwrap_or_default();
            Rule::T9.require(digests.contains(&digest), "a boot application was started that is not the image")?;
            Ok(true)
        }
        other => Err(Rule::T9.refuse(format!("RTMR1 has an event of type {:#x}", other.0))),
    }
}

fn check_kernel_input(event: &Event<'_>) -> Result<(), Refusal> {
    let digest = event.digest(Algorithm::Sha384);
    let mut harmless = HARMLESS_OPTIONS.iter();
    let known = harmless.any(|options| Algorithm::Sha384.digest(&[options]).as_deref() == digest);
    Rule::T9.require(known, "RTMR2 has an event that may be an initial ramdisk")
}

fn replay<'a>(event_log: &'a [u8], quoted: &[[u8; 48]; 4]) -> Result<Log<'a>, Refusal> {
    Rule::T9.require(event_log.len() <= MAX_LOG_BYTES, "the event log is too large")?;
    let log = Log::parse(event_log).map_err(|error| Rule::T9.refuse(format!("the event log is malformed: {error}")))?;
    Rule::T9.require(log.registers() == Registers::Rtmr, "the event log is not one of TDX")?;
    let replayed = log.replay(Algorithm::Sha384);
    for ((place, value), index) in quoted.iter().enumerate().zip(MACHINE..) {
        let holds = match replayed.iter().find(|register| register.index == index) {
            Some(register) => register.value == value,
            None => place >= FIRMWARE_REGISTERS || all_zero(value),
        };
        if !holds {
            return Err(Rule::T9.refuse(format!("the event log does not replay to RTMR{place}")));
        }
    }
    let known = replayed.iter().all(|register| (MACHINE..=MACHINE + 3).contains(&register.index));
    Rule::T9.require(known, "the event log speaks of registers that a quote does not have")?;
    Ok(log)
}

/// Whether a log is the boot of what it says was started, with the registers that it replays to.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_judge(event_log: &[u8]) -> bool {
    let Ok(log) = Log::parse(event_log) else { return false };
    let mut quoted = [[0; 48]; 4];
    for (index, value) in (MACHINE..).zip(&mut quoted) {
        let replayed = log.replay(Algorithm::Sha384).into_iter().find(|register| register.index == index);
        replayed.and_then(|register| register.value.try_into().ok()).into_iter().for_each(|bytes| *value = bytes);
    }
    let Ok(log) = replay(event_log, &quoted) else { return false };
    let started = log.events.iter().filter(|event| event.kind == EventType::EFI_BOOT_SERVICES_APPLICATION);
    let images: Vec<&[u8]> = started.filter_map(|event| event.digest(Algorithm::Sha384)).collect();
    judge_image(&log, &quoted, &images).is_ok()
}

#[cfg(test)]
mod tests {
    use measurements::event_log::{Digest, Format};

    use super::*;

    const IMAGE: [u8; 48] = [0x11; 48];

    /// Register, type, what is measured, whether the data beside it is that.
    type Told = (u32, EventType, Vec<u8>, bool);

    fn event(told: &Told, place: usize) -> (Event<'_>, Vec<u8>) {
        let (register, kind, measured, honest) = told;
        // An application's digest is not that of its data.
        let digest = if *kind == EventType::EFI_BOOT_SERVICES_APPLICATION {
            measured.clone()
        } else {
            Algorithm::Sha384.digest(&[measured]).expect("a digest")
        };
        let data: &[u8] = if *honest { measured } else { b"something else" };
        (Event { offset: place as u64, register: *register, kind: *kind, digests: Vec::new(), data }, digest)
    }

    fn judged(events: &[Told]) -> Result<(), Refusal> {
        judged_with(events, [0; 48])
    }

    fn judged_with(events: &[Told], rtmr3: [u8; 48]) -> Result<(), Refusal> {
        let pairs: Vec<_> = events.iter().enumerate().map(|(place, told)| event(told, place)).collect();
        let events = pairs.iter().map(|(event, digest)| Event {
            digests: vec![Digest { algorithm: Algorithm::Sha384, bytes: digest }],
            ..event.clone()
        });
        let log =
            Log { format: Format::CryptoAgile, algorithms: vec![Algorithm::Sha384], events: events.collect(), end: 0 };
        judge_image(&log, &[[1; 48], [2; 48], [3; 48], rtmr3], &[&[0; 48], &IMAGE])
    }

    fn good() -> Vec<Told> {
        vec![
            (MACHINE, EventType::EFI_HANDOFF_TABLES2, b"TD HOB".to_vec(), false),
            (MACHINE, EventType::EFI_PLATFORM_FIRMWARE_BLOB2, b"volume of variables".to_vec(), false),
            (MACHINE, EventType::EFI_VARIABLE_DRIVER_CONFIG, b"Secure Boot".to_vec(), true),
            (MACHINE, EventType::SEPARATOR, vec![0; 4], true),
            (MACHINE, EventType::PLATFORM_CONFIG_FLAGS, b"ACPI tables".to_vec(), false),
            (MACHINE, EventType::EFI_VARIABLE_BOOT, b"boot order".to_vec(), true),
            (APPLICATIONS, EventType::EFI_ACTION, b"Calling EFI Application from Boot Option".to_vec(), true),
            (APPLICATIONS, EventType::SEPARATOR, vec![0; 4], true),
            (APPLICATIONS, EventType::EFI_BOOT_SERVICES_APPLICATION, IMAGE.to_vec(), true),
            (KERNEL_INPUT, EventType::EVENT_TAG, Vec::new(), false),
        ]
    }

    #[test]
    fn one_application_that_is_the_image_is_accepted() {
        assert_eq!(judged(&good()), Ok(()));
    }

    #[test]
    fn no_other_or_another_application_is_refused() {
        let with = |change: &dyn Fn(&mut Vec<Told>)| {
            let mut events = good();
            change(&mut events);
            judged(&events).expect_err("it is refused").rule()
        };
        let application = |digest| (APPLICATIONS, EventType::EFI_BOOT_SERVICES_APPLICATION, digest, true);
        for change in [
            &(|events: &mut Vec<Told>| events.retain(|told| told.1 != EventType::EFI_BOOT_SERVICES_APPLICATION))
                as &dyn Fn(&mut Vec<Told>),
            &|events| events.push(application(IMAGE.to_vec())),
            &|events| events.push(application(vec![0x22; 48])),
            // An option ROM, and an application that the log calls a separator.
            &|events| events.push((APPLICATIONS, EventType::EFI_BOOT_SERVICES_DRIVER, b"ROM".to_vec(), true)),
            &|events| events.push((APPLICATIONS, EventType::SEPARATOR, b"an application".to_vec(), false)),
            // One that was measured and whose file stands beside it, under another name.
            &|events| events.push((APPLICATIONS, EventType::SEPARATOR, b"MZ and so on".to_vec(), true)),
            &|events| events.push((APPLICATIONS, EventType::EFI_ACTION, b"MZ\0and so on".to_vec(), true)),
            &|events| events.push((APPLICATIONS, EventType::EFI_GPT_EVENT, b"MZ and so on".to_vec(), true)),
            // An initial ramdisk, whatever the log calls it.
            &|events| events.push((KERNEL_INPUT, EventType::EVENT_TAG, b"a ramdisk".to_vec(), false)),
        ] {
            assert_eq!(with(change), Rule::T9);
        }
    }

    #[test]
    fn t14_whoever_extends_rtmr3_is_not_the_image() {
        assert_eq!(judged_with(&good(), [1; 48]).expect_err("extended").rule(), Rule::T14);
        let mut told = good();
        told.push((MACHINE + 3, EventType::IPL, b"an application".to_vec(), true));
        assert_eq!(judged(&told).expect_err("an event").rule(), Rule::T14);
    }

    #[test]
    fn t15_rtmr0_has_known_kinds_of_events_alone() {
        for (kind, honest) in [
            (EventType::EFI_BOOT_SERVICES_APPLICATION, true),
            (EventType::EFI_BOOT_SERVICES_DRIVER, true),
            (EventType::EFI_RUNTIME_SERVICES_DRIVER, true),
            (EventType::IPL, true),
            (EventType::EVENT_TAG, true),
            (EventType::EFI_ACTION, true),
            (EventType(0x8000_00ff), true),
            // Kinds that are known, with data that are not what was measured.
            (EventType::SEPARATOR, false),
            (EventType::EFI_VARIABLE_DRIVER_CONFIG, false),
            (EventType::EFI_VARIABLE_BOOT, false),
            (EventType::EFI_VARIABLE_AUTHORITY, false),
        ] {
            let mut told = good();
            told.insert(3, (MACHINE, kind, b"MZ and so on".to_vec(), honest));
            assert_eq!(judged(&told).expect_err("it is refused").rule(), Rule::T15, "{:#x}", kind.0);
        }
    }
}
