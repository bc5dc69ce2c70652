//! What an ELF file asks of the system that starts it: the appliance must ask nothing.

use thiserror::Error;

const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const DT_NEEDED: u64 = 1;
const DT_NULL: u64 = 0;
const ET_DYN: u16 = 3;
const EM_X86_64: u16 = 62;
const PROGRAM_HEADER: u64 = 56;

/// Why a binary is not a self-contained, position-independent program.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum ElfError {
    /// Not a 64-bit little-endian ELF file for x86-64.
    #[error("not a 64-bit x86 ELF file")]
    Kind,
    /// A header points outside the file.
    #[error("ELF headers point outside the file")]
    Truncated,
    /// Linked to a fixed address: the kernel could not randomise it.
    #[error("not position-independent")]
    FixedAddress,
    /// Names a dynamic loader.
    #[error("names a dynamic loader (PT_INTERP): not statically linked")]
    Interpreter,
    /// Names a shared library.
    #[error("names a shared library (DT_NEEDED): not statically linked")]
    SharedLibrary,
}

/// Checks that `file` is a static-pie: position-independent, without loader or shared library.
///
/// # Errors
/// [`ElfError`] says what it is instead.
pub fn check_static_pie(file: &[u8]) -> Result<(), ElfError> {
    let reader = Reader { file };
    if reader.bytes(0, 6)? != b"\x7fELF\x02\x01" || reader.u16(18)? != EM_X86_64 {
        return Err(ElfError::Kind);
    }
    if reader.u16(16)? != ET_DYN {
        return Err(ElfError::FixedAddress);
    }
    let table = reader.u64(32)?;
    for index in 0..u64::from(reader.u16(56)?) {
        let header = table.checked_add(PROGRAM_HEADER * index).ok_or(ElfError::Truncated)?;
        match reader.u32(header)? {
            PT_INTERP => return Err(ElfError::Interpreter),
            PT_DYNAMIC => check_dynamic(&reader, reader.u64(header + 8)?, reader.u64(header + 32)?)?,
            _ => {}
        }
    }
    Ok(())
}

/// The sections that lie in the file, with their names, in the order of their headers.
///
/// # Errors
/// [`ElfError`] if it is no 64-bit ELF file or a header points outside.
pub fn sections(file: &[u8]) -> Result<Vec<(String, &[u8])>, ElfError> {
    const NO_BITS: u32 = 8;
    let reader = Reader { file };
    if reader.bytes(0, 6)? != b"\x7fELF\x02\x01" {
        return Err(ElfError::Kind);
    }
    let (table, size) = (reader.u64(40)?, u64::from(reader.u16(58)?));
    let header = |index: u16| table.checked_add(u64::from(index) * size).ok_or(ElfError::Truncated);
    let content = |at: u64| -> Result<&[u8], ElfError> {
        let (start, length) = (reader.u64(at + 24)?, reader.u64(at + 32)?);
        let start = usize::try_from(start).map_err(|_| ElfError::Truncated)?;
        let length = usize::try_from(length).map_err(|_| ElfError::Truncated)?;
        file.get(start..).and_then(|rest| rest.get(..length)).ok_or(ElfError::Truncated)
    };
    let names = content(header(reader.u16(62)?)?)?;
    let mut found = Vec::new();
    for index in 0..reader.u16(60)? {
        let at = header(index)?;
        let name = usize::try_from(reader.u32(at)?).ok().and_then(|start| names.get(start..)).unwrap_or_default();
        let name = String::from_utf8_lossy(name.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned();
        if reader.u32(at + 4)? != NO_BITS {
            found.push((name, content(at)?));
        }
    }
    Ok(found)
}

fn check_dynamic(reader: &Reader<'_>, start: u64, size: u64) -> Result<(), ElfError> {
    let end = start.checked_add(size).ok_or(ElfError::Truncated)?;
    for entry in (start..end).step_by(16) {
        let [tag, _value] = [reader.u64(entry)?, reader.u64(entry + 8)?];
        match tag {
            DT_NEEDED => return Err(ElfError::SharedLibrary),
            DT_NULL => break,
            _ => {}
        }
    }
    Ok(())
}

struct Reader<'a> {
    file: &'a [u8],
}

