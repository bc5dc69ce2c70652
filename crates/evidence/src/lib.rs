//! Parses and verifies attestation evidence: AMD SEV-SNP, Intel TDX, TPM 2.0, Azure's wrapped form, NVIDIA GPUs.
//!
//! - **No input or output, no clock.** Bytes and the time are arguments; the answer is a value.
//! - **No claim without a verification.** The typed claims (`Verified` of each platform) are made by the platform's
//!   `verify` alone. Nothing else reads a field of evidence, except what names the collateral to fetch
//!   ([`sev_snp::wanted`], [`tdx::wanted`]): a hint, from bytes that may lie, to what is then verified like the rest.
//! - **Every refusal names its [`Rule`]**, and every demand beyond authenticity is a line of a [`Policy`].
//! - **Vendor roots are embedded.** Nothing that comes with evidence is ever a trust anchor.
//!
//! [`check`] has one entry point for each `lethe check` command: bytes in, verdict out.

#![forbid(unsafe_code)]

mod account;
pub mod azure;
pub mod check;
mod cursor;
mod expected;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod known;
#[cfg(feature = "nvidia")]
pub mod nvidia;
mod policy;
mod refusal;
mod roots;
mod rule;
pub mod sev_snp;
pub mod tdx;
mod time;
pub mod tpm;
mod x509;

pub use check::Verdict;
pub use expected::{Expected, ExpectedError};
pub use known::Known;
pub use policy::{
    Allowed, AzurePolicy, Demand, Floor, Line, PlatformPolicy, Policy, PolicyError, SevSnpPolicy, TcbStatus, TdxPolicy,
    Tpm2Policy,
};
pub use refusal::Refusal;
pub use rule::Rule;
pub use time::Time;
