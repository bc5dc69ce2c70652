//! Policies: what a relying party asks of evidence, as data. Every line carries its reason.
//!
//! Four policies are embedded; a user's own extends one of them and replaces lines:
//!
//! ```toml
//! name = "our-rack"
//! extends = "strict"
//! about = "strict, and only the four machines of rack 7"
//!
//! [sev_snp]
//! chips = { is = ["3b42…"], because = "these are ours" }
//! ```

mod line;
mod read;
mod sections;

pub use line::{Allowed, Demand, Line};
pub use read::PolicyError;
pub use sections::{AzurePolicy, Floor, PlatformPolicy, Policy, SevSnpPolicy, TcbStatus, TdxPolicy, Tpm2Policy};
