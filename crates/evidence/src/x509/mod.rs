//! X.509 as the vendors write it: strict DER, raw bytes under every signature, no path building.
//!
//! General libraries refuse AMD's certificates (serial number 0, RSASSA-PSS issuers), and none of them names the rule that
//! a refusal breaks. The profile here is small: version 3, RSA or the two NIST curves, and the extensions that the chains
//! of AMD, Intel, NVIDIA and the cloud TPMs use. Source: RFC 5280; RFC 4055 for RSASSA-PSS; RFC 5480 for curves.

mod certificate;
mod der;
mod key;
#[cfg(test)]
pub(crate) mod made;
mod pem;
mod revocation;

#[cfg(test)]
pub(crate) use certificate::{CRL_SIGN, KEY_CERT_SIGN};
pub(crate) use certificate::{Certificate, DIGITAL_SIGNATURE, EXTENDED_KEY_USAGE, verify_chain};
pub(crate) use der::{Der, tag};
pub(crate) use key::{PublicKey, SignatureAlgorithm};
pub(crate) use pem::{certificates_from, decode_one, pem_blocks};
pub(crate) use revocation::RevocationList;
