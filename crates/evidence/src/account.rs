//! What firmware says on its own account, between the programs it starts.

use measurements::event_log::{Event, EventType, Proof, proof};

/// Longest action, in bytes: EDK II's longest has 48.
const MAX_ACTION_BYTES: usize = 128;
/// How the header of a GUID partition table begins (UEFI 2.10 §5.3.2).
const PARTITION_TABLE: &[u8] = b"EFI PART";

/// Whether an event can be nothing else than what its type says: a mark between phases, a line of text, a partition table.
///
/// No digest covers the type of an event, and that of a program is a plain hash of the parts of its file: a program that was
/// started could be listed as one of these, with those parts as its data. So the data have to hash to the digest **and** have
/// the form of their type, which no program has.
pub(crate) fn is_firmwares_own(event: &Event<'_>) -> bool {
    let formed = match event.kind {
        EventType::SEPARATOR => event.data.len() == 4,
        EventType::EFI_ACTION | EventType::ACTION => {
            event.data.len() <= MAX_ACTION_BYTES
                && event.data.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ')
        }
        EventType::EFI_GPT_EVENT => event.data.starts_with(PARTITION_TABLE),
        _ => false,
    };
    formed && proof(event) != Proof::Nothing
}

#[cfg(test)]
mod tests {
    use measurements::event_log::{Algorithm, Digest};

    use super::*;

    fn is(kind: EventType, data: &[u8], measured: &[u8]) -> bool {
        let digest = Algorithm::Sha256.digest(&[measured]).unwrap();
        let digests = vec![Digest { algorithm: Algorithm::Sha256, bytes: &digest }];
        is_firmwares_own(&Event { offset: 0, register: 4, kind, digests, data })
    }

    #[test]
    fn what_edk2_says_is_its_own() {
        for (kind, data) in [
            (EventType::SEPARATOR, &[0; 4][..]),
            (EventType::SEPARATOR, &[0xff; 4]),
            (EventType::EFI_ACTION, b"Calling EFI Application from Boot Option"),
            (EventType::EFI_ACTION, b"Exit Boot Services Returned with Success"),
            (EventType::EFI_GPT_EVENT, b"EFI PART\0\0\x01\0"),
        ] {
            assert!(is(kind, data, data), "{:#x}", kind.0);
            assert!(!is(kind, data, b"something else"), "{:#x}: the data do not hash to the digest", kind.0);
        }
    }

    #[test]
    fn a_program_that_hashes_to_its_digest_passes_for_none_of_them() {
        let program = [b"MZ".as_slice(), &[0; 62], b"PE\0\0\x64\x86"].concat();
        for kind in [EventType::SEPARATOR, EventType::EFI_ACTION, EventType::ACTION, EventType::EFI_GPT_EVENT] {
            assert!(!is(kind, &program, &program), "{:#x}", kind.0);
        }
        assert!(!is(EventType::EFI_BOOT_SERVICES_APPLICATION, &program, &program));
        let long = [b'a'; MAX_ACTION_BYTES + 1];
        assert!(!is(EventType::EFI_ACTION, &long, &long));
    }
}
