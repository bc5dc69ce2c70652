//! PCRs of machines that booted: the predicted ones are those that were read.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod support;

use measurements::authenticode::Digests;
use measurements::event_log::{Algorithm, Event, EventType, Log};
use measurements::firmware::variables::SecureBootKeys;
use measurements::partition_table::{self, DiskError};
use measurements::register::{Bank as _, Candidate, Expected, Prediction};
use measurements::tpm2::{Firmware, ImageEvent, image_event, pcr0, pcr2, pcr4, pcr7, pcr9, pcr11, pcr12};
use serde_json::Value;
use sha2::{Digest, Sha256, Sha384};

fn array<const N: usize>(value: &Value) -> [u8; N] {
    hex::decode(value.as_str().unwrap()).unwrap().try_into().unwrap()
}

fn digests(value: &Value) -> Digests {
    Digests { sha256: array(&value["sha256"]), sha384: array(&value["sha384"]) }
}

fn pcr(vector: &Value, banks: &str, index: &str) -> Digests {
    Digests { sha256: array(&vector[banks]["sha256"][index]), sha384: array(&vector[banks]["sha384"][index]) }
}

fn vector(id: &str) -> Option<(std::path::PathBuf, Value)> {
    let folder = support::corpus("vectors/measurement", "PCRs of booted machines were")?;
    let vectors = support::json(&folder.join("tpm/vectors.json"));
    let found = vectors["vectors"].as_array().unwrap().iter().find(|vector| vector["id"] == id).cloned();
    Some((folder, found.unwrap()))
}

fn candidates(prediction: Prediction<Digests>) -> Vec<Candidate<Digests>> {
    match prediction {
        Prediction::Values(candidates) => candidates,
        Prediction::Unpredictable { reason, .. } => panic!("{reason}"),
    }
}

fn value(prediction: Prediction<Digests>) -> Digests {
    let candidates = candidates(prediction);
    assert_eq!(candidates.len(), 1);
    candidates[0].value
}

fn image(pcr: u32, digest: Digests) -> ImageEvent {
    let event = Expected::with(EventType::EFI_BOOT_SERVICES_APPLICATION, "image", digest);
    ImageEvent { pcr, event }
}

/// A register of one candidate that is extended once more, by a kernel inside of the image.
fn then(prediction: Prediction<Digests>, digest: Digests) -> Digests {
    value(prediction).extended(&digest)
}

#[test]
fn pcr_4_of_real_firmware_comes_out_of_the_images_digest() {
    for id in ["pcr-emulated-uki-bookworm", "pcr-emulated-uki-sid"] {
        let Some((_, vector)) = vector(id) else { return };
        let (uki, kernel) = (&vector["digests"]["uki_authenticode"], &vector["digests"]["kernel_authenticode"]);
        let ours = then(pcr4(Firmware::Edk2, &image(4, digests(uki))), digests(kernel));
        assert_eq!(ours, pcr(&vector, "pcrs", "4"), "{id}");
        assert_ne!(then(pcr4(Firmware::Edk2, &image(4, digests(kernel))), digests(uki)), ours);
    }
}

#[test]
fn pcrs_2_and_7_of_real_firmware_without_keys_come_out() {
    for (id, build) in [("pcr-emulated-uki-bookworm", 1), ("pcr-emulated-uki-sid", 0)] {
        let Some((_, vector)) = vector(id) else { return };
        let image = image(4, Digests::ZERO);
        assert_eq!(value(pcr2(Firmware::Edk2, &image, None)), pcr(&vector, "pcrs", "2"), "{id}");
        let seven = candidates(pcr7(Some(SecureBootKeys::None)));
        assert_eq!(seven[build].value, pcr(&vector, "pcrs", "7"), "{id}");
        assert_ne!(seven[1 - build].value, seven[build].value);
    }
}

/// The first two thousand sectors of a disk whose partition table was logged.
fn disk_of(event: &Event<'_>) -> Vec<u8> {
    let mut disk = vec![0; 1 << 20];
    support::put(&mut disk, 512, &event.data[..92]);
    let first = usize::try_from(u64::from_le_bytes(event.data[72..80].try_into().unwrap())).unwrap();
    // Unused entries between used ones are not logged.
    support::put(&mut disk, first * 512 + 128, &event.data[100..]);
    disk
}

#[test]
fn googles_firmware_has_partition_table_and_image_in_pcr_2() {
    let Some((folder, vector)) = vector("pcr-gcp-uki") else { return };
    let bytes = std::fs::read(folder.join(vector["file"]["path"].as_str().unwrap())).unwrap();
    let log = Log::parse(&bytes).unwrap();
    let in_pcr2: Vec<_> = log.events.iter().filter(|event| event.register == 2).collect();
    let logged = |event: &Event<'_>| Digests {
        sha256: event.digest(Algorithm::Sha256).unwrap().try_into().unwrap(),
        sha384: event.digest(Algorithm::Sha384).unwrap().try_into().unwrap(),
    };
    let [_, table, uki, kernel] = in_pcr2[..] else { panic!("{}", in_pcr2.len()) };
    let event = partition_table::event::<Digests>(&disk_of(table)).unwrap();
    assert_eq!(event.digest, logged(table));
    let uki = image(2, logged(uki));
    let two = then(pcr2(Firmware::Google, &uki, Some(event)), logged(kernel));
    assert_eq!(two, pcr(&vector, "expected", "2"));
    assert_eq!(value(pcr4(Firmware::Google, &uki)), pcr(&vector, "expected", "4"));
    assert!(matches!(pcr2(Firmware::Google, &uki, None), Prediction::Unpredictable { .. }));
}

