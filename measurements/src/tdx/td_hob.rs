//! The TD HOB: how QEMU describes the machine's memory to the firmware, which measures it into RTMR0.
//!
//! Source: QEMU `hw/i386/tdvf-hob.c` and `target/i386/kvm/tdx.c`; UEFI PI 1.8, volume 3 (HOB structures).

use sha2::{Digest, Sha384};

use super::TdxError;
use crate::firmware::tdx::{Layout, SectionKind};

/// From this size on QEMU's q35 machine splits its memory at [`LOW_WHEN_SPLIT`].
const SPLIT_FROM: u64 = 0xb000_0000;
/// Memory below 4 GiB of a machine whose memory is split.
const LOW_WHEN_SPLIT: u64 = 0x8000_0000;
const HIGH_START: u64 = 1 << 32;
/// Addresses of TDX guests have at most 52 bits.
const LARGEST: u64 = 1 << 51;
const MIB: u64 = 1 << 20;

const HANDOFF: u16 = 1;
const RESOURCE: u16 = 3;
const HANDOFF_LENGTH: u16 = 56;
const RESOURCE_LENGTH: u16 = 48;
/// The entry that ends the list: its length counts, but firmware measures only what is in front of it.
const END_LENGTH: u16 = 8;
const SYSTEM_MEMORY: u32 = 0;
const UNACCEPTED_MEMORY: u32 = 7;
/// Present, initialised, tested.
const ATTRIBUTES: u32 = 7;

/// The memory of a machine in bytes: whole MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Memory(u64);

impl Memory {
    /// From a number of bytes.
    ///
    /// # Errors
    /// [`TdxError::Memory`] for less than 16 MiB, more than 2 PiB, or parts of a MiB.
    pub fn new(bytes: u64) -> Result<Self, TdxError> {
        let possible = (16 * MIB..=LARGEST).contains(&bytes) && bytes.is_multiple_of(MIB);
        if possible { Ok(Self(bytes)) } else { Err(TdxError::Memory { bytes }) }
    }

    /// How much of it lies below 4 GiB on QEMU's q35 machine.
    #[must_use]
    pub fn below_4g(self) -> u64 {
        if self.0 >= SPLIT_FROM { LOW_WHEN_SPLIT } else { self.0 }
    }

    /// The ranges of addresses it takes, as start and end.
    fn ranges(self) -> Vec<(u64, u64)> {
        let low = self.below_4g();
        let high = (HIGH_START, HIGH_START + self.0 - low);
        [(0, low), high].into_iter().filter(|(start, end)| start < end).collect()
    }
}

/// The ranges that firmware accepts before it runs, as start and length.
fn accepted(layout: &Layout<'_>) -> Vec<(u64, u64)> {
    let mut ranges: Vec<_> = (layout.sections().iter())
        .filter(|section| matches!(section.kind, SectionKind::Hob | SectionKind::Memory))
        .map(|section| (section.address, section.size))
        .collect();
    ranges.sort_unstable();
    ranges
}

/// SHA-384 of the list that QEMU gives this firmware on a machine of that memory.
///
/// # Errors
/// [`TdxError`] where the firmware has no place for the list, or wants memory that the machine does not have.
pub fn td_hob_digest(layout: &Layout<'_>, memory: Memory) -> Result<[u8; 48], TdxError> {
    let place = layout.section(SectionKind::Hob).ok_or(TdxError::NoHob)?;
    list_digest(place.address, &accepted(layout), memory)
}

/// SHA-384 of the list at `place`, for a firmware that accepts these ranges (start and length, in order).
///
/// # Errors
/// [`TdxError::BeyondMemory`] for a range outside of the memory below 4 GiB, or not behind the one before it.
pub fn list_digest(place: u64, accepted: &[(u64, u64)], memory: Memory) -> Result<[u8; 48], TdxError> {
    let mut resources = Vec::new();
    for (start, end) in memory.ranges() {
        let mut at = start;
        if start == 0 {
            for &(address, length) in accepted {
                let beyond = TdxError::BeyondMemory { address, length };
                let last = address.checked_add(length).filter(|last| *last <= end).ok_or(beyond)?;
                if address < at {
                    return Err(beyond);
                }
                resources.push((UNACCEPTED_MEMORY, at, address - at));
                resources.push((SYSTEM_MEMORY, address, length));
                at = last;
            }
        }
        resources.push((UNACCEPTED_MEMORY, at, end - at));
    }
    resources.retain(|(_, _, length)| *length != 0);
    Ok(Sha384::digest(list(place, &resources)).into())
}

/// The list without the entry that ends it (EDK II `OvmfPkg/IntelTdx/TdxHelperLib`, `TdxHelperMeasureTdHob`).
fn list(place: u64, resources: &[(u32, u64, u64)]) -> Vec<u8> {
    let length =
        u64::from(HANDOFF_LENGTH) + u64::from(RESOURCE_LENGTH) * resources.len() as u64 + u64::from(END_LENGTH);
    let mut list = header(HANDOFF, HANDOFF_LENGTH);
    list.extend(9_u32.to_le_bytes()); // version of the hand-off table
    list.extend([0; 4 + 4 * 8]); // boot mode and four addresses that QEMU leaves open
    list.extend((place + length).to_le_bytes()); // end of the list
    for (kind, start, length) in resources {
        list.extend(header(RESOURCE, RESOURCE_LENGTH));
        list.extend([0; 16]); // no owner
        list.extend(kind.to_le_bytes());
        list.extend(ATTRIBUTES.to_le_bytes());
        list.extend(start.to_le_bytes());
        list.extend(length.to_le_bytes());
    }
    list
}

fn header(kind: u16, length: u16) -> Vec<u8> {
    [kind.to_le_bytes(), length.to_le_bytes(), [0; 2], [0; 2]].concat()
}
