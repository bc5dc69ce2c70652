//! The registers of an Intel TDX guest: MRTD, RTMR0 to RTMR2 and MRCONFIGID.
//!
//! RTMRs are predicted for firmware of EDK II's OVMF under QEMU. Other hypervisors measure other events: there, a
//! verifier replays the log and judges its events.

mod error;
mod mrtd;
mod rtmr0;
mod rtmr1;
mod rtmr2;
mod td_hob;

pub use error::TdxError;
pub use mrtd::{PageOrder, mrtd};
pub use rtmr0::{AcpiTables, rtmr0};
pub use rtmr1::rtmr1;
pub use rtmr2::rtmr2;
pub use td_hob::{Memory, list_digest, td_hob_digest};

use crate::register::Expected;

/// A register of TDX.
pub type Rtmr = [u8; 48];

/// How the machine comes to its kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot<'a> {
    /// From a disk with an EFI system partition.
    Disk {
        /// The PE file at `\EFI\BOOT\BOOTX64.EFI`: kernel, command line and initial RAM disk in one.
        efi: &'a [u8],
        /// The event of the disk's partition table, where the disk is known ([`crate::partition_table::event`]).
        partition_table: Option<Expected<Rtmr>>,
    },
    /// From QEMU's `-kernel`, `-initrd` and `-append`.
    Direct {
        /// The kernel's file.
        kernel: &'a [u8],
        /// The initial RAM disk's file.
        initrd: Option<&'a [u8]>,
        /// The command line.
        cmdline: &'a str,
    },
}

/// The EDK II release a firmware was built from: a year and a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edk2 {
    /// The year.
    pub year: u16,
    /// The month, 1 to 12.
    pub month: u8,
}

impl Edk2 {
    /// From this release on OVMF takes the kernel unchanged, puts `initrd=` in front of the command line and measures more
    /// of the machine.
    const DIRECT_BOOT_REWORKED: Self = Self { year: 2025, month: 5 };

    /// Whether a firmware of this release boots kernels the newer way.
    #[must_use]
    pub fn is_reworked(self) -> bool {
        self >= Self::DIRECT_BOOT_REWORKED
    }
}

impl std::str::FromStr for Edk2 {
    type Err = TdxError;

    /// Reads a release's name: `2025.02`.
    fn from_str(text: &str) -> Result<Self, TdxError> {
        let (year, month) = text.split_once('.').ok_or(TdxError::Release)?;
        let number = |digits: &str, length| {
            let plain = digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<u16>().ok().filter(|_| plain).ok_or(TdxError::Release)
        };
        let (year, month) = (number(year, 4)?, number(month, 2)?);
        let month = u8::try_from(month).ok().filter(|month| (1..=12).contains(month)).ok_or(TdxError::Release)?;
        Ok(Self { year, month })
    }
}

/// The two ways in which OVMF boots a kernel that QEMU hands it, which differ in what is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DirectBoot {
    Older,
    Newer,
}

impl DirectBoot {
    /// The ways that a firmware of this release, or of an unknown one, can have.
    fn possible(edk2: Option<Edk2>) -> Vec<Self> {
        match edk2 {
            None => vec![Self::Older, Self::Newer],
            Some(edk2) if edk2.is_reworked() => vec![Self::Newer],
            Some(_) => vec![Self::Older],
        }
    }

    fn when(self) -> &'static str {
        match self {
            Self::Older => "EDK II before 2025.05",
            Self::Newer => "EDK II 2025.05 or later",
        }
    }
}

/// MRCONFIGID of a guest that is bound to this deployment document: its SHA-384.
#[must_use]
pub fn mrconfigid(document: &[u8]) -> Rtmr {
    deployment::digest_sha384(document)
}