#[test]
fn partition_tables_of_real_boots_have_the_logged_digests() {
    let Some(folder) = support::corpus("vectors/measurement", "partition tables were") else { return };
    let vectors = support::json(&folder.join("tpm/vectors.json"));
    let mut compared = 0;
    for vector in vectors["vectors"].as_array().unwrap() {
        let file = vector["file"]["path"].as_str().or(vector["files"]["eventlog"]["path"].as_str()).unwrap();
        let Ok(bytes) = std::fs::read(folder.join(file)) else { continue };
        let Ok(log) = Log::parse(&bytes) else { continue };
        for event in log.events.iter().filter(|event| event.kind == EventType::EFI_GPT_EVENT) {
            if event.data[80..88] != [128, 0, 0, 0, 128, 0, 0, 0] {
                continue;
            }
            let ours = partition_table::event::<Digests>(&disk_of(event)).unwrap();
            if let Some(logged) = event.digest(Algorithm::Sha256) {
                assert_eq!(ours.digest.sha256, logged, "{file}");
                compared += 1;
            }
        }
    }
    assert!(compared >= 8, "{compared}");
}

fn disk() -> Vec<u8> {
    let mut disk = vec![0; 64 * 512];
    support::put(&mut disk, 512, b"EFI PART");
    support::put32(&mut disk, 512 + 72, 2);
    support::put32(&mut disk, 512 + 80, 128);
    support::put32(&mut disk, 512 + 84, 128);
    support::put(&mut disk, 1024, &[9; 128]);
    disk
}

#[test]
fn lying_partition_tables_are_refused() {
    let refused = |change: fn(&mut Vec<u8>)| {
        let mut disk = disk();
        assert!(partition_table::event::<Digests>(&disk).is_ok());
        change(&mut disk);
        partition_table::event::<Digests>(&disk).unwrap_err()
    };
    let entries = "entries of the partition table";
    let value = |what, offset, value| DiskError::Value { what, offset, value };
    assert_eq!(refused(|disk| disk[512] = 0), DiskError::Magic { offset: 512 });
    assert_eq!(
        refused(|disk| disk.truncate(600)),
        DiskError::Truncated { what: "header of the partition table", offset: 512 }
    );
    assert_eq!(refused(|disk| disk.truncate(2048)), DiskError::Truncated { what: entries, offset: 1024 });
    assert_eq!(refused(|disk| support::put32(disk, 512 + 80, 1025)), value("number of entries", 592, 1025));
    assert_eq!(refused(|disk| support::put32(disk, 512 + 84, 64)), value("size of an entry", 596, 64));
    for place in [0, 1, u64::MAX, 1 << 60] {
        let mut disk = disk();
        support::put(&mut disk, 512 + 72, &place.to_le_bytes());
        assert!(partition_table::event::<Digests>(&disk).is_err(), "{place}");
    }
}

#[test]
fn document_extends_pcr_12_once_in_each_bank() {
    let document = b"[model]\nname = \"m\"\n";
    let sha256 = Sha256::new().chain_update([0; 32]).chain_update(Sha256::digest(document)).finalize();
    let sha384 = Sha384::new().chain_update([0; 48]).chain_update(Sha384::digest(document)).finalize();
    let ours = value(pcr12(Some(document)));
    assert_eq!((ours.sha256, ours.sha384), (sha256.into(), sha384.into()));
    assert_ne!(value(pcr12(Some(b"[model]\nname = \"n\"\n"))), ours);
    assert_eq!(value(pcr12(None)), Digests::ZERO);
}

#[test]
fn registers_that_nothing_extends_are_zero() {
    assert_eq!(value(pcr9()), Digests::ZERO);
    assert_eq!(value(pcr11()), Digests::ZERO);
}

#[test]
fn what_the_inputs_do_not_decide_is_not_guessed() {
    for prediction in [pcr0(), pcr7(None), pcr7(Some(SecureBootKeys::Enrolled))] {
        let Prediction::Unpredictable { reason, judge, .. } = prediction else { panic!("{prediction:?}") };
        assert!(!reason.is_empty() && !judge.is_empty());
    }
}

#[test]
fn one_changed_byte_of_the_image_changes_pcr_4_and_no_other() {
    let Some(folder) = support::corpus("vectors/measurement", "PCRs of an image were") else { return };
    let mut file = std::fs::read(folder.join("uki/a.efi")).unwrap();
    let before = image_event(Firmware::Edk2, &file).unwrap();
    *file.last_mut().unwrap() ^= 1;
    let after = image_event(Firmware::Edk2, &file).unwrap();
    assert_ne!(value(pcr4(Firmware::Edk2, &before)), value(pcr4(Firmware::Edk2, &after)));
    assert_eq!(value(pcr4(Firmware::Google, &before)), value(pcr4(Firmware::Google, &after)));
    assert_eq!((before.pcr, image_event(Firmware::Google, &file).unwrap().pcr), (4, 2));
}

#[test]
fn digests_of_images_are_those_of_an_implementation_that_reproduces_firmware() {
    let Some(folder) = support::corpus("vectors/measurement", "digests of images were") else { return };
    let vectors = support::json(&folder.join("tpm/vectors.json"));
    let mut compared = 0;
    for vector in vectors["vectors"].as_array().unwrap() {
        let expected = &vector["expected"]["authenticode"];
        if expected.is_null() {
            continue;
        }
        let file = std::fs::read(folder.join(vector["file"]["path"].as_str().unwrap())).unwrap();
        let ours = image_event(Firmware::Edk2, &file).unwrap().event.digest;
        assert_eq!(hex::encode(ours.sha256), expected["sha256"].as_str().unwrap(), "{}", vector["id"]);
        assert_eq!(hex::encode(ours.sha384), expected["sha384"].as_str().unwrap(), "{}", vector["id"]);
        compared += 1;
    }
    assert_eq!(compared, 4);
}
