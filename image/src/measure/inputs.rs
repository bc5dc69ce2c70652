//! Files and numbers of the command line, read with bounds.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use measurements::firmware::Firmware;

use crate::report::advise;
use crate::{config, digest};

const MIB: u64 = 1 << 20;
/// Larger than any flash device of a virtual machine.
const FIRMWARE: u64 = 16 * MIB;
/// Larger than any kernel or initial RAM disk that firmware takes from QEMU.
const BOOTED: u64 = 1024 * MIB;
/// What of a disk can hold its partition table.
const DISK_START: u64 = 2 * MIB;

/// Reads a file of at most `limit` bytes.
fn read(what: &str, path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    let bytes = read_start(what, path, limit + 1)?;
    let help = format!("{} is larger than any {what}; name another file", path.display());
    ensure!(bytes.len() as u64 <= limit, advise(format!("the {what} has more than {limit} bytes"), help));
    Ok(bytes)
}

/// Reads the first bytes of a file.
fn read_start(what: &str, path: &Path, count: u64) -> anyhow::Result<Vec<u8>> {
    let failed = || advise(format!("cannot read the {what} {}", path.display()), "name a file that exists");
    let whole = || -> std::io::Result<Vec<u8>> {
        let file = File::open(path)?;
        let length = file.metadata()?.len().min(count);
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        file.take(count).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    whole().with_context(failed)
}

pub(crate) fn firmware(path: &Path) -> anyhow::Result<Vec<u8>> {
    read("firmware image", path, FIRMWARE)
}

/// The firmware's table of what it wants at launch.
pub(crate) fn parsed(image: &[u8]) -> anyhow::Result<Firmware<'_>> {
    Firmware::parse(image).with_context(|| {
        advise(
            "this is no firmware image that says how a confidential machine is launched",
            "give the whole image (OVMF.amdsev.fd, OVMF.inteltdx.fd, OVMF.fd), not a part for variables or code",
        )
    })
}

pub(crate) fn booted(what: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    read(what, path, BOOTED)
}

pub(crate) fn optional_booted(what: &str, path: Option<&Path>) -> anyhow::Result<Option<Vec<u8>>> {
    path.map(|path| booted(what, path)).transpose()
}

pub(crate) fn small(what: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    read(what, path, FIRMWARE)
}

/// SHA-256 of what [`booted`] would read, through one buffer that stays in cache instead of fresh pages for the whole file.
pub(super) fn booted_sha256(what: &str, path: &Path) -> anyhow::Result<[u8; 32]> {
    sha256(what, path, BOOTED)
}

fn sha256(what: &str, path: &Path, limit: u64) -> anyhow::Result<[u8; 32]> {
    let failed = || advise(format!("cannot read the {what} {}", path.display()), "name a file that exists");
    let hashed = || digest::of(File::open(path)?.take(limit + 1));
    let (digest, length) = hashed().with_context(failed)?;
    let help = format!("{} is larger than any {what}; name another file", path.display());
    ensure!(length <= limit, advise(format!("the {what} has more than {limit} bytes"), help));
    Ok(digest)
}

pub(super) fn disk_start(path: &Path) -> anyhow::Result<Vec<u8>> {
    read_start("disk image", path, DISK_START)
}

/// A deployment document that an appliance would take: nobody should pin another one.
pub(super) fn document(path: Option<&Path>) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(path) = path else { return Ok(None) };
    let bytes = config::read_document(path)?;
    deployment::parse(&bytes).with_context(|| {
        let name = path.display();
        advise(format!("an appliance would refuse the document {name}"), format!("lethe-image config check {name}"))
    })?;
    Ok(Some(bytes))
}

/// A number, decimal or with 0x hexadecimal.
pub(super) fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.starts_with(['+', '-']) => return Err("no hexadecimal number".to_owned()),
        Some(digits) => u64::from_str_radix(digits, 16),
        None if text.starts_with('+') => return Err("no number".to_owned()),
        None => text.parse(),
    };
    parsed.map_err(|error| error.to_string())
}

/// A number that fits in 32 bits.
pub(super) fn number32(text: &str) -> Result<u32, String> {
    u32::try_from(number(text)?).map_err(|_| "more than 32 bits".to_owned())
}

/// A size in bytes, or with one of the suffixes M and G (2^20 and 2^30 bytes).
pub(super) fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'M' | b'm') => (text.get(..text.len() - 1).unwrap_or_default(), MIB),
        Some(b'G' | b'g') => (text.get(..text.len() - 1).unwrap_or_default(), 1024 * MIB),
        _ => (text, 1),
    };
    number(digits)?.checked_mul(unit).ok_or_else(|| "more than 64 bits".to_owned())
}

/// Sixteen bytes in hexadecimal.
pub(super) fn id16(text: &str) -> Result<[u8; 16], String> {
    let mut id = [0; 16];
    hex::decode_to_slice(text, &mut id).map_err(|_| "32 hexadecimal digits are needed".to_owned())?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn numbers_and_sizes_are_read_in_their_usual_forms() {
        assert_eq!(number("0x21"), Ok(33));
        assert_eq!(number("33"), Ok(33));
        assert_eq!(number32("0xa00f11"), Ok(0xa0_0f11));
        assert_eq!(size("2G"), Ok(2 << 30));
        assert_eq!(size("512M"), Ok(512 << 20));
        assert_eq!(size("16777216"), Ok(16 << 20));
        assert_eq!(id16(&"0f".repeat(16)), Ok([15; 16]));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["", "0x", "+1", "0x+1", "-1", "1e3", "99999999999999999999"] {
            assert!(number(text).is_err(), "{text}");
        }
        for text in ["", "G", "2T", "2GB", "99999999999G"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert!(number32("0x100000000").is_err());
        assert!(id16("0f").is_err());
    }

    #[test]
    fn a_file_larger_than_its_limit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("firmware");
        std::fs::write(&path, [0; 100]).unwrap();
        assert_eq!(read("firmware image", &path, 100).unwrap().len(), 100);
        assert!(read("firmware image", &path, 99).is_err());
        assert!(read("firmware image", &folder.path().join("other"), 99).is_err());
        assert_eq!(sha256("kernel", &path, 100).unwrap(), <[u8; 32]>::from(Sha256::digest([0; 100])));
        assert!(sha256("kernel", &path, 99).is_err());
        assert!(sha256("kernel", folder.path(), 99).is_err());
    }
}
