//! The end of an event stream, held back: everything from the line `data: [DONE]` on.

use hyper::body::Bytes;

/// Most bytes that may follow `[DONE]`: padding, in fact.
const MAX_BEHIND: usize = 256 * 1024;

/// The forms of the line that ends a stream.
const DONE: [&[u8]; 2] = [b"data: [DONE]", b"data:[DONE]"];

/// More bytes follow the end of a stream than are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMuch;

/// Takes the bytes of a stream, however they are cut, and gives back those that may pass.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// The beginning of a line that may become the last one; behind it, everything from the last one on.
    held: Vec<u8>,
    /// Part of this line has passed.
    in_line: bool,
    /// The last line was seen.
    done: bool,
}

impl Hold {
    pub(super) fn push(&mut self, bytes: Bytes) -> Result<Bytes, TooMuch> {
        let mut rest = bytes.as_ref();
        let mut passing = Vec::new();
        while let Some((line, after)) = split_line(rest).filter(|_| !self.done) {
            rest = after;
            let ended = line.last().is_some_and(|byte| is_end(*byte));
            if self.in_line {
                passing.extend_from_slice(line);
                self.in_line = !ended;
                continue;
            }
            self.held.extend_from_slice(line);
            let content = if ended { self.held.split_last().map_or(&[][..], |(_, line)| line) } else { &self.held };
            if ended && DONE.contains(&content) {
                self.done = true;
            } else if ended || !DONE.iter().any(|done| done.starts_with(content)) {
                passing.append(&mut self.held);
                self.in_line = !ended;
            }
        }
        self.held.extend_from_slice(rest);
        if self.held.len() > MAX_BEHIND {
            return Err(TooMuch);
        }
        // most often everything passes, and nothing is to be copied
        Ok(if passing.len() == bytes.len() && self.held.is_empty() { bytes } else { passing.into() })
    }

    /// What was held back.
    pub(super) fn release(&mut self) -> Bytes {
        std::mem::take(&mut self.held).into()
    }
}

/// The first line with its end, or what there is of it.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if bytes.is_empty() {
        return None;
    }
    let end = bytes.iter().position(|byte| is_end(*byte)).map_or(bytes.len(), |end| end + 1);
    bytes.split_at_checked(end)
}

const fn is_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b": hello\r\ndata: {\"a\":\"data: [DONE]\"}\n\ndata: [DON\n\ndata: [DONE]x\ndata:[D\n\ndata: [DONE]\n\n:   \n\n";
    const LAST: &[u8] = b"data: [DONE]\n\n:   \n\n";

    #[test]
    fn the_last_line_is_held_back_however_the_stream_is_cut() {
        let before = &STREAM[..STREAM.len() - LAST.len()];
        for size in 1..=STREAM.len() {
            let mut hold = Hold::default();
            let passed: Vec<u8> =
                STREAM.chunks(size).flat_map(|part| hold.push(Bytes::copy_from_slice(part)).unwrap()).collect();
            assert_eq!(passed, before, "parts of {size}");
            assert_eq!(hold.release(), LAST);
        }
    }

    #[test]
    fn every_event_passes_at_once_and_a_beginning_of_the_last_one_waits() {
        let mut hold = Hold::default();
        assert_eq!(hold.push(Bytes::from_static(b"data: {}\n\n")), Ok(Bytes::from_static(b"data: {}\n\n")));
        assert_eq!(hold.push(Bytes::from_static(b"data: {")), Ok(Bytes::from_static(b"data: {")));
        assert_eq!(hold.push(Bytes::from_static(b"}\n\nda")), Ok(Bytes::from_static(b"}\n\n")));
        assert_eq!(hold.push(Bytes::from_static(b"ta: [DONE]")), Ok(Bytes::new()));
        assert_eq!(hold.push(Bytes::from_static(b"\n\n")), Ok(Bytes::new()));
        assert_eq!(hold.release(), "data: [DONE]\n\n");
    }

    #[test]
    fn the_other_form_of_the_last_line_is_held_back_too() {
        let mut hold = Hold::default();
        assert_eq!(hold.push(Bytes::from_static(b"\r\ndata:[DONE]\r\n\r\n")), Ok(Bytes::from_static(b"\r\n")));
        assert_eq!(hold.release(), "data:[DONE]\r\n\r\n");
    }

    #[test]
    fn what_follows_the_end_for_ever_is_refused() {
        let mut hold = Hold::default();
        hold.push(Bytes::from_static(b"data: [DONE]\n")).unwrap();
        let part = Bytes::from(vec![b' '; MAX_BEHIND / 2]);
        assert_eq!(hold.push(part.clone()), Ok(Bytes::new()));
        assert_eq!(hold.push(part), Err(TooMuch));
    }
}
