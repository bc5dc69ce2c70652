//! The launch digest of an AMD SEV-SNP guest: `MEASUREMENT` of its reports.
//!
//! The security processor hashes, page by page, the firmware, what the firmware's metadata list, and the start state of
//! every processor. [`launch_digest`] does the same from the files.

mod context;
mod cpu;
mod id_block;
mod kernel_hashes;
mod vmsa;

use std::fmt;

pub use cpu::{CpuSignature, UnknownCpu};
pub use id_block::{ID_BLOCK_BYTES, IdBlock, KeyError, key_digest};
pub use kernel_hashes::KernelHashes;

use crate::firmware::sev::{Layout, Section, SectionKind};
use crate::firmware::{Firmware, PAGE};
use context::Context;

/// More processors than KVM gives a guest.
const VCPUS: u32 = 4096;

/// Why there is no launch digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnpError {
    /// The silent mistake: a machine would start, and its report would say nothing about the kernel.
    #[error(
        "this firmware does not measure the kernel: a launch digest would be the same for every kernel, initial RAM disk \
         and command line"
    )]
    KernelNotMeasured,
    /// No processor, or more than any hypervisor gives.
    #[error("{count} virtual processors: 1 to {VCPUS} are possible")]
    Vcpus {
        /// What was asked for.
        count: u32,
    },
    /// Guest features of which SEV-SNP itself is none.
    #[error("guest features {bits:#x} are without bit 0: no SEV-SNP guest starts with them")]
    Features {
        /// What was asked for.
        bits: u64,
    },
    /// A command line with a NUL in it.
    #[error("the command line has a NUL in it")]
    CommandLine,
}

/// Who starts the machine: hypervisors differ in the start state of processors and in the order of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vmm {
    /// QEMU with KVM.
    Qemu,
    /// Amazon EC2; CPUID page last, CPU signature not measured.
    Ec2,
    /// Google Compute Engine; zeroed memory unmeasured, CPU signature not measured.
    Gce,
}

/// The bits of `SEV_FEATURES` in the start state (APM volume 2, table B-4; bit 0 is SEV-SNP itself).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GuestFeatures(u64);

impl GuestFeatures {
    /// SEV-SNP and nothing else: what QEMU and KVM use unless told otherwise.
    pub const SNP: Self = Self(1);

    /// From the number.
    ///
    /// # Errors
    /// [`SnpError::Features`] without bit 0.
    pub fn new(bits: u64) -> Result<Self, SnpError> {
        if bits & 1 == 1 { Ok(Self(bits)) } else { Err(SnpError::Features { bits }) }
    }

    /// The number.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }
}

/// The number of virtual processors, 1 to 4096.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Vcpus(u32);

impl Vcpus {
    /// From the number.
    ///
    /// # Errors
    /// [`SnpError::Vcpus`] for zero or more than 4096.
    pub fn new(count: u32) -> Result<Self, SnpError> {
        if (1..=VCPUS).contains(&count) { Ok(Self(count)) } else { Err(SnpError::Vcpus { count }) }
    }

    /// The number.
    #[must_use]
    pub fn count(self) -> u32 {
        self.0
    }
}

/// The machine around the firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guest {
    /// How many processors start.
    pub vcpus: Vcpus,
    /// What the processors show as CPUID leaf 1, EAX; measured by QEMU only.
    pub cpu: CpuSignature,
    /// `SEV_FEATURES` of every processor.
    pub features: GuestFeatures,
    /// Who starts it.
    pub vmm: Vmm,
}

/// A launch digest: the field `MEASUREMENT` of a report.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LaunchDigest(pub [u8; 48]);

impl fmt::Display for LaunchDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for LaunchDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The running digest after the firmware's own pages: all that is needed of a firmware file besides its [`Layout`].
#[must_use]
pub fn firmware_digest(firmware: &Firmware<'_>) -> LaunchDigest {
    let mut context = Context::from([0; 48]);
    context.normal(firmware.address(), firmware.image());
    LaunchDigest(context.digest())
}

/// The launch digest of a guest whose firmware gave `firmware` ([`firmware_digest`]) and `layout`.
///
/// # Errors
/// [`SnpError::KernelNotMeasured`] if a kernel is given that this firmware would not check.
pub fn launch_digest(
    firmware: LaunchDigest,
    layout: &Layout,
    kernel: Option<&KernelHashes>,
    guest: &Guest,
) -> Result<LaunchDigest, SnpError> {
    let hashes = match (kernel, layout.hash_table()) {
        (Some(_), None) => return Err(SnpError::KernelNotMeasured),
        (Some(kernel), Some(address)) => Some(kernel.page(address % PAGE as u32)),
        (None, _) => None,
    };
    let mut context = Context::from(firmware.0);
    for section in ordered(layout.sections(), guest.vmm) {
        place(&mut context, section, hashes.as_deref(), guest.vmm);
    }
    context.vmsa(&vmsa::digest(guest, vmsa::RESET_VECTOR));
    let others = vmsa::digest(guest, layout.reset_address());
    for _ in 1..guest.vcpus.count() {
        context.vmsa(&others);
    }
    Ok(LaunchDigest(context.digest()))
}

/// EC2 places the CPUID page behind everything else.
fn ordered(sections: &[Section], vmm: Vmm) -> impl Iterator<Item = &Section> {
    let last = move |section: &&Section| vmm == Vmm::Ec2 && section.kind == SectionKind::Cpuid;
    sections.iter().filter(move |section| !last(section)).chain(sections.iter().filter(last))
}

fn place(context: &mut Context, section: &Section, hashes: Option<&[u8]>, vmm: Vmm) {
    let (address, size) = (section.address.into(), section.size.into());
    match (section.kind, hashes) {
        (SectionKind::Memory, _) if vmm == Vmm::Gce => context.unmeasured(address, size),
        (SectionKind::KernelHashes, Some(page)) => context.normal(address, page),
        (SectionKind::Memory | SectionKind::SvsmCallingArea | SectionKind::KernelHashes, _) => {
            context.zero(address, size);
        }
        (SectionKind::Secrets, _) => context.secrets(address),
        (SectionKind::Cpuid, _) => context.cpuid(address),
    }
}
