//! Certificate revocation lists.

use std::borrow::Cow;

use super::{
    certificate::{CRL_SIGN, Certificate, extensions, time},
    der::{Der, tag},
    key::SignatureAlgorithm,
};
use crate::Time;

/// Largest list read, in bytes.
const MAX_BYTES: usize = 256 << 10;

/// Critical extensions of a list that may be ignored here: none. An issuing distribution point or a delta list changes
/// what the list means, so it is refused.
fn is_plain(content: &[u8]) -> Option<()> {
    extensions(content)?.iter().all(|extension| !extension.critical).then_some(())
}

/// A well-formed list. Nothing about it is verified until [`RevocationList::verify`].
#[derive(Debug)]
pub(crate) struct RevocationList<'a> {
    tbs: &'a [u8],
    pub(crate) issuer: &'a [u8],
    pub(crate) this_update: Time,
    pub(crate) next_update: Time,
    revoked: Vec<&'a [u8]>,
    algorithm: SignatureAlgorithm,
    signature: &'a [u8],
}

impl<'a> RevocationList<'a> {
    /// Reads one list that fills `der` exactly.
    pub(crate) fn read(der: &'a [u8]) -> Option<Self> {
        if der.len() > MAX_BYTES {
            return None;
        }
        let mut outer = Der::new(der);
        let mut parts = outer.nested(tag::SEQUENCE)?;
        outer.end()?;
        let tbs = parts.element(tag::SEQUENCE)?;
        let outer_algorithm = parts.element(tag::SEQUENCE)?;
        let signature = parts.bit_string()?;
        parts.end()?;

        let mut fields = Der::new(tbs.content);
        (fields.small()? == 1).then_some(())?; // version 2
        let algorithm = fields.element(tag::SEQUENCE)?;
        (algorithm.raw == outer_algorithm.raw).then_some(())?;
        let issuer = fields.element(tag::SEQUENCE)?.raw;
        let this_update = time(&mut fields)?;
        let next_update = time(&mut fields)?;
        let revoked = match fields.optional(tag::SEQUENCE)? {
            Some(content) => entries(content)?,
            None => Vec::new(),
        };
        if let Some(content) = fields.optional(tag::context(0))? {
            is_plain(content)?;
        }
        fields.end()?;
        let algorithm = SignatureAlgorithm::read(algorithm.content)?;
        Some(Self { tbs: tbs.raw, issuer, this_update, next_update, revoked, algorithm, signature })
    }

    /// Checks that `issuer` signed this list, and that it is neither from the future nor stale.
    pub(crate) fn verify(&self, issuer: &Certificate<'_>, at: Time) -> Result<(), Cow<'static, str>> {
        if self.issuer != issuer.subject {
            return Err("the revocation list is another authority's".into());
        }
        if !issuer.may(CRL_SIGN) {
            return Err("the authority may not sign revocation lists".into());
        }
        if !issuer.key.verifies(self.algorithm, self.tbs, self.signature) {
            return Err("the revocation list is not signed by its authority".into());
        }
        if at < self.this_update {
            return Err(format!("the revocation list is from the future: {}", self.this_update).into());
        }
        if at > self.next_update {
            return Err(format!("the revocation list is stale: its successor was due {}", self.next_update).into());
        }
        Ok(())
    }

    /// Whether the list names this serial number.
    pub(crate) fn revokes(&self, serial: &[u8]) -> bool {
        self.revoked.contains(&serial)
    }
}

/// The serial numbers of `revokedCertificates`.
fn entries(content: &[u8]) -> Option<Vec<&[u8]>> {
    let mut list = Der::new(content);
    let mut serials = Vec::new();
    while !list.is_empty() {
        let mut entry = list.nested(tag::SEQUENCE)?;
        serials.push(entry.unsigned()?);
        time(&mut entry)?;
        if !entry.is_empty() {
            let inner = entry.element(tag::SEQUENCE)?;
            is_plain(inner.raw)?;
        }
        entry.end()?;
    }
    Some(serials)
}
