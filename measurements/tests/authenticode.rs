//! The digest of small PE files built here, judged by other implementations and by what must and must not change it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::process::Command;

use measurements::authenticode::digests;
use measurements::pe::PeError;
use sha2::{Digest, Sha256};

const PE: usize = 0x40;
const OPTIONAL: usize = PE + 24;
const CHECKSUM: usize = OPTIONAL + 64;
const CERTIFICATES: usize = OPTIONAL + 112 + 32;
const SECTIONS: usize = OPTIONAL + 240;
const HEADERS: usize = 0x200;

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

fn put32(file: &mut [u8], at: usize, value: usize) {
    put(file, at, &u32::try_from(value).unwrap().to_le_bytes());
}

/// A PE32+ file with two sections of 512 and 1024 bytes and `tail` behind them.
fn image(tail: &[u8]) -> Vec<u8> {
    let mut file = vec![0; HEADERS];
    put(&mut file, 0, b"MZ");
    put32(&mut file, 60, PE);
    put(&mut file, PE, b"PE\0\0");
    put(&mut file, PE + 4, &0x8664_u16.to_le_bytes());
    put(&mut file, PE + 6, &2_u16.to_le_bytes());
    put(&mut file, PE + 20, &240_u16.to_le_bytes());
    put(&mut file, PE + 22, &0x206_u16.to_le_bytes());
    put(&mut file, OPTIONAL, &0x20b_u16.to_le_bytes());
    put32(&mut file, OPTIONAL + 16, 0x1000); // entry point
    put32(&mut file, OPTIONAL + 20, 0x1000); // base of code
    put32(&mut file, OPTIONAL + 32, 0x1000); // section alignment
    put32(&mut file, OPTIONAL + 36, 0x200); // file alignment
    put32(&mut file, OPTIONAL + 56, 0x3000); // size of image
    put32(&mut file, OPTIONAL + 60, HEADERS);
    put(&mut file, OPTIONAL + 68, &10_u16.to_le_bytes()); // EFI application
    put32(&mut file, OPTIONAL + 108, 16);
    section(&mut file, 0, b".text\0\0\0", 0x1000, HEADERS, 512);
    section(&mut file, 1, b".data\0\0\0", 0x2000, HEADERS + 512, 1024);
    file.extend((0..1536_u32).map(|index| (index * 7 % 251) as u8));
    file.extend_from_slice(tail);
    file
}

fn section(file: &mut [u8], index: usize, name: &[u8; 8], address: usize, offset: usize, size: usize) {
    let header = SECTIONS + 40 * index;
    put(file, header, name);
    put32(file, header + 8, size);
    put32(file, header + 12, address);
    put32(file, header + 16, size);
    put32(file, header + 20, offset);
    put32(file, header + 36, 0x6000_0020);
}

/// The image with `signature` as its certificate table.
fn signed(signature: &[u8]) -> Vec<u8> {
    let mut file = image(&[]);
    let at = file.len();
    put32(&mut file, CERTIFICATES, at);
    put32(&mut file, CERTIFICATES + 4, signature.len());
    file.extend_from_slice(signature);
    file
}

#[test]
fn digest_covers_exactly_the_bytes_outside_checksum_and_certificate_entry() {
    let file = image(&[]);
    let mut expected = file[..CHECKSUM].to_vec();
    expected.extend_from_slice(&file[CHECKSUM + 4..CERTIFICATES]);
    expected.extend_from_slice(&file[CERTIFICATES + 8..]);
    assert_eq!(digests(&file).unwrap().sha256, <[u8; 32]>::from(Sha256::digest(&expected)));
}

#[test]
fn every_other_byte_changes_the_digest() {
    let file = image(b"tail");
    let reference = digests(&file).unwrap();
    let left_out = |at: usize| (CHECKSUM..CHECKSUM + 4).contains(&at) || (CERTIFICATES..CERTIFICATES + 8).contains(&at);
    // Bytes that carry no structure: DOS stub, stamps and addresses, section data and tail.
    let free = (2..60).chain(PE + 8..PE + 20).chain(CHECKSUM..CHECKSUM + 4).chain(HEADERS..file.len());
    for at in free {
        let mut changed = file.clone();
        changed[at] ^= 1;
        assert_eq!(digests(&changed).unwrap() == reference, left_out(at), "offset {at:#x}");
    }
}

#[test]
fn certificates_do_not_change_the_digest() {
    let plain = digests(&image(&[])).unwrap();
    assert_eq!(digests(&signed(&[7; 64])).unwrap(), plain);
    assert_eq!(digests(&signed(&[9; 128])).unwrap(), plain);
    assert_ne!(digests(&image(&[7; 64])).unwrap(), plain);
}

#[test]
fn order_of_section_headers_does_not_matter_to_the_order_of_hashing() {
    let mut file = image(&[]);
    section(&mut file, 0, b".data\0\0\0", 0x2000, HEADERS + 512, 1024);
    section(&mut file, 1, b".text\0\0\0", 0x1000, HEADERS, 512);
    let mut expected = file[..CHECKSUM].to_vec();
    expected.extend_from_slice(&file[CHECKSUM + 4..CERTIFICATES]);
    expected.extend_from_slice(&file[CERTIFICATES + 8..]);
    assert_eq!(digests(&file).unwrap().sha256, <[u8; 32]>::from(Sha256::digest(&expected)));
}

