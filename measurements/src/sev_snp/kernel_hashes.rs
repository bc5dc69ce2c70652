//! The table of SHA-256 hashes by which firmware checks kernel, initial RAM disk and command line that QEMU hands it.
//!
//! Source: QEMU `target/i386/sev.c` (`PaddedSevHashTable`), which fills it; EDK II
//! `OvmfPkg/AmdSev/BlobVerifierLibSevHashes`, which checks it.

use sha2::{Digest, Sha256};

use super::SnpError;
use crate::firmware::PAGE;
use crate::firmware::sev::HASH_TABLE_BYTES;
use crate::guid::Guid;

const TABLE: Guid = Guid::from_u128(0x9438d606_4f22_4cc9_b479_a793d411fd21);
const KERNEL: Guid = Guid::from_u128(0x4de79437_abd2_427f_b835_d5b172d2045b);
const INITRD: Guid = Guid::from_u128(0x44baf731_3a2f_4bd7_9af1_41e29169781d);
const CMDLINE: Guid = Guid::from_u128(0x97d02dd8_bd20_4c94_aa78_e7714d36ab2a);

/// GUID, length and SHA-256.
const ENTRY: u16 = 50;
/// GUID, length and three entries, without the padding.
const TABLE_LENGTH: u16 = 18 + 3 * ENTRY;

/// The hashes of what is booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelHashes {
    /// SHA-256 of the kernel file as it lies on disk.
    pub kernel: [u8; 32],
    /// SHA-256 of the initial RAM disk; of nothing where there is none.
    pub initrd: [u8; 32],
    /// SHA-256 of the command line with its NUL; of the NUL where there is none.
    pub cmdline: [u8; 32],
}

impl KernelHashes {
    /// Hashes the files. QEMU leaves the kernel's header as it is for SEV, so that the published file counts.
    ///
    /// # Errors
    /// [`SnpError::CommandLine`] for a command line with a NUL in it, which would end it early.
    pub fn of(kernel: &[u8], initrd: Option<&[u8]>, cmdline: Option<&str>) -> Result<Self, SnpError> {
        let hash = |file: &[u8]| Sha256::digest(file).into();
        Self::of_digests(hash(kernel), initrd.map(hash), cmdline)
    }

    /// The same of files that were hashed as they were read.
    ///
    /// # Errors
    /// As [`KernelHashes::of`].
    pub fn of_digests(kernel: [u8; 32], initrd: Option<[u8; 32]>, cmdline: Option<&str>) -> Result<Self, SnpError> {
        let cmdline = cmdline.unwrap_or_default();
        if cmdline.contains('\0') {
            return Err(SnpError::CommandLine);
        }
        let with_nul = Sha256::new_with_prefix(cmdline).chain_update([0]);
        let initrd = initrd.unwrap_or_else(|| Sha256::digest([]).into());
        Ok(Self { kernel, initrd, cmdline: with_nul.finalize().into() })
    }

    /// The page with the table at `offset` of it; zeros around it. A [`Layout`] has only offsets at which it fits.
    ///
    /// [`Layout`]: crate::firmware::sev::Layout
    pub(crate) fn page(&self, offset: u32) -> Vec<u8> {
        let mut page = Vec::with_capacity(PAGE as usize);
        page.resize(offset as usize, 0);
        page.extend_from_slice(&TABLE.to_bytes());
        page.extend_from_slice(&TABLE_LENGTH.to_le_bytes());
        for (guid, hash) in [(CMDLINE, &self.cmdline), (INITRD, &self.initrd), (KERNEL, &self.kernel)] {
            page.extend_from_slice(&guid.to_bytes());
            page.extend_from_slice(&ENTRY.to_le_bytes());
            page.extend_from_slice(hash);
        }
        debug_assert!(page.len() as u64 <= u64::from(offset) + HASH_TABLE_BYTES);
        page.resize(PAGE as usize, 0);
        page
    }
}
