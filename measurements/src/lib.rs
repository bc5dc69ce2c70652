//! Calculators of what a platform will report for an image. No I/O: bytes in, digests out.
//!
//! Firmware measures `lethe.efi` by its Authenticode digest (TPM PCR 4, TDX RTMR1), which [`authenticode`] computes.
#![forbid(unsafe_code)]

pub mod authenticode;
pub mod pe;
