//! What an appliance says about itself, and what of it is proven.
//!
//! [`examine`] judges the bytes of a report in a fixed order of rules; only it can make a [`Verified`], and everything
//! that sends a prompt asks for one.

mod examine;
mod labels;
mod report;

pub use examine::{Channel, Examination, Expectation, Policy, Verified, examine};
pub use labels::{Label, Labels, Outcome, Subject};
pub use report::{Attestation, MAX_REPORT_BYTES, Report};
