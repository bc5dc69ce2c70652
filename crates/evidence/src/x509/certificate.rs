//! Certificates and chains.

use std::borrow::Cow;

use super::{
    der::{Der, Element, tag},
    key::{PublicKey, SignatureAlgorithm},
};
use crate::Time;

/// Largest certificate read, in bytes.
const MAX_BYTES: usize = 16 << 10;
/// Most extensions read.
const MAX_EXTENSIONS: usize = 32;

const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13]; // 2.5.29.19
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f]; // 2.5.29.15
/// `ExtKeyUsage`, 2.5.29.37. Whoever has a purpose in mind reads it: [`verify_chain`] refuses a critical one as unknown.
pub(crate) const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];

/// Bit of `KeyUsage`: signatures over data.
pub(crate) const DIGITAL_SIGNATURE: u8 = 0x80;
/// Bit of `KeyUsage`: signatures over certificates.
pub(crate) const KEY_CERT_SIGN: u8 = 0x04;
/// Bit of `KeyUsage`: signatures over revocation lists.
pub(crate) const CRL_SIGN: u8 = 0x02;

/// One extension, not interpreted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extension<'a> {
    /// Content of the object identifier.
    pub(crate) oid: &'a [u8],
    pub(crate) critical: bool,
    /// What the octet string holds.
    pub(crate) value: &'a [u8],
}

/// A well-formed certificate. Nothing about it is verified.
#[derive(Debug, Clone)]
pub(crate) struct Certificate<'a> {
    tbs: &'a [u8],
    /// Magnitude of the serial number. AMD's endorsement certificates have 0.
    pub(crate) serial: &'a [u8],
    /// The names as DER: compared byte for byte.
    pub(crate) issuer: &'a [u8],
    pub(crate) subject: &'a [u8],
    pub(crate) not_before: Time,
    pub(crate) not_after: Time,
    pub(crate) spki: &'a [u8],
    pub(crate) key: PublicKey,
    algorithm: SignatureAlgorithm,
    signature: &'a [u8],
    pub(crate) extensions: Vec<Extension<'a>>,
    /// `Some(path length)` for an authority.
    authority: Option<Option<u32>>,
    /// First octet of the key usage, if there is the extension.
    key_usage: Option<u8>,
}

impl<'a> Certificate<'a> {
    /// Reads one certificate that fills `der` exactly.
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
        Self::read_tbs(tbs, &outer_algorithm, signature)
    }

    fn read_tbs(tbs: Element<'a>, outer_algorithm: &Element<'a>, signature: &'a [u8]) -> Option<Self> {
        let mut fields = Der::new(tbs.content);
        let mut version = fields.nested(tag::context(0))?;
        (version.small()? == 2).then_some(())?; // version 3
        version.end()?;
        let serial = fields.unsigned()?;
        let algorithm = fields.element(tag::SEQUENCE)?;
        // RFC 5280 section 4.1.1.2: the same identifier inside and outside of the signed part.
        (algorithm.raw == outer_algorithm.raw).then_some(())?;
        let issuer = fields.element(tag::SEQUENCE)?.raw;
        let mut validity = fields.nested(tag::SEQUENCE)?;
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        validity.end()?;
        let subject = fields.element(tag::SEQUENCE)?.raw;
        let spki = fields.element(tag::SEQUENCE)?.raw;
        let extensions = match fields.optional(tag::context(3))? {
            Some(content) => extensions(content)?,
            None => Vec::new(),
        };
        fields.end()?;
        let find = |oid: &[u8]| extensions.iter().find(|extension| extension.oid == oid);
        Some(Self {
            authority: find(BASIC_CONSTRAINTS).map_or(Some(None), |extension| basic_constraints(extension.value))?,
            key_usage: find(KEY_USAGE)
                .map(|extension| key_usage(extension.value))
                .map_or(Some(None), |bits| bits.map(Some))?,
            tbs: tbs.raw,
            serial,
            issuer,
            subject,
            not_before,
            not_after,
            spki,
            key: PublicKey::from_spki(spki)?,
            algorithm: SignatureAlgorithm::read(algorithm.content)?,
            signature,
            extensions,
        })
    }

    /// The value of the extension with this object identifier.
    pub(crate) fn extension(&self, oid: &[u8]) -> Option<&'a [u8]> {
        self.extensions.iter().find(|extension| extension.oid == oid).map(|extension| extension.value)
    }

    /// Whether the certificate is an authority's.
    pub(crate) fn is_authority(&self) -> bool {
        self.authority.is_some()
    }

    /// Whether the key may be used for this; a certificate without the extension may be used for anything.
    pub(crate) fn may(&self, usage: u8) -> bool {
        self.key_usage.is_none_or(|bits| bits & usage != 0)
    }

    /// Whether the key may be used for one of these purposes: a certificate without the extension may be used for any, one
    /// with it for what it lists, critical or not (RFC 5280 section 4.2.1.12). A malformed list allows nothing.
    pub(crate) fn serves(&self, purposes: &[&[u8]]) -> bool {
        let Some(value) = self.extension(EXTENDED_KEY_USAGE) else { return true };
        let mut outer = Der::new(value);
        let Some(mut list) = outer.nested(tag::SEQUENCE) else { return false };
        let mut found = false;
        while !list.is_empty() {
            let Some(purpose) = list.content(tag::OID) else { return false };
            found |= purposes.contains(&purpose);
        }
        found && outer.is_empty()
    }

    /// Whether `issuer` signed this certificate. Names, dates and constraints are [`verify_chain`]'s.
    pub(crate) fn is_signed_by(&self, issuer: &PublicKey) -> bool {
        issuer.verifies(self.algorithm, self.tbs, self.signature)
    }

    /// The last common name of a name, as text.
    pub(crate) fn common_name(name: &'a [u8]) -> Option<&'a str> {
        const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
        let mut outer = Der::new(name);
        let mut parts = outer.nested(tag::SEQUENCE)?;
        let mut found = None;
        while !parts.is_empty() {
            let mut set = parts.nested(tag::SET)?;
            let mut attribute = set.nested(tag::SEQUENCE)?;
            let is_name = attribute.content(tag::OID)? == COMMON_NAME;
            let value = attribute.any()?;
            if is_name && matches!(value.tag, tag::UTF8_STRING | tag::PRINTABLE_STRING | tag::IA5_STRING) {
                found = std::str::from_utf8(value.content).ok();
            }
        }
        found
    }
}

