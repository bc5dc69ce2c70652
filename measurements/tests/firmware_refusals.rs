//! Firmware images that lie: each is refused with the place of the lie.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod support;

use measurements::firmware::sev::Layout;
use measurements::firmware::{Firmware, FirmwareError};
use support::{FOOTER, IMAGE, Image, METADATA, put, put32};

/// Offset of the first section descriptor.
const SECTIONS: usize = METADATA + 16;

fn refusal_of(image: &[u8]) -> FirmwareError {
    Firmware::parse(image).and_then(|firmware| Layout::read(&firmware)).unwrap_err()
}

fn refusal(change: impl FnOnce(&mut Vec<u8>)) -> FirmwareError {
    let mut image = Image::with_kernel_hashes().build();
    assert!(Layout::read(&Firmware::parse(&image).unwrap()).is_ok());
    change(&mut image);
    refusal_of(&image)
}

fn described(change: impl FnOnce(&mut Image)) -> FirmwareError {
    let mut image = Image::with_kernel_hashes();
    change(&mut image);
    refusal_of(&image.build())
}

#[test]
fn lengths_that_are_no_image_are_refused() {
    for length in [0, 1, 4095, 4097, (16 << 20) + 4096] {
        let length_said = length as u64;
        assert_eq!(refusal(|image| image.resize(length, 0)), FirmwareError::Length { length: length_said });
    }
}

#[test]
fn image_without_table_is_refused() {
    let footer = FOOTER as u64;
    assert_eq!(refusal(|image| put(image, FOOTER + 2, &[0; 16])), FirmwareError::NoTable { offset: footer });
    assert_eq!(refusal(|image| image.fill(0)), FirmwareError::NoTable { offset: footer });
}

#[test]
fn lying_table_lengths_are_refused() {
    for length in [0_u16, 17, 0xffff] {
        assert_eq!(
            refusal(|image| put(image, FOOTER, &length.to_le_bytes())),
            FirmwareError::Size { what: "GUID table", offset: FOOTER as u64, length: length.into() }
        );
    }
    // Five bytes more than the entries: they are no entry.
    let entries = FOOTER - 22 - 26 - 22;
    let error = refusal(|image| put(image, FOOTER, &(18 + 70 + 5_u16).to_le_bytes()));
    let what = "entry of the GUID table";
    assert_eq!(error, FirmwareError::Size { what, offset: entries as u64 - 18, length: 5 });
}

#[test]
fn lying_entry_lengths_are_refused() {
    for length in [0_u16, 17, 0x1000] {
        assert_eq!(
            refusal(|image| put(image, FOOTER - 18, &length.to_le_bytes())),
            FirmwareError::Size { what: "entry of the GUID table", offset: FOOTER as u64 - 18, length: length.into() }
        );
    }
}

#[test]
fn entry_that_stands_twice_is_refused() {
    let image = Image::with_kernel_hashes();
    let mut entries = image.entries();
    entries.push(entries[1].clone());
    let mut bytes = image.build();
    support::write_table(&mut bytes, &entries);
    assert!(matches!(refusal_of(&bytes), FirmwareError::Duplicate { .. }));
}

#[test]
fn missing_entries_are_refused() {
    for (index, what) in [(0, "SEV-ES reset block"), (2, "SEV metadata")] {
        let image = Image::with_kernel_hashes();
        let mut entries = image.entries();
        entries[index].0 = 1;
        let mut bytes = image.build();
        support::write_table(&mut bytes, &entries);
        assert_eq!(refusal_of(&bytes), FirmwareError::Missing { what });
    }
}

#[test]
fn entries_of_other_lengths_are_refused() {
    for (index, data) in [(0, vec![0; 3]), (1, vec![1; 7]), (2, vec![0; 8])] {
        let image = Image::with_kernel_hashes();
        let mut entries = image.entries();
        entries[index].1 = data;
        let mut bytes = image.build();
        support::write_table(&mut bytes, &entries);
        assert!(matches!(refusal_of(&bytes), FirmwareError::Size { .. }));
    }
}

#[test]
fn metadata_outside_of_the_image_are_refused() {
    let distance = FOOTER - 22 - 26 - 22;
    for value in [0, IMAGE as u32 + 1, 0xffff_ffff] {
        assert_eq!(
            refusal(|image| put32(image, distance, value)),
            FirmwareError::Size { what: "SEV metadata", offset: distance as u64, length: value.into() }
        );
    }
    assert_eq!(
        refusal(|image| put32(image, distance, 2)),
        FirmwareError::Truncated { what: "SEV metadata", offset: IMAGE as u64 - 2 }
    );
}

