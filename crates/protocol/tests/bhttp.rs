//! Binary HTTP: against the `bhttp` crate in both directions, and everything that is refused.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "helpers of tests")]

use std::io::Cursor;

use protocol::bhttp::{BhttpError, Decoder, Event, Field, Limits, Request, RequestHead, Response, ResponseHead};

const LIMITS: Limits = Limits { head: 4096, content: 1 << 20 };

fn request() -> Request {
    let fields = vec![Field::new("content-type", "application/json"), Field::new("x-empty", "")];
    let (method, scheme) = ("POST".to_owned(), "https".to_owned());
    let (authority, path) = ("lethe.example".to_owned(), "/v1/chat/completions?x=1".to_owned());
    let head = RequestHead { method, scheme, authority, path, fields };
    Request { head, content: b"{\"messages\":[]}".repeat(2000), trailers: vec![Field::new("x-end", "1")] }
}

fn response() -> Response {
    let head = ResponseHead { status: 200, fields: vec![Field::new("content-type", "text/event-stream")] };
    Response { head, content: b"data: {}\n\n".repeat(2000), trailers: Vec::new() }
}

fn judged(bytes: &[u8]) -> bhttp::Message {
    bhttp::Message::read_bhttp(&mut Cursor::new(bytes)).expect("the judge reads it")
}

fn fields_of(section: &bhttp::FieldSection) -> Vec<Field> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    section.iter().map(|field| Field::new(&text(field.name()), field.value())).collect()
}

#[test]
fn the_judge_reads_our_requests_and_responses() {
    let ours = request();
    for bytes in [ours.encode(), ours.encode_indeterminate()] {
        let message = judged(&bytes);
        assert_eq!(message.control().method(), Some(b"POST".as_slice()));
        assert_eq!(message.control().authority(), Some(b"lethe.example".as_slice()));
        assert_eq!(message.control().path(), Some(b"/v1/chat/completions?x=1".as_slice()));
        assert_eq!(fields_of(message.header()), ours.head.fields);
        assert_eq!(message.content(), ours.content);
        assert_eq!(fields_of(message.trailer()), ours.trailers);
    }
    let ours = response();
    for bytes in [ours.encode(), ours.encode_indeterminate()] {
        let message = judged(&bytes);
        assert_eq!(message.control().status().map(u16::from), Some(200));
        assert_eq!(fields_of(message.header()), ours.head.fields);
        assert_eq!(message.content(), ours.content);
    }
}

#[test]
fn we_read_the_judges_requests_and_responses() {
    for mode in [bhttp::Mode::KnownLength, bhttp::Mode::IndeterminateLength] {
        let ours = request();
        let part = |part: &String| part.clone().into_bytes();
        let head = &ours.head;
        let mut message =
            bhttp::Message::request(part(&head.method), part(&head.scheme), part(&head.authority), part(&head.path));
        for field in &ours.head.fields {
            message.put_header(field.name.clone(), field.value.clone());
        }
        message.write_content(&ours.content);
        message.put_trailer("x-end", "1");
        let mut bytes = Vec::new();
        message.write_bhttp(mode, &mut bytes).expect("the judge writes");
        assert_eq!(Request::decode(&bytes, LIMITS), Ok(ours));

        let ours = response();
        let mut message = bhttp::Message::response(bhttp::StatusCode::OK);
        message.put_header("content-type", "text/event-stream");
        message.write_content(&ours.content);
        let mut bytes = Vec::new();
        message.write_bhttp(mode, &mut bytes).expect("the judge writes");
        assert_eq!(Response::decode(&bytes, LIMITS), Ok(ours));
    }
}

#[test]
fn a_message_is_the_same_in_pieces_of_any_size_and_with_padding() {
    let (ours, padded) = (response(), |bytes: Vec<u8>| [bytes, vec![0; 100]].concat());
    for bytes in [padded(ours.encode()), padded(ours.encode_indeterminate())] {
        assert_eq!(Response::decode(&bytes, LIMITS), Ok(ours.clone()));
        for size in [1, 2, 3, 7, 1000] {
            let (mut decoder, mut events) = (Decoder::responses(LIMITS), Vec::new());
            for piece in bytes.chunks(size) {
                decoder.feed(piece, &mut events).expect("a message");
            }
            decoder.finish(&mut events).expect("complete");
            let mut content = Vec::new();
            for event in &events {
                if let Event::Content(piece) = event {
                    content.extend_from_slice(piece);
                }
            }
            assert_eq!(events[0], Event::Response(ours.head.clone()));
            assert_eq!(content, ours.content);
        }
    }
}

