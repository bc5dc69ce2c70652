//! Writing messages.

use super::field::Field;
use super::{Request, RequestHead, Response, ResponseHead};
use crate::varint;

/// Framing indicators (RFC 9292 section 3.3).
pub(super) const KNOWN_REQUEST: u64 = 0;
pub(super) const KNOWN_RESPONSE: u64 = 1;
pub(super) const INDETERMINATE_REQUEST: u64 = 2;
pub(super) const INDETERMINATE_RESPONSE: u64 = 3;

impl Request {
    /// The request with known lengths.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        varint::put(KNOWN_REQUEST, &mut out);
        control(&self.head, &mut out);
        known_rest(&self.head.fields, &self.content, &self.trailers, &mut out);
        out
    }

    /// The request with indeterminate lengths, as chunked OHTTP asks.
    #[must_use]
    pub fn encode_indeterminate(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_request_head(&self.head, &mut out);
        write_content(&self.content, &mut out);
        write_end(&self.trailers, &mut out);
        out
    }
}

impl Response {
    /// The response with known lengths.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        varint::put(KNOWN_RESPONSE, &mut out);
        varint::put(u64::from(self.head.status), &mut out);
        known_rest(&self.head.fields, &self.content, &self.trailers, &mut out);
        out
    }

    /// The response with indeterminate lengths.
    #[must_use]
    pub fn encode_indeterminate(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_response_head(&self.head, &mut out);
        write_content(&self.content, &mut out);
        write_end(&self.trailers, &mut out);
        out
    }
}

/// Starts a request of indeterminate length.
pub fn write_request_head(head: &RequestHead, out: &mut Vec<u8>) {
    varint::put(INDETERMINATE_REQUEST, out);
    control(head, out);
    fields(&head.fields, out);
    out.push(0);
}

/// Starts a response of indeterminate length.
pub fn write_response_head(head: &ResponseHead, out: &mut Vec<u8>) {
    varint::put(INDETERMINATE_RESPONSE, out);
    varint::put(u64::from(head.status), out);
    fields(&head.fields, out);
    out.push(0);
}

/// One piece of content of a message of indeterminate length; an empty one is nothing, because it would end the content.
pub fn write_content(piece: &[u8], out: &mut Vec<u8>) {
    if !piece.is_empty() {
        vector(piece, out);
    }
}

/// Ends the content and the message.
pub fn write_end(trailers: &[Field], out: &mut Vec<u8>) {
    out.push(0);
    fields(trailers, out);
    out.push(0);
}

fn control(head: &RequestHead, out: &mut Vec<u8>) {
    for part in [&head.method, &head.scheme, &head.authority, &head.path] {
        vector(part.as_bytes(), out);
    }
}

fn known_rest(header: &[Field], content: &[u8], trailers: &[Field], out: &mut Vec<u8>) {
    let mut section = Vec::new();
    fields(header, &mut section);
    vector(&section, out);
    vector(content, out);
    section.clear();
    fields(trailers, &mut section);
    vector(&section, out);
}

fn fields(section: &[Field], out: &mut Vec<u8>) {
    for field in section {
        vector(field.name.as_bytes(), out);
        vector(&field.value, out);
    }
}

fn vector(bytes: &[u8], out: &mut Vec<u8>) {
    varint::put_len(bytes.len(), out);
    out.extend_from_slice(bytes);
}
