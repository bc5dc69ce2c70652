//! Reads a log into events. Nothing is allocated on a length that was not checked against the bytes there are.

use super::{Algorithm, Digest, Event, EventType, Format, Log, LogError};
use crate::bytes::Bytes;

const EVENT: &str = "event";
const HEADER: &str = "header of the log";
/// Start of the data of the header event.
const SIGNATURE: &[u8; 16] = b"Spec ID Event03\0";
/// Register, type, SHA-1 digest and length of the data: the fixed part of an event with SHA-1 alone.
const SHA1_EVENT: u64 = 32;
/// More algorithms than TPMs have banks.
const ALGORITHMS: u32 = 16;
/// The longest digest there is.
const DIGEST: u16 = 64;

/// An algorithm of the header with the length of its digests.
struct Declared {
    number: u16,
    length: u64,
}

pub(super) fn log(data: &[u8]) -> Result<Log<'_>, LogError> {
    let bytes = Bytes::new(data);
    if is_padding(data) {
        return Err(LogError::Empty);
    }
    let first = sha1_event(&bytes, 0)?;
    if first.0.kind == EventType::NO_ACTION && first.0.data.starts_with(SIGNATURE) {
        let declared = header(&bytes.part(HEADER, SHA1_EVENT, first.1 - SHA1_EVENT)?)?;
        let (events, end) = events(data, first.1, |offset| agile_event(&bytes, offset, &declared))?;
        let algorithms = declared.iter().map(|declared| Algorithm::from_number(declared.number)).collect();
        return Ok(Log { format: Format::CryptoAgile, algorithms, events, end });
    }
    let (events, end) = events(data, 0, |offset| sha1_event(&bytes, offset))?;
    Ok(Log { format: Format::Sha1, algorithms: vec![Algorithm::Sha1], events, end })
}

/// Reads events from `offset` to the padding or the end; gives them and where they end.
fn events<'a>(
    data: &'a [u8],
    mut offset: u64,
    read: impl Fn(u64) -> Result<(Event<'a>, u64), LogError>,
) -> Result<(Vec<Event<'a>>, u64), LogError> {
    let mut events = Vec::new();
    loop {
        let rest = usize::try_from(offset).ok().and_then(|offset| data.get(offset..)).unwrap_or_default();
        if starts_like_padding(rest) {
            return if is_padding(rest) { Ok((events, offset)) } else { Err(LogError::Tail { offset }) };
        }
        let (event, end) = read(offset)?;
        events.push(event);
        offset = end;
    }
}

/// No event starts with the register 0xffffffff, and none is all zeros.
fn starts_like_padding(rest: &[u8]) -> bool {
    let start = rest.get(..16).unwrap_or(rest);
    start.iter().all(|byte| *byte == 0) || rest.get(..4).unwrap_or(rest).iter().all(|byte| *byte == 0xff)
}

fn is_padding(rest: &[u8]) -> bool {
    rest.iter().all(|byte| *byte == 0) || rest.iter().all(|byte| *byte == 0xff)
}

/// An event with SHA-1 alone, and where it ends.
fn sha1_event<'a>(bytes: &Bytes<'a>, offset: u64) -> Result<(Event<'a>, u64), LogError> {
    let length = u64::from(bytes.u32(EVENT, offset + 28)?);
    let event = Event {
        offset,
        register: bytes.u32(EVENT, offset)?,
        kind: EventType(bytes.u32(EVENT, offset + 4)?),
        digests: vec![Digest { algorithm: Algorithm::Sha1, bytes: bytes.take(EVENT, offset + 8, 20)? }],
        data: bytes.take("data of the event", offset + SHA1_EVENT, length)?,
    };
    Ok((event, offset + SHA1_EVENT + length))
}

/// The algorithms that the header's data name (`TCG_EfiSpecIDEvent`).
fn header(bytes: &Bytes<'_>) -> Result<Vec<Declared>, LogError> {
    let impossible = |what, at: u64, value| LogError::Value { what, offset: SHA1_EVENT + at, value };
    let count = bytes.u32(HEADER, 24)?;
    if count == 0 || count > ALGORITHMS {
        return Err(impossible("number of algorithms", 24, count.into()));
    }
    let mut declared: Vec<Declared> = Vec::new();
    for index in 0..u64::from(count) {
        let at = 28 + 4 * index;
        let number = bytes.u16(HEADER, at)?;
        let length = bytes.u16(HEADER, at + 2)?;
        let known = Algorithm::from_number(number).length();
        if length == 0 || length > DIGEST || known.is_some_and(|known| known != usize::from(length)) {
            return Err(impossible("length of a digest", at + 2, length.into()));
        }
        if declared.iter().any(|other| other.number == number) {
            return Err(impossible("algorithm named a second time", at, number.into()));
        }
        declared.push(Declared { number, length: length.into() });
    }
    let vendor = 28 + 4 * u64::from(count);
    let length = u64::from(bytes.u8(HEADER, vendor)?);
    if vendor + 1 + length != bytes.length() {
        return Err(impossible("length of vendor information", vendor, length));
    }
    Ok(declared)
}

/// An event with one digest of each declared algorithm, in any order, and where it ends.
fn agile_event<'a>(bytes: &Bytes<'a>, offset: u64, declared: &[Declared]) -> Result<(Event<'a>, u64), LogError> {
    let register = bytes.u32(EVENT, offset)?;
    let kind = EventType(bytes.u32(EVENT, offset + 4)?);
    if u64::from(bytes.u32(EVENT, offset + 8)?) != declared.len() as u64 {
        return Err(LogError::Digests { offset });
    }
    let mut at = offset + 12;
    let mut digests: Vec<Digest<'_>> = Vec::with_capacity(declared.len());
    for _ in declared {
        let number = bytes.u16("digest of an event", at)?;
        let algorithm = Algorithm::from_number(number);
        let length = declared.iter().find(|declared| declared.number == number).map(|declared| declared.length);
        let length = length.ok_or(LogError::Digests { offset })?;
        if digests.iter().any(|digest| digest.algorithm == algorithm) {
            return Err(LogError::Digests { offset });
        }
        digests.push(Digest { algorithm, bytes: bytes.take("digest of an event", at + 2, length)? });
        at += 2 + length;
    }
    let length = u64::from(bytes.u32("length of an event", at)?);
    let data = bytes.take("data of the event", at + 4, length)?;
    Ok((Event { offset, register, kind, digests, data }, at + 4 + length))
}
