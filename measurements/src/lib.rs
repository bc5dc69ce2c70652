//! Calculators of what a platform will report for an image. No I/O: bytes in, digests out.
//!
//! - [`sev_snp`]: the launch digest of an AMD SEV-SNP guest.
//! - [`authenticode`]: the digest by which firmware measures `lethe.efi` (TPM PCR 4, TDX RTMR1).
//! - [`firmware`], [`pe`]: what of a firmware image or a PE file decides those.
//!
//! `docs/measurements.md` explains every value.
#![forbid(unsafe_code)]

pub mod authenticode;
mod bytes;
pub mod firmware;
pub mod guid;
pub mod pe;
pub mod sev_snp;
