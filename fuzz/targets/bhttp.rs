//! Binary HTTP: the same message or the same error in pieces of any size, and what was read survives being written.
//!
//! The first byte is the size of the pieces; an odd one reads a response, an even one a request.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::bhttp::{BhttpError, Decoder, Event, Limits, Request, Response};

const LIMITS: Limits = Limits { head: 2048, content: 4096 };

/// The events with neighbouring pieces of content joined.
fn events(mut decoder: Decoder, bytes: &[u8], size: usize) -> Result<Vec<Event>, BhttpError> {
    let (mut read, mut joined) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(size) {
        decoder.feed(piece, &mut read)?;
    }
    decoder.finish(&mut read)?;
    for event in read {
        match (joined.last_mut(), event) {
            (Some(Event::Content(before)), Event::Content(piece)) => before.extend(piece),
            (_, event) => joined.push(event),
        }
    }
    Ok(joined)
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let decoder = || if choice % 2 == 0 { Decoder::requests(LIMITS) } else { Decoder::responses(LIMITS) };
    let whole = events(decoder(), bytes, bytes.len().max(1));
    let pieces = events(decoder(), bytes, usize::from(choice / 2) + 1);
    // which of two faults is named may depend on the pieces, whether there is one may not
    assert_eq!(whole.as_ref().ok(), pieces.as_ref().ok());
    if let Ok(request) = Request::decode(bytes, LIMITS) {
        assert!(request.content.len() <= LIMITS.content);
        for written in [request.encode(), request.encode_indeterminate()] {
            assert_eq!(Request::decode(&written, Limits { head: 4096, ..LIMITS }).as_ref(), Ok(&request));
        }
    }
    if let Ok(response) = Response::decode(bytes, LIMITS) {
        for written in [response.encode(), response.encode_indeterminate()] {
            assert_eq!(Response::decode(&written, Limits { head: 4096, ..LIMITS }).as_ref(), Ok(&response));
        }
    }
});
