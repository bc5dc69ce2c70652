//! The running launch digest of an SEV-SNP guest.
//!
//! Source: AMD 56860 "SEV Secure Nested Paging Firmware ABI", section "SNP_LAUNCH_UPDATE", table "PAGE_INFO structure".

use sha2::{Digest, Sha384};

use crate::firmware::PAGE;

/// Bytes of the launch digest.
pub(crate) const DIGEST: usize = 48;
/// Address recorded for every VMSA page: -1 cut to whole pages of 48 bits.
const VMSA_ADDRESS: u64 = 0xffff_ffff_f000;
/// Bytes of PAGE_INFO.
const PAGE_INFO: u16 = 0x70;

/// How a page enters the digest (PAGE_TYPE).
#[derive(Debug, Clone, Copy)]
enum PageType {
    Normal = 1,
    Vmsa = 2,
    Zero = 3,
    Unmeasured = 4,
    Secrets = 5,
    Cpuid = 6,
}

/// The digest of everything placed so far.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    digest: [u8; DIGEST],
}

impl Context {
    /// Continues from a digest; zero is the start of a launch.
    pub fn from(digest: [u8; DIGEST]) -> Self {
        Self { digest }
    }

    pub fn digest(&self) -> [u8; DIGEST] {
        self.digest
    }

    /// `data` in whole pages, from `address` on.
    pub fn normal(&mut self, address: u64, data: &[u8]) {
        let pages = data.chunks_exact(PAGE as usize);
        debug_assert!(pages.remainder().is_empty());
        // Most of a firmware image is padding, and equal pages have one digest: it is taken once for a run of them.
        let mut last: Option<(&[u8], [u8; DIGEST])> = None;
        for (at, page) in (address..).step_by(PAGE as usize).zip(pages) {
            let contents = match last {
                Some((same, digest)) if same == page => digest,
                _ => Sha384::digest(page).into(),
            };
            last = Some((page, contents));
            self.update(PageType::Normal, at, &contents);
        }
    }

    /// One page of register state, by its digest: all processors but the first share one.
    pub fn vmsa(&mut self, contents: &[u8; DIGEST]) {
        self.update(PageType::Vmsa, VMSA_ADDRESS, contents);
    }

    pub fn zero(&mut self, address: u64, size: u64) {
        self.without_contents(PageType::Zero, address, size);
    }

    pub fn unmeasured(&mut self, address: u64, size: u64) {
        self.without_contents(PageType::Unmeasured, address, size);
    }

    pub fn secrets(&mut self, address: u64) {
        self.without_contents(PageType::Secrets, address, PAGE);
    }

    pub fn cpuid(&mut self, address: u64) {
        self.without_contents(PageType::Cpuid, address, PAGE);
    }

    fn without_contents(&mut self, kind: PageType, address: u64, size: u64) {
        for at in (address..address + size).step_by(PAGE as usize) {
            self.update(kind, at, &[0; DIGEST]);
        }
    }

    fn update(&mut self, kind: PageType, address: u64, contents: &[u8; DIGEST]) {
        let mut hash = Sha384::new();
        hash.update(self.digest);
        hash.update(contents);
        hash.update(PAGE_INFO.to_le_bytes());
        // Page type; not an IMI page; no rights for VMPL 3, 2 and 1; reserved.
        hash.update([kind as u8, 0, 0, 0, 0, 0]);
        hash.update(address.to_le_bytes());
        self.digest = hash.finalize().into();
    }
}
