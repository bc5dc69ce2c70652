//! Reading messages as their bytes come.

use std::fmt;

use super::field::{self, Field, Fields};
use super::write::{INDETERMINATE_REQUEST, INDETERMINATE_RESPONSE, KNOWN_REQUEST, KNOWN_RESPONSE};
use super::{BhttpError, Limits, RequestHead, ResponseHead};
use crate::varint;

/// What a field costs beyond its bytes, as in RFC 9113 section 10.5.1.
const FIELD_COST: usize = 32;

/// A part of a message.
#[derive(Clone, PartialEq, Eq)]
pub enum Event {
    /// A response before the final one, with a status from 100 to 199.
    Informational(ResponseHead),
    /// The head of a request.
    Request(RequestHead),
    /// The head of the final response.
    Response(ResponseHead),
    /// A piece of the content, never empty.
    Content(Vec<u8>),
    /// The trailer fields; left out where there are none.
    Trailers(Fields),
}

// as for messages: sizes, never content
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Informational(head) | Self::Response(head) => head.fmt(f),
            Self::Request(head) => head.fmt(f),
            Self::Content(piece) => write!(f, "{} bytes", piece.len()),
            Self::Trailers(fields) => write!(f, "{} trailers", fields.len()),
        }
    }
}

/// Reads one message from pieces of any size.
///
/// It holds the unread bytes of one field or field section at most; content is passed on as it comes.
pub struct Decoder {
    request: bool,
    known: bool,
    state: State,
    input: Input,
    head: Head,
    fields: Fields,
    head_left: usize,
    content_left: u64,
    content_length: Option<u64>,
    content_read: u64,
}

enum Head {
    Request(RequestHead),
    Response(ResponseHead),
}

/// What comes next. The flag of a section says whether any byte of it was read: a message may end before one, not in one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Framing,
    Control,
    Header(bool),
    Content(bool),
    Piece(u64),
    Trailer(bool),
    Padding,
}

impl Decoder {
    /// A reader of a request.
    #[must_use]
    pub fn requests(limits: Limits) -> Self {
        Self::new(true, Head::Request(RequestHead::default()), limits)
    }

    /// A reader of a response.
    #[must_use]
    pub fn responses(limits: Limits) -> Self {
        Self::new(false, Head::Response(ResponseHead::default()), limits)
    }

    fn new(request: bool, head: Head, limits: Limits) -> Self {
        Self {
            request,
            known: false,
            state: State::Framing,
            input: Input::default(),
            head,
            fields: Fields::new(),
            head_left: limits.head,
            content_left: u64::try_from(limits.content).unwrap_or(u64::MAX),
            content_length: None,
            content_read: 0,
        }
    }

    /// Reads the next bytes and appends what they complete to `events`.
    ///
    /// # Errors
    /// [`BhttpError`]; the reader is of no further use then.
    pub fn feed(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), BhttpError> {
        self.input.push(bytes);
        while self.step(events)? {}
        self.input.compact();
        Ok(())
    }