impl Reader<'_> {
    fn bytes(&self, offset: u64, count: usize) -> Result<&[u8], ElfError> {
        let start = usize::try_from(offset).map_err(|_| ElfError::Truncated)?;
        let end = start.checked_add(count).ok_or(ElfError::Truncated)?;
        self.file.get(start..end).ok_or(ElfError::Truncated)
    }

    fn array<const N: usize>(&self, offset: u64) -> Result<[u8; N], ElfError> {
        self.bytes(offset, N)?.try_into().map_err(|_| ElfError::Truncated)
    }

    fn u16(&self, offset: u64) -> Result<u16, ElfError> {
        self.array(offset).map(u16::from_le_bytes)
    }

    fn u32(&self, offset: u64) -> Result<u32, ElfError> {
        self.array(offset).map(u32::from_le_bytes)
    }

    fn u64(&self, offset: u64) -> Result<u64, ElfError> {
        self.array(offset).map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with the given type and program headers `(type, offset, size)`, and `dynamic` at offset 0x200.
    fn elf(kind: u16, headers: &[(u32, u64, u64)], dynamic: &[(u64, u64)]) -> Vec<u8> {
        let mut file = vec![0; 0x200];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[16..18].copy_from_slice(&kind.to_le_bytes());
        file[18..20].copy_from_slice(&EM_X86_64.to_le_bytes());
        file[32..40].copy_from_slice(&64_u64.to_le_bytes());
        file[56..58].copy_from_slice(&u16::try_from(headers.len()).unwrap().to_le_bytes());
        for (index, (kind, offset, size)) in headers.iter().enumerate() {
            let at = 64 + 56 * index;
            file[at..at + 4].copy_from_slice(&kind.to_le_bytes());
            file[at + 8..at + 16].copy_from_slice(&offset.to_le_bytes());
            file[at + 32..at + 40].copy_from_slice(&size.to_le_bytes());
        }
        for (tag, value) in dynamic {
            file.extend_from_slice(&tag.to_le_bytes());
            file.extend_from_slice(&value.to_le_bytes());
        }
        file
    }

    #[test]
    fn position_independent_program_without_libraries_is_accepted() {
        let file = elf(ET_DYN, &[(1, 0, 0x200), (PT_DYNAMIC, 0x200, 48)], &[(5, 0), (DT_NULL, 0), (DT_NEEDED, 0)]);
        assert_eq!(check_static_pie(&file), Ok(()));
    }

    #[test]
    fn this_test_program_which_is_linked_the_same_way_is_accepted() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(check_static_pie(&file), Ok(()));
    }

    #[test]
    fn sections_are_named_and_lie_in_the_file() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let found = sections(&file).unwrap();
        assert!(found.iter().any(|(name, bytes)| name == ".text" && bytes.len() > 1000));
        assert_eq!(sections(&file[..file.len() / 2]), Err(ElfError::Truncated));
        assert_eq!(sections(b"MZ"), Err(ElfError::Truncated));
    }

    #[test]
    fn programs_that_need_the_system_are_refused() {
        assert_eq!(check_static_pie(&elf(ET_DYN, &[(PT_INTERP, 0, 0)], &[])), Err(ElfError::Interpreter));
        let library = elf(ET_DYN, &[(PT_DYNAMIC, 0x200, 32)], &[(5, 0), (DT_NEEDED, 1)]);
        assert_eq!(check_static_pie(&library), Err(ElfError::SharedLibrary));
        assert_eq!(check_static_pie(&elf(2, &[], &[])), Err(ElfError::FixedAddress));
    }

    #[test]
    fn broken_files_are_refused_without_panic() {
        assert_eq!(check_static_pie(b"#!/bin/sh\n"), Err(ElfError::Kind));
        let good = elf(ET_DYN, &[(PT_DYNAMIC, 0x200, 32)], &[(5, 0), (5, 0)]);
        for length in 0..good.len() {
            assert!(check_static_pie(&good[..length]).is_err(), "{length}");
        }
        let mut wild = good;
        wild[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(check_static_pie(&wild), Err(ElfError::Truncated));
    }
}
