//! What an observer learns from the sizes of encrypted answers, and how to tell them less.
//!
//! Padding goes into the plaintext, where it means nothing: comments of an event stream, white space after a JSON document.
//! So every wire and every existing client can carry it.

/// The smallest size that a padded piece has.
pub const FIRST_BUCKET: usize = 512;

/// The largest bucket; beyond it sizes are multiples of it.
pub const LAST_BUCKET: usize = 16_384;

/// The size that `length` bytes are padded to: 512, 1024, … 16384, then multiples of 16384.
#[must_use]
pub const fn bucket(length: usize) -> usize {
    if length <= FIRST_BUCKET {
        FIRST_BUCKET
    } else if length <= LAST_BUCKET {
        length.next_power_of_two()
    } else {
        length.div_ceil(LAST_BUCKET).saturating_mul(LAST_BUCKET)
    }
}

/// Pads whole events of an event stream to `size` bytes with a comment, which clients skip (HTML, section 9.2.6).
///
/// `events` must end with the empty line of its last event. Longer events stay as they are.
pub fn pad_events(events: &mut Vec<u8>, size: usize) {
    match size.saturating_sub(events.len()) {
        0 => {}
        // too small for a comment; more empty lines are no event either
        1 => events.push(b'\n'),
        2 => events.extend(b"\n\n"),
        missing => {
            events.push(b':');
            events.resize(events.len() + missing - 3, b' ');
            events.extend(b"\n\n");
        }
    }
}

/// Pads a JSON document to `size` bytes with spaces, which may follow it (RFC 8259 section 2).
pub fn pad_json(document: &mut Vec<u8>, size: usize) {
    if document.len() < size {
        document.resize(size, b' ');
    }
}

/// Pads a message in Binary HTTP to its bucket, or to that of `least` bytes where that is larger, with zeros, which mean nothing
/// behind it (RFC 9292 section 3.8).
pub fn pad_message(message: &mut Vec<u8>, least: usize) {
    message.resize(bucket(message.len().max(least)), 0);
}

/// Takes the next frame of exactly `size` bytes from the events that are ready, or a frame of padding where none are.
///
/// A frame may end in the middle of an event; the next one goes on there. `ready` holds whole events when it is filled, so
/// that padding never stands inside one.
#[must_use]
pub fn frame(ready: &mut Vec<u8>, size: usize) -> Vec<u8> {
    if ready.len() > size {
        let rest = ready.split_off(size);
        return std::mem::replace(ready, rest);
    }
    let mut frame = std::mem::take(ready);
    pad_events(&mut frame, size);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data of all events, as a client reads them.
    fn data(stream: &[u8]) -> String {
        let text = String::from_utf8(stream.to_vec()).expect("UTF-8");
        text.lines().filter_map(|line| line.strip_prefix("data: ")).collect()
    }

    #[test]
    fn buckets_cover_every_length_with_few_sizes() {
        let sizes: std::collections::BTreeSet<usize> = (0..=LAST_BUCKET).map(bucket).collect();
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [512, 1024, 2048, 4096, 8192, 16_384]);
        for length in [0, 1, 512, 513, 16_384, 16_385, 100_000] {
            assert!(bucket(length) >= length && bucket(length) < 2 * length.max(512));
        }
        assert_eq!((bucket(16_385), bucket(32_769)), (32_768, 49_152));
    }

    #[test]
    fn padded_events_have_the_size_and_the_same_data() {
        for length in 0..520 {
            let event = format!("data: {}\n\n", "x".repeat(length));
            let mut padded = event.clone().into_bytes();
            pad_events(&mut padded, 512);
            assert_eq!(padded.len(), event.len().max(512));
            assert_eq!(data(&padded), data(event.as_bytes()));
            assert!(padded.ends_with(b"\n\n") && padded.starts_with(event.as_bytes()));
        }
    }

    #[test]
    fn a_padded_document_is_the_same_document() {
        let mut document = br#"{"error":{"message":"x"}}"#.to_vec();
        let before: serde_json::Value = serde_json::from_slice(&document).expect("JSON");
        pad_json(&mut document, 512);
        assert_eq!(document.len(), 512);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&document).expect("JSON"), before);
        pad_json(&mut document, 10);
        assert_eq!(document.len(), 512);
    }

    #[test]
    fn a_padded_message_is_the_same_message() {
        use crate::bhttp::{Limits, Request};
        let head = crate::bhttp::RequestHead {
            method: "POST".to_owned(),
            scheme: "https".to_owned(),
            path: "/".to_owned(),
            ..Default::default()
        };
        for length in [1, 400, 600, 20_000] {
            let request = Request { head: head.clone(), content: vec![7; length], ..Request::default() };
            for mut message in [request.encode(), request.encode_indeterminate()] {
                let size = bucket(message.len());
                pad_message(&mut message, 0);
                assert_eq!(message.len(), size);
                pad_message(&mut message, 2048);
                assert_eq!(message.len(), size.max(2048));
                assert_eq!(Request::decode(&message, Limits::default()).as_ref(), Ok(&request));
                message.push(1);
                assert!(Request::decode(&message, Limits::default()).is_err(), "padding is zeros");
            }
        }
    }

    #[test]
    fn frames_have_one_size_whatever_is_ready() {
        let events: Vec<u8> = (0..40).flat_map(|n| format!("data: {}\n\n", "y".repeat(n * 7)).into_bytes()).collect();
        let (mut ready, mut sent) = (events.clone(), Vec::new());
        for _ in 0..20 {
            let frame = frame(&mut ready, 512);
            assert_eq!(frame.len(), 512);
            sent.extend(frame);
        }
        assert!(ready.is_empty());
        assert_eq!(data(&sent), data(&events));
    }
}