    /// Ends the message.
    ///
    /// # Errors
    /// [`BhttpError::Truncated`] where it may not end here, [`BhttpError::ContentLength`] for a request whose content is of
    /// another length than its field says.
    pub fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), BhttpError> {
        // RFC 9292 section 3.8: sections that are empty at the end may be left out
        if !self.input.rest().is_empty() {
            return Err(BhttpError::Truncated);
        }
        if self.state == State::Header(false) {
            self.end_section(events)?;
        }
        // behind an informational response the final one is missing
        if !matches!(self.state, State::Content(false) | State::Trailer(false) | State::Padding) {
            return Err(BhttpError::Truncated);
        }
        if self.content_length.is_some_and(|length| length != self.content_read) {
            return Err(BhttpError::ContentLength);
        }
        self.state = State::Padding;
        Ok(())
    }

    /// One part of the message; `false` where more bytes are needed.
    fn step(&mut self, events: &mut Vec<Event>) -> Result<bool, BhttpError> {
        match self.state {
            State::Framing => self.framing(),
            State::Control if self.request => self.request_control(),
            State::Control => self.response_control(),
            State::Header(_) | State::Trailer(_) if self.known => self.known_section(events),
            State::Header(_) | State::Trailer(_) => self.next_field(events),
            State::Content(_) => self.content_length(),
            State::Piece(left) => Ok(self.piece(left, events)),
            State::Padding => self.padding(),
        }
    }

    fn framing(&mut self) -> Result<bool, BhttpError> {
        let Some(framing) = self.input.varint() else { return Ok(false) };
        self.known = match (self.request, framing) {
            (true, KNOWN_REQUEST) | (false, KNOWN_RESPONSE) => true,
            (true, INDETERMINATE_REQUEST) | (false, INDETERMINATE_RESPONSE) => false,
            _ => return Err(BhttpError::Framing),
        };
        self.state = State::Control;
        Ok(true)
    }

    fn request_control(&mut self) -> Result<bool, BhttpError> {
        let mut rest = self.input.rest();
        let start = rest.len();
        let mut parts = [[].as_slice(); 4];
        for part in &mut parts {
            let Some((bytes, after)) = vector(rest, self.head_left)? else { return Ok(false) };
            (*part, rest) = (bytes, after);
        }
        let [method, scheme, authority, path] = parts;
        let head = RequestHead {
            method: field::method(method)?,
            scheme: field::scheme(scheme)?,
            authority: field::authority(authority)?,
            path: field::path(path)?,
            fields: Fields::new(),
        };
        let used = start - rest.len();
        self.charge(used)?;
        self.input.consume(used);
        self.head = Head::Request(head);
        self.state = State::Header(false);
        Ok(true)
    }

    fn response_control(&mut self) -> Result<bool, BhttpError> {
        let Some(status) = self.input.varint() else { return Ok(false) };
        let status = u16::try_from(status).ok().filter(|status| (100..=599).contains(status));
        let status = status.ok_or(BhttpError::Control)?;
        self.charge(FIELD_COST)?;
        self.head = Head::Response(ResponseHead { status, fields: Fields::new() });
        self.state = State::Header(false);
        Ok(true)
    }

    /// A field section with its length in front.
    fn known_section(&mut self, events: &mut Vec<Event>) -> Result<bool, BhttpError> {
        let Some((mut section, rest)) = vector(self.input.rest(), self.head_left)? else { return Ok(false) };
        let used = self.input.rest().len() - rest.len();
        let (mut fields, mut cost) = (Fields::new(), used);
        while !section.is_empty() {
            let Some((field, rest)) = read_field(section, self.head_left)? else { return Err(BhttpError::Field) };
            cost += FIELD_COST;
            fields.push(field);
            section = rest;
        }
        self.charge(cost)?;
        self.input.consume(used);
        self.fields = fields;
        self.end_section(events)?;
        Ok(true)
    }

    /// A field of a section that ends with an empty name.
    fn next_field(&mut self, events: &mut Vec<Event>) -> Result<bool, BhttpError> {
        let rest = self.input.rest();
        if let Some((0, length)) = varint::read(rest) {
            self.input.consume(length);
            self.end_section(events)?;
            return Ok(true);
        }
        let Some((field, after)) = read_field(rest, self.head_left)? else {
            self.began(!rest.is_empty());
            return Ok(false);
        };
        let used = rest.len() - after.len();
        self.charge(used + FIELD_COST)?;
        self.input.consume(used);
        self.fields.push(field);
        self.began(true);
        Ok(true)
    }

    fn began(&mut self, began: bool) {
        match &mut self.state {
            State::Header(flag) | State::Trailer(flag) => *flag |= began,
            _ => {}
        }
    }

    fn end_section(&mut self, events: &mut Vec<Event>) -> Result<(), BhttpError> {
        let fields = std::mem::take(&mut self.fields);
        if let State::Trailer(_) = self.state {
            self.state = State::Padding;
            if !fields.is_empty() {
                events.push(Event::Trailers(fields));
            }
            return Ok(());
        }
        self.state = State::Content(false);
        match &mut self.head {
            Head::Request(head) => {
                self.content_length = declared_length(&fields)?;
                events.push(Event::Request(RequestHead { fields, ..std::mem::take(head) }));
            }
            Head::Response(head) if head.status < 200 => {
                self.state = State::Control;
                events.push(Event::Informational(ResponseHead { status: head.status, fields }));
            }
            Head::Response(head) => events.push(Event::Response(ResponseHead { status: head.status, fields })),
        }
        Ok(())
    }

    fn content_length(&mut self) -> Result<bool, BhttpError> {
        let Some(length) = self.input.varint() else { return Ok(false) };
        self.content_left = self.content_left.checked_sub(length).ok_or(BhttpError::TooLong)?;
        self.content_read = self.content_read.saturating_add(length);
        self.state = match length {
            0 => State::Trailer(false),
            length => State::Piece(length),
        };
        Ok(true)
    }

    fn piece(&mut self, left: u64, events: &mut Vec<Event>) -> bool {
        let rest = self.input.rest();
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        let piece = rest.get(..most).unwrap_or_default();
        if piece.is_empty() {
            return false;
        }
        events.push(Event::Content(piece.to_vec()));
        self.input.consume(most);
        self.state = match left.saturating_sub(u64::try_from(most).unwrap_or(left)) {
            0 if self.known => State::Trailer(false),
            0 => State::Content(true),
            left => State::Piece(left),
        };
        true
    }

    fn padding(&mut self) -> Result<bool, BhttpError> {
        if self.input.rest().iter().any(|byte| *byte != 0) {
            return Err(BhttpError::Padding);
        }
        self.input.consume(self.input.rest().len());
        Ok(false)
    }

    fn charge(&mut self, bytes: usize) -> Result<(), BhttpError> {
        self.head_left = self.head_left.checked_sub(bytes).ok_or(BhttpError::TooLong)?;
        Ok(())
    }
}