#[test]
fn empty_sections_at_the_end_may_be_left_out_and_nothing_else() {
    // the request of RFC 9458 appendix A ends after its control data
    let short = hex::decode("00034745540568747470730b6578616d706c652e636f6d012f").expect("hexadecimal");
    let read = Request::decode(&short, LIMITS).expect("a request");
    assert_eq!((read.head.path.as_str(), read.head.fields.len(), read.content.len()), ("/", 0, 0));
    let whole = Request { content: vec![b'x'; 300], ..request() };
    for bytes in [whole.encode(), whole.encode_indeterminate()] {
        for end in 0..bytes.len() {
            match Request::decode(&bytes[..end], LIMITS) {
                // only at the boundary of a section, and what was read is then the request without its rest
                Ok(read) => {
                    assert_eq!(read.head.path, whole.head.path);
                    assert!(read.trailers.is_empty() && (read.content.is_empty() || read.content == whole.content));
                }
                Err(error) => assert_eq!(error, BhttpError::Truncated),
            }
        }
    }
    // content has begun and its end is missing
    let indeterminate = request().encode_indeterminate();
    let cut = indeterminate.len() - "x-end1".len() - 4;
    assert_eq!(Request::decode(&indeterminate[..cut], LIMITS), Err(BhttpError::Truncated));
}

#[test]
fn informational_responses_come_before_the_final_one() {
    // two informational responses of the sample in RFC 9292 section 5.2, shortened
    let bytes = hex::decode("0140660a0772756e6e696e6702313540c8020161000178").expect("hexadecimal");
    let bytes = [&bytes[..], &[0]].concat();
    let (mut decoder, mut events) = (Decoder::responses(LIMITS), Vec::new());
    let fed = decoder.feed(&bytes, &mut events).and_then(|()| decoder.finish(&mut events));
    assert!(fed.is_err(), "field section of two bytes that hold half a field");

    let known =
        [&[1, 0x40, 102, 11, 7][..], b"running", &[2], b"15", &[0x40, 200, 4, 1, b'a', 1, b'b', 1, b'x', 0]].concat();
    let (mut decoder, mut events) = (Decoder::responses(LIMITS), Vec::new());
    decoder.feed(&known, &mut events).expect("a response");
    decoder.finish(&mut events).expect("complete");
    let informational = ResponseHead { status: 102, fields: vec![Field::new("running", "15")] };
    let last = ResponseHead { status: 200, fields: vec![Field::new("a", "b")] };
    let content = Event::Content(b"x".to_vec());
    assert_eq!(events, [Event::Informational(informational), Event::Response(last), content]);
    // and never alone
    for end in 0..15 {
        assert_eq!(Response::decode(&known[..end], LIMITS), Err(BhttpError::Truncated), "{end}");
    }
    assert_eq!(Response::decode(&[3, 0x40, 102, 0], LIMITS), Err(BhttpError::Truncated));
}

fn with(change: impl Fn(&mut Request)) -> Result<Request, BhttpError> {
    let mut changed = request();
    change(&mut changed);
    let known = Request::decode(&changed.encode(), LIMITS);
    assert_eq!(Request::decode(&changed.encode_indeterminate(), LIMITS), known);
    known
}

