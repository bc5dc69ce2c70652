//! The register state in which a processor of an SEV-SNP guest starts, as its hypervisor sets it and the launch measures
//! it.
//!
//! Source: AMD 24593 "APM volume 2", table B-4 "VMSA layout"; values: KVM `arch/x86/kvm/svm/sev.c`, QEMU
//! `target/i386/sev.c`; EC2 and Google's hypervisor: the project sev-snp-measure, which saw them in reports.

use sha2::{Digest, Sha384};

use super::{Guest, Vmm, context::DIGEST};
use crate::firmware::PAGE;

/// Where the first processor starts: the reset vector.
pub(crate) const RESET_VECTOR: u32 = 0xffff_fff0;
/// RDX where the hypervisor does not put the CPU's signature there.
const RDX_ALWAYS: u64 = 0x600;
/// Reset value of the page attribute table (APM volume 2, section A.3).
const PAT: u64 = 0x0007_0406_0007_0406;
/// What Google's hypervisor makes of it.
const PAT_GOOGLE: u64 = 0x0007_0106;

/// Attributes of the segments whose value differs between hypervisors, and the floating point state.
struct State {
    code: u16,
    stack: u16,
    task: u16,
    pat: u64,
    rdx: u64,
    mxcsr: u32,
    fpu_control: u16,
}

impl State {
    fn of(guest: &Guest, start: u32) -> Self {
        match guest.vmm {
            Vmm::Qemu => Self {
                code: 0x9b,
                stack: 0x93,
                task: 0x8b,
                pat: PAT,
                rdx: guest.cpu.eax().into(),
                mxcsr: 0x1f80,
                fpu_control: 0x37f,
            },
            Vmm::Ec2 => Self {
                code: if start == RESET_VECTOR { 0x9a } else { 0x9b },
                stack: 0x92,
                task: 0x83,
                pat: PAT,
                rdx: RDX_ALWAYS,
                mxcsr: 0,
                fpu_control: 0,
            },
            Vmm::Gce => {
                Self { code: 0x9b, stack: 0x93, task: 0x8b, pat: PAT_GOOGLE, rdx: RDX_ALWAYS, mxcsr: 0, fpu_control: 0 }
            }
        }
    }
}

/// Digest of the page of a processor that starts at `start`.
pub(crate) fn digest(guest: &Guest, start: u32) -> [u8; DIGEST] {
    Sha384::digest(page(guest, start)).into()
}

fn page(guest: &Guest, start: u32) -> [u8; PAGE as usize] {
    let state = State::of(guest, start);
    let mut page = Page([0; PAGE as usize]);
    page.segment(0x000, 0, 0x93, 0); // ES
    page.segment(0x010, 0xf000, state.code, start & 0xffff_0000); // CS
    page.segment(0x020, 0, state.stack, 0); // SS
    page.segment(0x030, 0, 0x93, 0); // DS
    page.segment(0x040, 0, 0x93, 0); // FS
    page.segment(0x050, 0, 0x93, 0); // GS
    page.segment(0x060, 0, 0, 0); // GDTR
    page.segment(0x070, 0, 0x82, 0); // LDTR
    page.segment(0x080, 0, 0, 0); // IDTR
    page.segment(0x090, 0, state.task, 0); // TR
    page.put(0x0d0, &0x1000_u64.to_le_bytes()); // EFER: SVME, which KVM sets
    page.put(0x148, &0x40_u64.to_le_bytes()); // CR4: MCE, which KVM sets
    page.put(0x158, &0x10_u64.to_le_bytes()); // CR0: ET
    page.put(0x160, &0x400_u64.to_le_bytes()); // DR7
    page.put(0x168, &0xffff_0ff0_u64.to_le_bytes()); // DR6
    page.put(0x170, &0x2_u64.to_le_bytes()); // RFLAGS
    page.put(0x178, &u64::from(start & 0xffff).to_le_bytes()); // RIP
    page.put(0x268, &state.pat.to_le_bytes()); // G_PAT
    page.put(0x310, &state.rdx.to_le_bytes()); // RDX
    page.put(0x3b0, &guest.features.bits().to_le_bytes()); // SEV_FEATURES
    page.put(0x3e8, &1_u64.to_le_bytes()); // XCR0: x87
    page.put(0x408, &state.mxcsr.to_le_bytes()); // MXCSR
    page.put(0x410, &state.fpu_control.to_le_bytes()); // x87 control word
    page.0
}

struct Page([u8; PAGE as usize]);

impl Page {
    /// Offsets are constants inside of the page.
    fn put(&mut self, offset: usize, bytes: &[u8]) {
        for (place, byte) in self.0.iter_mut().skip(offset).zip(bytes) {
            *place = *byte;
        }
    }

    /// Every segment has a limit of 64 KiB.
    fn segment(&mut self, offset: usize, selector: u16, attributes: u16, base: u32) {
        self.put(offset, &selector.to_le_bytes());
        self.put(offset + 2, &attributes.to_le_bytes());
        self.put(offset + 4, &0xffff_u32.to_le_bytes());
        self.put(offset + 8, &u64::from(base).to_le_bytes());
    }
}
