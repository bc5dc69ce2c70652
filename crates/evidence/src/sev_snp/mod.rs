//! AMD SEV-SNP attestation reports, versions 2 to 5; Milan, Genoa (with Bergamo and Siena) and Turin.
//!
//! Source: AMD publication 56860, "SEV Secure Nested Paging Firmware ABI Specification", revision 1.58, chapter 7.3; AMD
//! publication 57230, "Versioned Chip Endorsement Key (VCEK) Certificate and KDS Interface Specification".

mod claims;
mod endorsement;
mod product;
mod report;
#[cfg(test)]
mod revocation_tests;
mod rules;
#[cfg(test)]
mod rules_tests;
mod table;
mod tcb;
mod verify;
mod wanted;

pub use endorsement::{Endorsement, verify_endorsement};
pub use product::{Product, SigningKey};
pub use table::certificate_in_table;
pub use tcb::Tcb;
pub use verify::{Evidence, Verified, verify};
pub use wanted::{Wanted, wanted};

#[cfg(feature = "fuzzing")]
pub(crate) use endorsement::fuzz_extensions;
