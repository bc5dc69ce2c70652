//! One entry point for each `lethe check` command: bytes, policy and time in, a verdict out.

mod azure;
mod none;
#[cfg(feature = "nvidia")]
mod nvidia;
mod sev_snp;
mod tdx;
mod tpm2;
mod verdict;

pub use azure::{Azure, azure};
pub use none::none;
#[cfg(feature = "nvidia")]
pub use nvidia::{Nvidia, nvidia};
pub use sev_snp::{SevSnp, sev_snp};
pub use tdx::{Tdx, tdx, tdx_with_event_log};
pub use tpm2::{Tpm2, tpm2};
pub use verdict::Verdict;