#[test]
fn what_http_does_not_allow_is_refused() {
    assert!(with(|_| ()).is_ok());
    for method in ["", "GE T", "CONNECT", "GET\r\n", "GÉT"] {
        assert_eq!(with(|request| request.head.method = method.to_owned()), Err(BhttpError::Control), "{method}");
    }
    for path in ["", "v1", "/a b", "/#x", "/\n", "http://x/"] {
        assert_eq!(with(|request| request.head.path = path.to_owned()), Err(BhttpError::Control), "{path}");
    }
    for authority in ["user@host", "host/path", "a b"] {
        assert_eq!(with(|request| request.head.authority = authority.to_owned()), Err(BhttpError::Control));
    }
    for scheme in ["", "HTTPS", "ht tp"] {
        assert_eq!(with(|request| request.head.scheme = scheme.to_owned()), Err(BhttpError::Control));
    }
    for name in ["X-Upper", ":path", "a b", "connection", "transfer-encoding", "upgrade", "keep-alive", "te", "ä"] {
        assert_eq!(with(|request| request.head.fields.push(Field::new(name, "x"))), Err(BhttpError::Field), "{name}");
    }
    assert!(with(|request| request.head.fields.push(Field::new("te", "trailers"))).is_ok());
    for value in ["a\r\nb: c", "a\0", " a", "a\t", "\u{7f}"] {
        assert_eq!(with(|request| request.head.fields.push(Field::new("x", value))), Err(BhttpError::Field));
    }
    for length in ["30", "030000", "1e3", "-1", "", "99999999999999999999"] {
        let declared = with(|request| request.head.fields.push(Field::new("content-length", length)));
        assert_eq!(declared.is_ok(), length == "030000", "{length}");
    }
    let twice = |request: &mut Request| request.head.fields = vec![Field::new("content-length", "30000"); 2];
    assert_eq!(with(twice), Err(BhttpError::ContentLength));
}

#[test]
fn other_kinds_of_message_and_other_ends_are_refused() {
    assert_eq!(Request::decode(&response().encode(), LIMITS), Err(BhttpError::Framing));
    assert_eq!(Response::decode(&request().encode(), LIMITS), Err(BhttpError::Framing));
    assert_eq!(Request::decode(&[4], LIMITS), Err(BhttpError::Framing));
    assert_eq!(Request::decode(&[], LIMITS), Err(BhttpError::Truncated));
    for bytes in [request().encode(), request().encode_indeterminate()] {
        assert_eq!(Request::decode(&[&bytes[..], &[0, 0, 1]].concat(), LIMITS), Err(BhttpError::Padding));
    }
    for status in [[0x40, 0], [0x40, 99], [0x42, 0x58], [0x7f, 0xff]] {
        assert_eq!(Response::decode(&[&[1], &status[..]].concat(), LIMITS), Err(BhttpError::Control), "{status:?}");
    }
    assert!(Response::decode(&[1, 0x42, 0x57], LIMITS).is_ok(), "599");
}

#[test]
fn a_false_length_is_refused_before_anything_is_kept() {
    let huge = [0xc0, 0, 0, 0, 0x80, 0, 0, 0];
    for prefix in [&[0][..], &[2], &[0, 3, b'G', b'E', b'T']] {
        assert_eq!(Request::decode(&[prefix, &huge].concat(), LIMITS), Err(BhttpError::TooLong));
    }
    let section = [&[1, 0x40, 200][..], &huge].concat();
    assert_eq!(Response::decode(&section, LIMITS), Err(BhttpError::TooLong));
    let content = [&[1, 0x40, 200, 0][..], &huge].concat();
    assert_eq!(Response::decode(&content, LIMITS), Err(BhttpError::TooLong));
    let piece = [&[3, 0x40, 200, 0][..], &huge].concat();
    assert_eq!(Response::decode(&piece, LIMITS), Err(BhttpError::TooLong));
}

#[test]
fn limits_hold_over_all_pieces() {
    let small = Limits { head: 4096, content: request().content.len() };
    assert!(Request::decode(&request().encode(), small).is_ok());
    let small = Limits { content: small.content - 1, ..small };
    assert_eq!(Request::decode(&request().encode(), small), Err(BhttpError::TooLong));
    assert_eq!(Request::decode(&request().encode_indeterminate(), small), Err(BhttpError::TooLong));
    // many fields without bytes of their own, and many informational responses
    let fields = with(|request| request.head.fields = vec![Field::new("a", ""); 130]);
    assert_eq!(fields, Err(BhttpError::TooLong));
    let informational = [&[3][..], &[0x40, 100, 0].repeat(200)].concat();
    assert_eq!(Response::decode(&informational, LIMITS), Err(BhttpError::TooLong));
}

#[test]
fn messages_are_printed_without_their_content() {
    let printed = format!("{:?} {:?}", request(), response());
    assert_eq!(printed, "POST request, 2 fields, 30000 bytes response 200, 1 fields, 20000 bytes");
}
