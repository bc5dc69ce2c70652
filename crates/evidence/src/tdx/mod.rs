//! Intel TDX quotes, versions 4 and 5, with Intel's collateral.
//!
//! Our own code over RustCrypto and not a general library: each refusal has to name its rule, the chain inside of the quote
//! is the only one that counts, and a status is a value that a policy judges. `dcap-qvl` is the judge in the tests.
//!
//! Source: Intel "TDX DCAP: Quote Generation Library and Quote Verification Library" (quote layout), Intel "SGX PCK
//! Certificate and CRL Profile Specification" 1.5 (extensions), Intel "Provisioning Certification Service API" v4
//! (collateral), Intel "TDX Module 1.5 ABI" (TD attributes).

mod claims;
mod collateral;
#[cfg(test)]
mod collateral_tests;
mod level;
#[cfg(test)]
mod level_tests;
mod log;
mod pck;
mod quote;
mod rules;
#[cfg(test)]
mod rules_tests;
mod verify;
#[cfg(test)]
mod verify_tests;
mod wanted;

pub use collateral::Collateral;
pub use level::Tcb;
pub use verify::{Evidence, Verified, verify};
pub use wanted::{Wanted, wanted};

/// Whether bytes are a quote.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_quote(bytes: &[u8]) -> bool {
    quote::Quote::read(bytes).is_ok_and(|quote| !quote.binds_attestation_key())
}

/// Whether bytes are TCB info or a QE identity.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_collateral(bytes: &[u8]) -> bool {
    serde_json::from_slice::<collateral::TcbInfo>(bytes).is_ok()
        | serde_json::from_slice::<collateral::QeIdentity>(bytes).is_ok()
}

#[cfg(feature = "fuzzing")]
pub(crate) use {log::fuzz_judge, pck::fuzz_extension};
