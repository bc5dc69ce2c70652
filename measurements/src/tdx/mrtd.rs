//! MRTD: what the TDX module measured while the hypervisor placed the firmware.
//!
//! Source: Intel 348549 "TDX Module Base Architecture", section "Measurement Types": `TDH.MEM.PAGE.ADD` hashes an address,
//! `TDH.MR.EXTEND` an address and 256 bytes.

use sha2::{Digest, Sha384};

use crate::firmware::PAGE;
use crate::firmware::tdx::{Layout, Section};

/// Bytes of one extension.
const CHUNK: usize = 256;
/// Bytes of the block that precedes an extension, or stands for an added page.
const BLOCK: usize = 128;

/// The order in which a hypervisor adds pages and extends the measurement with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PageOrder {
    /// Each page is extended right after it was added: Linux 6.16 and later with QEMU 10.1 and later, and the TDX branches
    /// of QEMU 9; td-shim's tool computes this one.
    PageByPage,
    /// All pages of a section are added, then all are extended: the TDX branches of QEMU 8.2.
    SectionBySection,
}

impl PageOrder {
    /// Both.
    pub const ALL: [Self; 2] = [Self::PageByPage, Self::SectionBySection];

    /// The VMM versions it belongs to, in words.
    #[must_use]
    pub fn when(self) -> &'static str {
        match self {
            Self::PageByPage => "QEMU 9 and later (each page added, then extended)",
            Self::SectionBySection => "QEMU 8.2 with TDX patches (all pages of a section added, then extended)",
        }
    }
}

/// MRTD of a guest that starts with this firmware.
#[must_use]
pub fn mrtd(layout: &Layout<'_>, order: PageOrder) -> [u8; 48] {
    let mut hash = Sha384::new();
    for section in layout.sections().iter().filter(|section| !section.added_later) {
        let pages = (section.address..section.address + section.size).step_by(PAGE as usize);
        match order {
            PageOrder::PageByPage => {
                let mut contents = contents(section);
                for page in pages {
                    add(&mut hash, page);
                    extend(&mut hash, page, contents.next().unwrap_or_default());
                }
            }
            PageOrder::SectionBySection => {
                pages.clone().for_each(|page| add(&mut hash, page));
                pages.zip(contents(section)).for_each(|(page, contents)| extend(&mut hash, page, contents));
            }
        }
    }
    hash.finalize().into()
}

/// The pages whose contents are measured, of a section.
fn contents<'a>(section: &Section<'a>) -> impl Iterator<Item = &'a [u8]> {
    let data = if section.extended { section.data } else { &[] };
    data.chunks(PAGE as usize)
}

fn add(hash: &mut Sha384, address: u64) {
    hash.update(block(b"MEM.PAGE.ADD", address));
}

fn extend(hash: &mut Sha384, page: u64, contents: &[u8]) {
    for (address, chunk) in (page..).step_by(CHUNK).zip(contents.chunks(CHUNK)) {
        hash.update(block(b"MR.EXTEND", address));
        hash.update(chunk);
    }
}

/// Name of the operation, and the address behind 16 bytes.
fn block(operation: &[u8], address: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let address = address.to_le_bytes();
    let fields = operation.iter().chain(std::iter::repeat_n(&0, 16 - operation.len())).chain(&address);
    block.iter_mut().zip(fields).for_each(|(place, byte)| *place = *byte);
    block
}
