//! Why a register of TDX cannot be computed.

use crate::bzimage::KernelError;
use crate::pe::PeError;

/// What is wrong with the inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TdxError {
    /// A size of memory that no machine has.
    #[error("{bytes} bytes are no size of a machine's memory: whole MiB, 16 MiB to 2 PiB are")]
    Memory {
        /// What was asked for.
        bytes: u64,
    },
    /// The firmware has no section for the TD HOB.
    #[error("the firmware has no section in which the machine's memory is described (TD HOB)")]
    NoHob,
    /// The firmware wants memory that is not there.
    #[error("the firmware wants {length} bytes at {address:#x}, which this machine does not have below 4 GiB")]
    BeyondMemory {
        /// Where.
        address: u64,
        /// How much.
        length: u64,
    },
    /// Not the name of an EDK II release.
    #[error("no EDK II release: their names are a year and a month, as in 2025.02")]
    Release,
    /// The command line has a NUL in it.
    #[error("the command line has a NUL in it")]
    CommandLine,
    /// The kernel is no PE file with a well-defined digest.
    #[error("the kernel is no PE file that firmware would measure")]
    Pe(#[source] PeError),
    /// The kernel's header is not one QEMU can work with.
    #[error("the kernel's header is not one that QEMU would accept")]
    Kernel(#[source] KernelError),
}

impl From<PeError> for TdxError {
    fn from(error: PeError) -> Self {
        Self::Pe(error)
    }
}

impl From<KernelError> for TdxError {
    fn from(error: KernelError) -> Self {
        Self::Kernel(error)
    }
}
