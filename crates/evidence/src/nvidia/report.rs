//! The report as bytes: the request, the response, the signature.

use std::collections::BTreeMap;

use crate::{
    Refusal, Rule,
    cursor::{Cursor, all_zero},
};

/// Largest report read, in bytes.
const MAX_BYTES: usize = 64 << 10;
/// Length of the request in bytes.
const REQUEST_BYTES: usize = 37;
/// Length of the signature in bytes: ECDSA over P-384.
const SIGNATURE_BYTES: usize = 96;
/// SPDM 1.1.
const VERSION: u8 = 0x11;
const GET_MEASUREMENTS: u8 = 0xe0;
const MEASUREMENTS: u8 = 0x60;
/// Opaque field with the driver's version, text.
pub(super) const DRIVER_VERSION: u16 = 3;
/// Opaque field with the VBIOS version, text or bytes.
pub(super) const VBIOS_VERSION: u16 = 6;
/// A measurement in DMTF's form.
const DMTF: u8 = 1;

/// A well-formed report. Not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report<'a> {
    /// Everything before the signature.
    pub(crate) signed: &'a [u8],
    pub(crate) signature: [u8; SIGNATURE_BYTES],
    pub(crate) fields: Fields,
}

/// The fields of request and response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) nonce: [u8; 32],
    pub(crate) slot: u8,
    pub(crate) response_nonce: [u8; 32],
    /// Values by index.
    pub(crate) measurements: BTreeMap<u8, Measurement>,
    /// Opaque fields by type.
    pub(crate) opaque: BTreeMap<u16, Vec<u8>>,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Measurement {
    /// DMTF's value type.
    pub(crate) kind: u8,
    pub(crate) value: Vec<u8>,
}

impl<'a> Report<'a> {
    /// Reads a report: rule G1.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Refusal> {
        Rule::G1.require(bytes.len() <= MAX_BYTES, "the report is too large")?;
        let mut at = Cursor::new(bytes);
        let malformed = || Rule::G1.refuse("the report is malformed, or a length in it is wrong");
        let (nonce, slot) = request(&mut at).ok_or_else(malformed)?;
        let fields = response(&mut at, nonce, slot).ok_or_else(malformed)?;
        let signed = bytes.get(..bytes.len() - at.rest().len()).ok_or_else(malformed)?;
        let signature = at.array().ok_or_else(malformed)?;
        Rule::G1.require(all_zero(at.rest()), "bytes other than zero follow the report")?;
        Ok(Self { signed, signature, fields })
    }
}

/// `GET_MEASUREMENTS`: all measurements, with a signature.
fn request(at: &mut Cursor<'_>) -> Option<([u8; 32], u8)> {
    let mut fields = Cursor::new(at.take(REQUEST_BYTES)?);
    (fields.array() == Some([VERSION, GET_MEASUREMENTS, 0x01, 0xff])).then_some(())?;
    Some((fields.array()?, fields.u8()?))
}

/// `MEASUREMENTS`, up to its signature.
fn response(at: &mut Cursor<'_>, nonce: [u8; 32], slot: u8) -> Option<Fields> {
    (at.u8()? == VERSION && at.u8()? == MEASUREMENTS).then_some(())?;
    at.take(2)?; // parameters
    let count = at.u8()?;
    let [low, middle, high] = at.array()?;
    let length = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
    let mut records = Cursor::new(at.take(length)?);
    let mut measurements = BTreeMap::new();
    for _ in 0..count {
        let (index, measurement) = measurement(&mut records)?;
        if measurements.insert(index, measurement).is_some() {
            return None;
        }
    }
    records.is_empty().then_some(())?;
    let response_nonce = at.array()?;
    let opaque_bytes = at.u16_le()?;
    let opaque = opaque(at.take(opaque_bytes.into())?)?;
    Some(Fields { nonce, slot, response_nonce, measurements, opaque })
}

/// Index, specification, length; then DMTF's type, length and value.
fn measurement(records: &mut Cursor<'_>) -> Option<(u8, Measurement)> {
    let (index, specification, length) = (records.u8()?, records.u8()?, records.u16_le()?);
    let mut block = Cursor::new(records.take(length.into())?);
    (specification == DMTF).then_some(())?;
    let kind = block.u8()?;
    let length = block.u16_le()?;
    let value = block.take(length.into())?.to_vec();
    block.is_empty().then_some((index, Measurement { kind, value }))
}

/// NVIDIA's fields: type, length, value; none twice.
fn opaque(bytes: &[u8]) -> Option<BTreeMap<u16, Vec<u8>>> {
    let mut at = Cursor::new(bytes);
    let mut fields = BTreeMap::new();
    while !at.is_empty() {
        let (kind, length) = (at.u16_le()?, at.u16_le()?);
        if fields.insert(kind, at.take(length.into())?.to_vec()).is_some() {
            return None;
        }
    }
    Some(fields)
}

/// An opaque field that is text, byte for byte, without the zeros behind.
pub(super) fn text(value: &[u8]) -> String {
    let end = value.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    value.iter().take(end).map(|byte| char::from(*byte)).collect()
}
