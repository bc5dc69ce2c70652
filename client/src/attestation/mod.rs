//! What an appliance says about itself, and what of it is proven.
//!
//! [`examine`] judges the bytes of a report, label by label; only it can make a [`Verified`], and everything that sends a
//! prompt asks for one. It does no input or output: what vendors say comes as [`Endorsements`], the time as an argument.

mod bundle;
pub mod evidence;
mod examine;
mod findings;
mod judge;
mod labels;
mod references;
mod trust;
mod verified;

pub use bundle::{Bundle, BundleError};
pub use examine::{Channel, Examination, Expectation, MAX_REPORT_BYTES, NonceOrigin, examine, parse, pinned_model};
pub use labels::{Label, Labels, Outcome, Subject};
pub use references::{Manifest, ManifestError, Reference, ReferenceError, References};
pub use trust::{AttestationKeys, Endorsements, Trust};
pub use verified::Verified;