#[test]
fn lying_metadata_headers_are_refused() {
    let at = METADATA as u64;
    assert_eq!(
        refusal(|image| put(image, METADATA, b"TDVF")),
        FirmwareError::Magic { what: "signature of SEV metadata", offset: at }
    );
    assert_eq!(
        refusal(|image| put32(image, METADATA + 8, 2)),
        FirmwareError::Magic { what: "version 1 of SEV metadata", offset: at + 8 }
    );
    for count in [0_u32, 6, 8, 65, 0x1555_5554, 0xffff_ffff] {
        let error = refusal(|image| put32(image, METADATA + 12, count));
        assert_eq!(error, FirmwareError::Size { what: "list of SEV sections", offset: at + 4, length: 100 });
    }
    let error = refusal(|image| {
        put32(image, METADATA + 4, 16 + 12 * 65);
        put32(image, METADATA + 12, 65);
    });
    assert_eq!(error, FirmwareError::Size { what: "list of SEV sections", offset: at + 4, length: 796 });
}

#[test]
fn sections_that_cannot_be_are_refused() {
    let at = |index: usize| (SECTIONS + 12 * index) as u64;
    assert_eq!(described(|image| image.sections[0].2 = 5), FirmwareError::SectionType { kind: 5, offset: at(0) });
    assert_eq!(described(|image| image.sections[1].0 += 1), FirmwareError::Pages { offset: at(1) });
    assert_eq!(described(|image| image.sections[1].1 = 0x1800), FirmwareError::Pages { offset: at(1) });
    for size in [0, 0x2000] {
        assert_eq!(described(|image| image.sections[2].1 = size), FirmwareError::Pages { offset: at(2) });
    }
    assert_eq!(described(|image| image.sections[3].2 = 2), FirmwareError::SectionTwice { kind: 2, offset: at(3) });
    assert_eq!(described(|image| image.sections[0].1 = 0xb000), FirmwareError::Overlap { offset: at(1) });
    assert_eq!(
        described(|image| image.sections[0] = (0xffff_e000, 0x1000, 1)),
        FirmwareError::Overlap { offset: at(0) },
        "the image itself lies there"
    );
    assert_eq!(
        described(|image| image.sections[0] = (0xffff_f000, 0xffff_f000, 1)),
        FirmwareError::Overlap { offset: at(0) },
        "beyond 4 GiB"
    );
}

#[test]
fn kernel_hash_table_outside_of_its_page_is_refused() {
    let offset = (FOOTER - 22 - 26) as u64;
    for address in [0x80_fc00, 0x81_0f60, 0x81_1000] {
        assert_eq!(
            described(|image| image.hash_table.0 = address),
            FirmwareError::HashTablePlace { offset },
            "{address:#x}"
        );
    }
    let what = "place of the kernel hash table";
    assert_eq!(
        described(|image| image.hash_table.1 = 175),
        FirmwareError::Size { what, offset: offset + 4, length: 175 }
    );
}

#[test]
fn kernel_hashes_exist_only_with_both_entry_and_section() {
    let table = |change: fn(&mut Image)| {
        let mut image = Image::with_kernel_hashes();
        change(&mut image);
        Layout::read(&Firmware::parse(&image.build()).unwrap()).unwrap().hash_table()
    };
    assert_eq!(table(|_| ()), Some(0x81_0c00));
    assert_eq!(table(|image| image.hash_table = (0, 0)), None);
    assert_eq!(table(|image| image.sections.truncate(6)), None);
}

#[test]
fn random_damage_never_panics() {
    let image = Image::with_kernel_hashes().build();
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let (mut refused, tables) = (0, (METADATA..METADATA + 100).chain(FOOTER - 70..FOOTER + 18).collect::<Vec<_>>());
    for _ in 0..20_000 {
        let mut damaged = image.clone();
        for _ in 0..=next() % 4 {
            damaged[tables[next() % tables.len()]] = next() as u8;
        }
        refused += usize::from(Firmware::parse(&damaged).and_then(|firmware| Layout::read(&firmware)).is_err());
    }
    assert!(refused > 10_000, "{refused}");
}
