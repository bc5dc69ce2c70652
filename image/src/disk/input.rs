//! What goes onto a disk, judged first: a disk that cannot start, or that the machine would refuse, is not written.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use measurements::authenticode::{self, Digests};

use super::layout::IMAGE_MAX_BYTES;
use crate::report::advise;

/// The machine of PE files for x86-64.
const AMD64: u16 = 0x8664;
/// The form of the optional header of 64-bit PE files.
const PE32_PLUS: u16 = 0x20b;
/// The subsystem of programs that firmware starts.
const EFI_APPLICATION: u16 = 10;

/// Why a file is not what firmware starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// It is not a well-formed PE file.
    #[error(transparent)]
    Pe(#[from] measurements::pe::PeError),
    /// It is one for another processor, of 32 bits, or not an EFI application.
    #[error("it is no EFI application for x86-64: machine {machine:#x}, form {form:#x}, subsystem {subsystem}")]
    Kind {
        /// The machine it is for.
        machine: u16,
        /// Its optional header's magic.
        form: u16,
        /// Its subsystem.
        subsystem: u16,
    },
}

/// An image that firmware starts.
#[derive(Debug)]
pub struct Image {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What firmware measures of it.
    pub digests: Digests,
}

/// Reads the image, once it is known to be one.
///
/// # Errors
/// If it cannot be read or is something else.
pub fn image(path: &Path) -> anyhow::Result<Image> {
    let bytes = read(path, IMAGE_MAX_BYTES).with_context(|| {
        advise(format!("cannot read the image {}", path.display()), "make one with `lethe-image build`").usage()
    })?;
    let digests = judge(&bytes).with_context(|| {
        advise(format!("the image {} cannot be started", path.display()), "name one that `lethe-image build` made")
            .usage()
    })?;
    Ok(Image { bytes, digests })
}

/// Reads endorsements, which nobody but a verifier understands.
///
/// # Errors
/// If there are none, or more than a machine takes.
pub fn endorsements(path: &Path) -> anyhow::Result<Vec<u8>> {
    let most = deployment::ENDORSEMENTS_MAX_BYTES;
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most as u64 + 1).read_to_end(&mut bytes));
    read.with_context(|| {
        advise(format!("cannot read the endorsements {}", path.display()), "`lethe collateral` writes such a file")
            .usage()
    })?;
    ensure!(
        bytes.len() <= most,
        advise(
            format!("{} has more than {most} bytes", path.display()),
            "name endorsements.json of `lethe collateral`"
        )
        .usage()
    );
    Ok(bytes)
}

/// Reads the document, once it is known that the machine accepts it.
///
/// # Errors
/// If it cannot be read or would be refused.
pub fn document(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = read(path, deployment::MAX_BYTES as u64).with_context(|| {
        let help = "name a deployment document; `lethe-image config new` writes one";
        advise(format!("cannot read {}", path.display()), help).usage()
    })?;
    deployment::parse(&bytes).with_context(|| {
        let help = format!("see `lethe-image config check {}`", path.display());
        advise(format!("{} is not a deployment document", path.display()), help).usage()
    })?;
    Ok(bytes)
}

/// At most one byte more than `limit`, which whoever judges the bytes then refuses.
fn read(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn judge(bytes: &[u8]) -> Result<Digests, ImageError> {
    let digests = authenticode::digests(bytes)?;
    let short = |at: usize| bytes.get(at..at + 2).and_then(|field| field.try_into().ok()).map_or(0, u16::from_le_bytes);
    // The headers are known to be there: they were just hashed.
    let header = usize::from(short(60)) | usize::from(short(62)) << 16;
    let (machine, form, subsystem) = (short(header + 4), short(header + 24), short(header + 24 + 68));
    if (machine, form, subsystem) != (AMD64, PE32_PLUS, EFI_APPLICATION) {
        return Err(ImageError::Kind { machine, form, subsystem });
    }
    Ok(digests)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The smallest EFI application: headers, no section, and some bytes behind them.
    pub(crate) fn program(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; 0x200];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[60..64].copy_from_slice(&0x80_u32.to_le_bytes());
        bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
        bytes[0x84..0x86].copy_from_slice(&AMD64.to_le_bytes());
        bytes[0x86..0x88].copy_from_slice(&1_u16.to_le_bytes()); // one section
        bytes[0x94..0x96].copy_from_slice(&(112_u16 + 16 * 8).to_le_bytes());
        let optional = 0x98;
        bytes[optional..optional + 2].copy_from_slice(&PE32_PLUS.to_le_bytes());
        bytes[optional + 60..optional + 64].copy_from_slice(&0x200_u32.to_le_bytes()); // size of headers
        bytes[optional + 68..optional + 70].copy_from_slice(&EFI_APPLICATION.to_le_bytes());
        bytes[optional + 108..optional + 112].copy_from_slice(&16_u32.to_le_bytes());
        let section = optional + 112 + 16 * 8;
        let size = u32::try_from(length - 0x200).unwrap();
        bytes[section + 16..section + 20].copy_from_slice(&size.to_le_bytes());
        bytes[section + 20..section + 24].copy_from_slice(&0x200_u32.to_le_bytes());
        bytes.resize(length, 0x5a);
        bytes
    }

    #[test]
    fn an_efi_program_is_accepted() {
        judge(&program(0x1000)).unwrap();
    }

    #[test]
    fn a_program_for_another_machine_or_another_system_is_refused() {
        for (at, value) in [(0x84, 0xaa64_u16), (0x98 + 68, 3)] {
            let mut bytes = program(0x1000);
            bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
            assert!(matches!(judge(&bytes), Err(ImageError::Kind { .. })), "{at:#x}");
        }
    }

    #[test]
    fn what_is_no_program_is_refused() {
        for bytes in [&b""[..], b"MZ", b"#!/bin/sh\n", &program(0x1000)[..0x180], b"QFI\xfb"] {
            assert!(matches!(judge(bytes), Err(ImageError::Pe(_))), "{} bytes", bytes.len());
        }
    }
}
