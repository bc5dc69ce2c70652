//! Which kind of machine to boot, and what a confidential one is launched with.

use clap::ValueEnum;

use super::Error;
use super::boot::Args;
use super::description::{Launch, Load, Tee};
use crate::host_check::{Facts, complete, requirements};

/// What the command line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// The strongest kind of which nothing is missing here: SEV-SNP, TDX, an emulated TPM
    Auto,
    /// Nothing: every client refuses it unless told otherwise
    None,
    /// A TPM 2.0, here emulated by swtpm
    Tpm2,
    /// AMD SEV-SNP; needs --firmware, and a host for which `lethe-image host-check sev-snp` finds nothing missing
    SevSnp,
    /// Intel TDX; needs --firmware, and a host for which `lethe-image host-check tdx` finds nothing missing
    Tdx,
}

impl Choice {
    /// The kind that is booted. `measured_firmware`: firmware for a confidential machine is named, and nothing else on the command
    /// line rules one out; without that `auto` does not take one, which could only end in an error.
    #[must_use]
    pub fn resolve(self, measured_firmware: bool, facts: impl FnOnce() -> Facts) -> Tee {
        match self {
            Self::None => Tee::None,
            Self::Tpm2 => Tee::Tpm2,
            Self::SevSnp => Tee::SevSnp,
            Self::Tdx => Tee::Tdx,
            Self::Auto => {
                let facts = facts();
                let has =
                    |tee: &Tee| (measured_firmware || !tee.is_confidential()) && complete(&requirements(*tee, &facts));
                [Tee::SevSnp, Tee::Tdx, Tee::Tpm2].into_iter().find(has).unwrap_or(Tee::None)
            }
        }
    }
}

impl Tee {
    /// Whether the processor itself keeps the host out.
    #[must_use]
    pub fn is_confidential(self) -> bool {
        matches!(self, Self::SevSnp | Self::Tdx)
    }
}

/// What the processor is told at launch; the document's digests go where the evidence shows them.
///
/// # Errors
/// If the image is to get in by a way that the evidence would not cover.
pub(super) fn launch(tee: Tee, load: &Load, args: &Args, document: Option<&[u8]>) -> Result<Option<Launch>, Error> {
    let uncovered = |what: &str, help: &str| Error::Input { what: what.to_owned(), help: help.to_owned() };
    Ok(match (tee, load) {
        (Tee::None | Tee::Tpm2, _) => None,
        (Tee::SevSnp, Load::Kernel(_)) => Some(Launch::SevSnp {
            c_bit: c_bit(),
            cpu: args.cpu_model.clone(),
            host_data: document.map(deployment::digest_sha256),
        }),
        (Tee::SevSnp, Load::Esp(_) | Load::Disk { .. }) => {
            return Err(uncovered(
                "the launch digest of SEV-SNP would not cover what is on a disk",
                "boot the image itself: --image FILE, without --disk, --esp and --load esp",
            ));
        }
        (Tee::Tdx, Load::Esp(_) | Load::Disk { .. }) => {
            Some(Launch::Tdx { mrconfigid: document.map(deployment::digest_sha384), quotes: args.quotes.clone() })
        }
        (Tee::Tdx, Load::Kernel(_)) => {
            return Err(uncovered(
                "a trust domain would measure the image as QEMU changes it on the way, which no release can know",
                "leave --load kernel out: the image is booted from an EFI system partition",
            ));
        }
    })
}

/// `CPUID 0x8000001F` EBX 5:0 where this processor has that leaf, else what all processors with SEV-SNP so far have.
fn c_bit() -> u8 {
    const LEAF: u32 = 0x8000_001f;
    let newest = core::arch::x86_64::__cpuid(0x8000_0000).eax;
    let bits = if newest >= LEAF { core::arch::x86_64::__cpuid(LEAF).ebx & 0x3f } else { 0 };
    u8::try_from(bits).ok().filter(|bit| *bit != 0).unwrap_or(51)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_takes_the_strongest_kind_of_which_nothing_is_missing() {
        let tpm = Facts { qemu: Some((7, 2)), swtpm: true, ovmf: true, ..Facts::default() };
        assert_eq!(Choice::Auto.resolve(true, || tpm.clone()), Tee::Tpm2);
        assert_eq!(Choice::Auto.resolve(true, || Facts { swtpm: false, ..tpm.clone() }), Tee::None);
        let amd = Facts {
            vendor: Some("AuthenticAMD".to_owned()),
            flags: ["sev_snp".to_owned()].into(),
            kernel: Some((6, 12)),
            parameters: vec![("kvm_amd.sev", true), ("kvm_amd.sev_es", true), ("kvm_amd.sev_snp", true)],
            devices: ["/dev/kvm", "/dev/sev"].into(),
            qemu: Some((10, 0)),
            objects: ["sev-snp-guest"].into(),
            ..tpm
        };
        assert_eq!(Choice::Auto.resolve(false, || amd.clone()), Tee::Tpm2);
        assert_eq!(Choice::Auto.resolve(true, || amd), Tee::SevSnp);
    }

    #[test]
    fn what_is_named_is_booted_whatever_is_missing() {
        assert_eq!(Choice::Tdx.resolve(false, || unreachable!("nothing is looked at")), Tee::Tdx);
    }
}