/// A part and what follows it; `None` where bytes are missing.
type Part<'b, T> = Option<(T, &'b [u8])>;

/// Bytes behind their length, and what follows. A length beyond `most` is refused at once.
fn vector(bytes: &[u8], most: usize) -> Result<Part<'_, &[u8]>, BhttpError> {
    let Some((length, used)) = varint::read(bytes) else { return Ok(None) };
    let length = usize::try_from(length).ok().filter(|length| *length <= most).ok_or(BhttpError::TooLong)?;
    Ok(bytes.get(used..).and_then(|rest| rest.split_at_checked(length)))
}

fn read_field(bytes: &[u8], most: usize) -> Result<Part<'_, Field>, BhttpError> {
    let Some((name, rest)) = vector(bytes, most)? else { return Ok(None) };
    let Some((value, rest)) = vector(rest, most)? else { return Ok(None) };
    Ok(Some((Field::checked(name, value)?, rest)))
}

/// `Content-Length`, which must be one decimal number where it is there.
fn declared_length(fields: &[Field]) -> Result<Option<u64>, BhttpError> {
    let mut values = fields.iter().filter(|field| field.name == "content-length").map(|field| field.value.as_slice());
    let Some(value) = values.next() else { return Ok(None) };
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match (digits.and_then(|text| text.parse().ok()), values.next()) {
        (Some(length), None) => Ok(Some(length)),
        _ => Err(BhttpError::ContentLength),
    }
}

/// Bytes that came and were not read yet; wiped when they are dropped.
#[derive(Default)]
struct Input {
    bytes: zeroize::Zeroizing<Vec<u8>>,
    read: usize,
}

impl Input {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.read..).unwrap_or_default()
    }

    fn consume(&mut self, bytes: usize) {
        self.read = self.read.saturating_add(bytes).min(self.bytes.len());
    }

    fn varint(&mut self) -> Option<u64> {
        let (value, used) = varint::read(self.rest())?;
        self.consume(used);
        Some(value)
    }

    /// Forgets what was read, so that the buffer grows with what is unread only.
    fn compact(&mut self) {
        self.bytes.drain(..self.read);
        self.read = 0;
    }
}
