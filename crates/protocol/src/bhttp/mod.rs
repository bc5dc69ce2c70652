//! Binary HTTP (RFC 9292): requests and responses as bytes, of known or indeterminate length.
//!
//! Reading is strict where HTTP/2 is (RFC 9113 section 8.2): whatever would make an HTTP/2 message malformed is refused, and
//! so is `CONNECT`. Every length is checked against [`Limits`] before anything of that length is kept.

mod field;
mod read;
mod write;

use std::fmt;

pub use field::{Field, Fields, value_of};
pub use read::{Decoder, Event};
pub use write::{write_content, write_end, write_request_head, write_response_head};

/// How much of a message is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of control data and fields together; every field counts 32 bytes more than its name and value.
    pub head: usize,
    /// Bytes of content.
    pub content: usize,
}

impl Default for Limits {
    /// 64 KiB of fields, 16 MiB of content.
    fn default() -> Self {
        Self { head: 64 << 10, content: 16 << 20 }
    }
}

/// Bytes that are no message, or too long a one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BhttpError {
    /// The framing indicator is not one of the expected kind of message.
    #[error("the binary message is not of the expected kind")]
    Framing,
    /// Control data that HTTP does not allow.
    #[error("the binary message has malformed control data")]
    Control,
    /// A field that HTTP/2 does not allow.
    #[error("the binary message has a malformed field")]
    Field,
    /// `Content-Length` is not the content's length.
    #[error("the binary message's content is not as long as it says")]
    ContentLength,
    /// Padding other than zeros, or data after the message.
    #[error("the binary message ends in something that is not padding")]
    Padding,
    /// A part is longer than the limits allow.
    #[error("the binary message is longer than allowed")]
    TooLong,
    /// The message ends in the middle of a part.
    #[error("the binary message is truncated")]
    Truncated,
}

/// What a request says before its content.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct RequestHead {
    /// `GET`, `POST`, …
    pub method: String,
    /// `https`.
    pub scheme: String,
    /// Host and port; may be empty.
    pub authority: String,
    /// Path and query; starts with a slash, or is `*`.
    pub path: String,
    /// Header fields.
    pub fields: Fields,
}

/// What a response says before its content.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ResponseHead {
    /// Status code, 100 to 599.
    pub status: u16,
    /// Header fields.
    pub fields: Fields,
}

/// A whole request.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// Control data and header fields.
    pub head: RequestHead,
    /// The body.
    pub content: Vec<u8>,
    /// Trailer fields.
    pub trailers: Fields,
}

/// A whole response; informational responses before it are not kept.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Response {
    /// Control data and header fields.
    pub head: ResponseHead,
    /// The body.
    pub content: Vec<u8>,
    /// Trailer fields.
    pub trailers: Fields,
}

impl Request {
    /// Reads a whole request of either length.
    ///
    /// # Errors
    /// [`BhttpError`].
    pub fn decode(bytes: &[u8], limits: Limits) -> Result<Self, BhttpError> {
        let mut request = Self::default();
        for event in whole(Decoder::requests(limits), bytes)? {
            match event {
                Event::Request(head) => request.head = head,
                Event::Content(mut content) => append(&mut request.content, &mut content),
                Event::Trailers(trailers) => request.trailers = trailers,
                Event::Informational(_) | Event::Response(_) => {}
            }
        }
        Ok(request)
    }
}

impl Response {
    /// Reads a whole response of either length.
    ///
    /// # Errors
    /// [`BhttpError`].
    pub fn decode(bytes: &[u8], limits: Limits) -> Result<Self, BhttpError> {
        let mut response = Self::default();
        for event in whole(Decoder::responses(limits), bytes)? {
            match event {
                Event::Response(head) => response.head = head,
                Event::Content(mut content) => append(&mut response.content, &mut content),
                Event::Trailers(trailers) => response.trailers = trailers,
                Event::Informational(_) | Event::Request(_) => {}
            }
        }
        Ok(response)
    }
}

fn whole(mut decoder: Decoder, bytes: &[u8]) -> Result<Vec<Event>, BhttpError> {
    let mut events = Vec::new();
    decoder.feed(bytes, &mut events)?;
    decoder.finish(&mut events)?;
    Ok(events)
}

/// The one piece of a message of known length is not copied again.
fn append(content: &mut Vec<u8>, piece: &mut Vec<u8>) {
    if content.is_empty() { std::mem::swap(content, piece) } else { content.append(piece) }
}

// Debug output names routes and sizes, never fields or content: a log must not carry a prompt.
impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} request, {} fields", self.method, self.fields.len())
    }
}

impl fmt::Debug for ResponseHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "response {}, {} fields", self.status, self.fields.len())
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} bytes", self.head, self.content.len())
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} bytes", self.head, self.content.len())
    }
}
