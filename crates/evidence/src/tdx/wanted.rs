//! What to ask Intel's provisioning certification service for, so that a quote can be verified. A hint from bytes that nobody
//! has verified: whatever it leads to is checked like everything else.
//!
//! Source: Intel "Provisioning Certification Service API", version 4.

use super::{pck::Platform, quote::Quote};
use crate::{
    Refusal, Rule,
    x509::{Certificate, pem_blocks},
};

/// The kind of platform that collateral is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Family, model, stepping, platform type and custom SKU.
    pub fmspc: [u8; 6],
    /// The authority of its PCK certificate, as the service calls it: `platform` or `processor`.
    pub authority: &'static str,
}

/// What a quote needs to be verified. Not a claim: nobody has verified the bytes that say so.
///
/// # Errors
///
/// A [`Refusal`] for bytes that are no quote, or a PCK certificate that does not say what platform it is for.
pub fn wanted(quote: &[u8]) -> Result<Wanted, Refusal> {
    let quote = Quote::read(quote)?;
    let malformed = || Rule::T2.refuse("the PCK certificate chain is malformed");
    let blocks = pem_blocks(quote.pck_chain, "CERTIFICATE").ok_or_else(malformed)?;
    let leaf = blocks.first().and_then(|der| Certificate::read(der)).ok_or_else(malformed)?;
    let authority = match Certificate::common_name(leaf.issuer) {
        Some("Intel SGX PCK Platform CA") => "platform",
        Some("Intel SGX PCK Processor CA") => "processor",
        _ => return Err(Rule::T2.refuse("the PCK certificate's issuer is not one of Intel's PCK authorities")),
    };
    let platform = Platform::of(&leaf).ok_or_else(|| Rule::T2.refuse("Intel's extension is malformed"))?;
    Ok(Wanted { fmspc: platform.fmspc, authority })
}
