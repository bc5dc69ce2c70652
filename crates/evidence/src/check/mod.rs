//! One entry point for each `lethe check` command: bytes, policy and time in, a verdict out.

mod sev_snp;
mod tdx;
mod verdict;

pub use sev_snp::{SevSnp, sev_snp};
pub use tdx::{Tdx, tdx};
pub use verdict::Verdict;
