//! Calculators of what a platform will report for an image. No I/O: bytes in, digests out.
//!
//! - [`sev_snp`]: the launch digest of an AMD SEV-SNP guest.
//! - [`tdx`]: the registers of an Intel TDX guest.
//! - [`tpm2`]: the PCRs of a TPM 2.0.
//! - [`event_log`]: firmware's log of what it measured: read, replayed, explained.
//! - [`register`]: what is known about a register: values, each under a condition, or the reason why not.
//! - [`authenticode`]: the digest by which firmware measures `lethe.efi` (TPM PCR 4, TDX RTMR1).
//! - [`release`]: the file in which a release publishes all of these, and the signatures on it.
//! - [`firmware`], [`pe`], [`bzimage`], [`partition_table`]: what of a file decides those.
//!
//! `docs/measurements.md` explains every value.
#![forbid(unsafe_code)]

pub mod authenticode;
mod boot_events;
mod bytes;
pub mod bzimage;
pub mod event_log;
pub mod firmware;
pub mod guid;
pub mod partition_table;
pub mod pe;
pub mod register;
pub mod release;
pub mod sev_snp;
pub mod tdx;
pub mod tpm2;