/// A `Time` of RFC 5280.
pub(super) fn time(der: &mut Der<'_>) -> Option<Time> {
    let element = der.any()?;
    match element.tag {
        tag::UTC_TIME => Time::from_utc_time(element.content),
        tag::GENERALIZED_TIME => Time::from_generalized_time(element.content),
        _ => None,
    }
}

/// `Extensions`: no identifier twice.
pub(super) fn extensions(content: &[u8]) -> Option<Vec<Extension<'_>>> {
    let mut outer = Der::new(content);
    let mut list = outer.nested(tag::SEQUENCE)?;
    outer.end()?;
    let mut extensions: Vec<Extension<'_>> = Vec::new();
    while !list.is_empty() {
        let mut fields = list.nested(tag::SEQUENCE)?;
        let oid = fields.content(tag::OID)?;
        let critical = if fields.peek() == Some(tag::BOOLEAN) { fields.boolean()? } else { false };
        let value = fields.content(tag::OCTET_STRING)?;
        fields.end()?;
        if extensions.len() == MAX_EXTENSIONS || extensions.iter().any(|known| known.oid == oid) {
            return None;
        }
        extensions.push(Extension { oid, critical, value });
    }
    Some(extensions)
}

/// Reads `BasicConstraints`: nothing for an end entity, the path length for an authority.
fn basic_constraints(value: &[u8]) -> Option<Option<Option<u32>>> {
    let mut outer = Der::new(value);
    let mut fields = outer.nested(tag::SEQUENCE)?;
    outer.end()?;
    let authority = if fields.peek() == Some(tag::BOOLEAN) { fields.boolean()? } else { false };
    let path_length = if fields.is_empty() { None } else { Some(fields.small()?) };
    fields.end()?;
    // A path length without authority has no meaning (RFC 5280 section 4.2.1.9).
    match (authority, path_length) {
        (true, length) => Some(Some(length)),
        (false, None) => Some(None),
        (false, Some(_)) => None,
    }
}

/// First octet of a `KeyUsage`.
fn key_usage(value: &[u8]) -> Option<u8> {
    let mut outer = Der::new(value);
    let bits = outer.content(tag::BIT_STRING)?;
    outer.end()?;
    match bits {
        [unused, first, ..] if *unused < 8 => Some(*first),
        _ => None,
    }
}

/// Verifies a chain, leaf first; the last certificate is the trusted root. `known` lists the object identifiers that the
/// caller reads itself and that may therefore be critical.
///
/// Names, signatures, dates of every certificate, constraints and path lengths of every issuer. An embedded root's own
/// signature is not looked at: the root is trusted because it is embedded.
pub(crate) fn verify_chain(chain: &[&Certificate<'_>], at: Time, known: &[&[u8]]) -> Result<(), Cow<'static, str>> {
    for (depth, certificate) in chain.iter().enumerate() {
        let name = || Certificate::common_name(certificate.subject).unwrap_or("?").chars().take(64).collect::<String>();
        if at < certificate.not_before {
            return Err(format!("certificate {} is not valid before {}", name(), certificate.not_before).into());
        }
        if at > certificate.not_after {
            return Err(
                format!("certificate {} has expired: it was valid until {}", name(), certificate.not_after).into()
            );
        }
        let interpreted = |oid: &[u8]| [BASIC_CONSTRAINTS, KEY_USAGE].contains(&oid) || known.contains(&oid);
        if certificate.extensions.iter().any(|extension| extension.critical && !interpreted(extension.oid)) {
            return Err(format!("certificate {} has an unknown critical extension", name()).into());
        }
        if depth > 0 {
            let Some(path_length) = certificate.authority else {
                return Err(format!("certificate {} is no authority", name()).into());
            };
            if !certificate.may(KEY_CERT_SIGN) {
                return Err(format!("certificate {} may not sign certificates", name()).into());
            }
            if path_length.is_some_and(|limit| depth - 1 > limit as usize) {
                return Err(format!("the chain below certificate {} is too long", name()).into());
            }
        }
    }
    for (certificate, issuer) in chain.iter().zip(chain.iter().skip(1)) {
        if certificate.issuer != issuer.subject {
            return Err("a certificate names another issuer".into());
        }
        if !certificate.is_signed_by(&issuer.key) {
            return Err("a certificate is not signed by its issuer".into());
        }
    }
    Ok(())
}
