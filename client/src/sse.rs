//! Server-sent events (WHATWG HTML, section 9.2), read from a server that may be hostile: everything is bounded.

use http::{HeaderMap, header};

/// Longest line, in bytes, and longest data of one event.
pub const MAX_LINE_BYTES: usize = 1024 * 1024;
const MAX_DATA_BYTES: usize = 4 * 1024 * 1024;

/// Whether an answer says that it is a stream of events.
pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The `event` field; empty if there was none.
    pub name: String,
    /// The `data` lines, joined by newlines.
    pub data: String,
}

/// Why a stream is not one of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// A line over [`MAX_LINE_BYTES`], or an event over four times as much.
    #[error("an event of the stream is too long")]
    TooLong,
    /// Bytes that are not UTF-8.
    #[error("the stream is not UTF-8")]
    NotUtf8,
}

/// Takes bytes as they come, however they are cut, and gives events.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    started: bool,
    name: String,
    data: String,
    has_data: bool,
}

impl Parser {
    /// Takes the next bytes and gives the events they complete.
    ///
    /// # Errors
    /// [`SseError`]; the parser is of no use afterwards.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, SseError> {
        let mut events = Vec::new();
        for &byte in bytes {
            match byte {
                b'\n' if self.after_cr => self.after_cr = false,
                b'\n' | b'\r' => {
                    self.after_cr = byte == b'\r';
                    events.extend(self.end_line()?);
                }
                _ => {
                    self.after_cr = false;
                    if self.line.len() >= MAX_LINE_BYTES {
                        return Err(SseError::TooLong);
                    }
                    self.line.push(byte);
                }
            }
        }
        Ok(events)
    }

    /// Whether a stream that ends here ends inside an event.
    #[must_use]
    pub fn is_inside_event(&self) -> bool {
        !self.line.is_empty() || self.has_data
    }

    fn end_line(&mut self) -> Result<Option<Event>, SseError> {
        let line = std::mem::take(&mut self.line);
        let mut line = std::str::from_utf8(&line).map_err(|_| SseError::NotUtf8)?;
        if !std::mem::replace(&mut self.started, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            return Ok(self.end_event());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.data.len() + value.len() >= MAX_DATA_BYTES {
                    return Err(SseError::TooLong);
                }
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            "event" => value.clone_into(&mut self.name),
            // A comment (empty field), an id, a retry time, something unknown: nothing to us.
            _ => {}
        }
        Ok(None)
    }

    fn end_event(&mut self) -> Option<Event> {
        let event = Event { name: std::mem::take(&mut self.name), data: std::mem::take(&mut self.data) };
        std::mem::take(&mut self.has_data).then_some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str =
        "\u{feff}: hello\r\ndata: {\"a\":1}\r\n\r\nevent: error\ndata:x\ndata: ü\n\nid: 1\rdata\r\rdata: [DONE]\n\n";

    fn events(chunks: impl Iterator<Item = Vec<u8>>) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        let all = chunks.flat_map(|chunk| parser.push(&chunk).unwrap());
        all.map(|event| (event.name, event.data)).collect()
    }

    #[test]
    fn the_cuts_between_chunks_do_not_matter() {
        let whole = events(std::iter::once(STREAM.as_bytes().to_vec()));
        let own = |name: &str, data: &str| (name.to_owned(), data.to_owned());
        assert_eq!(whole, [own("", "{\"a\":1}"), own("error", "x\nü"), own("", ""), own("", "[DONE]")]);
        for size in 1..STREAM.len() {
            assert_eq!(events(STREAM.as_bytes().chunks(size).map(<[u8]>::to_vec)), whole, "chunks of {size}");
        }
    }

    #[test]
    fn an_unfinished_event_is_not_an_event() {
        let mut parser = Parser::default();
        assert_eq!(parser.push(b"data: a\n").unwrap(), []);
        assert!(parser.is_inside_event());
        assert_eq!(parser.push(b"\n").unwrap().len(), 1);
        assert!(!parser.is_inside_event());
    }

    #[test]
    fn an_endless_line_and_an_endless_event_are_refused() {
        let mut parser = Parser::default();
        assert!(parser.push(&vec![b'a'; MAX_LINE_BYTES]).is_ok());
        assert_eq!(parser.push(b"a"), Err(SseError::TooLong));

        let mut parser = Parser::default();
        let line = [b"data: ".as_slice(), &vec![b'a'; MAX_LINE_BYTES - 10], b"\n"].concat();
        let refusals = (0..10).filter(|_| parser.push(&line).is_err()).count();
        assert!(refusals > 0);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        assert_eq!(Parser::default().push(b"data: \xff\n\n"), Err(SseError::NotUtf8));
    }
}
