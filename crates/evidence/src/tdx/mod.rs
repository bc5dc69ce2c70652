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
mod level;
#[cfg(test)]
mod level_tests;
mod pck;
mod quote;
mod rules;
#[cfg(test)]
mod rules_tests;
mod verify;

pub use collateral::Collateral;
pub use level::Tcb;
pub use verify::{Evidence, Verified, verify};