/// `osslsigncode extract-data` writes the structure a signature would be made over; it ends with the digest.
fn osslsigncode(file: &[u8], algorithm: &str, length: usize) -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("image.efi"), folder.path().join("image.der"));
    std::fs::write(&input, file).unwrap();
    let run = Command::new("osslsigncode")
        .args(["extract-data", "-h", algorithm, "-in"])
        .arg(&input)
        .arg("-out")
        .arg(&output)
        .output();
    let Ok(run) = run else {
        eprintln!("SKIPPED: no osslsigncode on this machine, the digest was not compared with another implementation");
        return None;
    };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let der = std::fs::read(&output).unwrap();
    let start = der.windows(2).rposition(|window| window == [0x04, u8::try_from(length).unwrap()]).unwrap();
    Some(der[start + 2..start + 2 + length].to_vec())
}

#[test]
fn osslsigncode_takes_the_same_digests() {
    for file in [image(&[]), image(b"a tail of sixteen"[..16].as_ref())] {
        let ours = digests(&file).unwrap();
        let Some(sha256) = osslsigncode(&file, "sha256", 32) else { return };
        assert_eq!(hex::encode(sha256), hex::encode(ours.sha256));
        let Some(sha384) = osslsigncode(&file, "sha384", 48) else { return };
        assert_eq!(hex::encode(sha384), hex::encode(ours.sha384));
    }
}

#[test]
fn pesign_takes_the_same_digest() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("image.efi");
    let file = image(&[]);
    std::fs::write(&input, &file).unwrap();
    let Ok(run) = Command::new("pesign").args(["-h", "-i"]).arg(&input).output() else {
        eprintln!("SKIPPED: no pesign on this machine, the digest was not compared with a second implementation");
        return;
    };
    let text = String::from_utf8(run.stdout).unwrap();
    assert!(text.contains(&hex::encode(digests(&file).unwrap().sha256)), "{text}");
}

fn refusal(change: impl FnOnce(&mut Vec<u8>)) -> PeError {
    let mut file = image(&[]);
    change(&mut file);
    digests(&file).unwrap_err()
}

#[test]
fn overlapping_sections_are_refused() {
    let error = refusal(|file| put32(file, SECTIONS + 40 + 20, HEADERS + 256));
    assert_eq!(error, PeError::Overlap { offset: 0x300 });
}

#[test]
fn section_over_the_headers_is_refused() {
    assert_eq!(refusal(|file| put32(file, SECTIONS + 20, 0x100)), PeError::Overlap { offset: 0x100 });
}

#[test]
fn gap_between_sections_is_refused() {
    let error = refusal(|file| {
        put32(file, SECTIONS + 40 + 16, 512);
        put32(file, SECTIONS + 40 + 20, HEADERS + 1024);
    });
    assert_eq!(error, PeError::Gap { offset: 0x600 });
}

#[test]
fn section_behind_the_end_of_the_file_is_refused() {
    assert_eq!(
        refusal(|file| put32(file, SECTIONS + 40 + 16, 0xffff_ffff)),
        PeError::Truncated { what: "section data", offset: 0x400 }
    );
}

#[test]
fn certificates_elsewhere_than_at_the_end_are_refused() {
    let error = refusal(|file| {
        put32(file, CERTIFICATES, 0x600);
        put32(file, CERTIFICATES + 4, 16);
    });
    assert_eq!(error, PeError::CertificatesNotLast { offset: 0x600 });
    let error = refusal(|file| {
        let size = file.len() - 0x300;
        put32(file, CERTIFICATES, 0x300);
        put32(file, CERTIFICATES + 4, size);
    });
    assert_eq!(error, PeError::Overlap { offset: 0x300 });
}

#[test]
fn lying_headers_are_refused() {
    assert_eq!(refusal(|file| put(file, 0, b"ZM")), PeError::Magic { what: "DOS signature", offset: 0 });
    assert_eq!(
        refusal(|file| put32(file, 60, 0xffff_fff0)),
        PeError::Truncated { what: "PE signature", offset: 0xffff_fff0 }
    );
    assert_eq!(refusal(|file| put(file, PE, b"NE")), PeError::Magic { what: "PE signature", offset: PE as u64 });
    assert_eq!(
        refusal(|file| put(file, PE + 6, &[97, 0])),
        PeError::TooManySections { count: 97, offset: PE as u64 + 6 }
    );
    assert_eq!(
        refusal(|file| put(file, PE + 20, &[8, 0])),
        PeError::Size { what: "optional header", offset: PE as u64 + 20 }
    );
    let error = refusal(|file| put32(file, OPTIONAL + 108, 0xffff_ffff));
    assert_eq!(error, PeError::Size { what: "number of data directories", offset: OPTIONAL as u64 + 108 });
    for size in [0, 0x100, 0xffff_ffff] {
        let error = refusal(|file| put32(file, OPTIONAL + 60, size));
        assert_eq!(error, PeError::Size { what: "size of headers", offset: OPTIONAL as u64 + 60 }, "{size:#x}");
    }
}

#[test]
fn every_truncation_is_refused_and_none_panics() {
    let file = image(&[]);
    for length in 0..file.len() {
        assert!(digests(&file[..length]).is_err(), "{length}");
    }
}

#[test]
fn random_damage_to_the_headers_never_panics() {
    let file = image(&[]);
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut damaged = file.clone();
        for _ in 0..=next() % 4 {
            damaged[next() % HEADERS] = next() as u8;
        }
        refused += usize::from(digests(&damaged).is_err());
    }
    assert!(refused > 1_000, "{refused}");
}
