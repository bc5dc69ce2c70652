//! The gateway of OHTTP and chunked OHTTP, whose target is this server itself.

use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use deployment::Shape;
use hyper::body::Bytes;
use protocol::bhttp::{self, BhttpError, Field, Limits, write_content, write_end, write_response_head};
use protocol::hpke::{Unsealable, Wiped};
use protocol::ohttp::{self, ChunkSealer, ChunkedReply, GatewayKey, Reply, open_chunked_request, open_request};
use protocol::receipt::{IN_TRAILER, RECEIPT_BUCKET, RECEIPT_FIELD};
use protocol::shape::pad_message;
use protocol::{Sha256Digest, date};
use zeroize::Zeroizing;

use super::super::answer::{Answer, AnswerBody, AnswerStream, Bodied, plain, refused};
use super::super::body::check_declared;
use super::super::call::{Body, Call, Wire};
use super::super::error::ApiError;
use super::super::http::common_headers;
use super::super::receipts::Slip;
use super::super::route::route;
use super::super::state::State;
use super::{gathered, in_time, once, once_open, random, refuse};
use crate::identity::Epoch;

/// Most header bytes of a sealed request, as of a plain one.
const HEAD_BYTES: usize = 32 * 1024;
/// Most header fields.
const FIELDS: usize = 64;

/// `GET /.well-known/ohttp-gateway`: the keys that are in the keyset, current before next.
pub(in super::super) fn keys(state: &State) -> Answer {
    let live = state.identity().live();
    let configs: Vec<_> = [&live.current, &live.next]
        .into_iter()
        .flat_map(|epoch| epoch.ohttp().iter().map(GatewayKey::config))
        .collect();
    Answer::whole(StatusCode::OK, ohttp::KEYS_TYPE, ohttp::encode_list(&configs).into())
}

/// What seals the answer to one message.
enum Sealing {
    Whole(Reply),
    Chunked(ChunkedReply),
}

/// `POST /.well-known/ohttp-gateway`: opens the message, answers what is inside, and seals that.
pub(in super::super) async fn answer(state: &Arc<State>, call: Call, chunked: bool, mut body: Bodied) -> Answer {
    let message = Sha256Digest::of(&body.bytes);
    let Opened { content, enc, epoch, sealing } = match open(state, chunked, &body.bytes) {
        Ok(opened) => opened,
        Err(refused) => return refused,
    };
    // the sealed bytes are done with; their place in memory is the content's now
    body.bytes = Zeroizing::default();
    let name = if chunked { "ohttp-chunked" } else { "ohttp" };
    let admitted = inside(state, &call, (name, message), content);
    // A message that is not admitted, or for which there is no room, does not count: refusals are all it gets, each sealed with
    // randomness of its own.
    let counted = match &admitted {
        Ok((inner, ..)) if inner.route.needs_token() => once(state, &epoch, "ohttp", &enc),
        Ok(_) => once_open(state, &epoch, "ohttp", &enc),
        Err(_) => Ok(()),
    };
    // A message that comes again is refused like one that does not open: whoever sends it may have seen it on its way, and must not
    // learn that it opened. So it has no receipt either, and no place in the chain of whose message it was.
    if matches!(counted, Err(ApiError::Undecryptable)) {
        return ApiError::Undecryptable.into();
    }
    // the keys must not live as long as the answer takes
    drop(epoch);
    let inner = match admitted {
        Ok((inner, bytes, checked)) => match counted.and(checked) {
            Ok(()) => plain(state, inner, Bodied { bytes, place: body.place }).await,
            Err(error) => refused(state, &inner, Sha256Digest::of(&bytes), error),
        },
        Err(error) => refuse::of(error),
    };
    seal(state, &call, sealing, inner).await
}

/// A message that opened, and has not counted yet.
struct Opened {
    content: Wiped,
    enc: Vec<u8>,
    epoch: Arc<Epoch>,
    sealing: Sealing,
}

fn open(state: &State, chunked: bool, message: &[u8]) -> Result<Opened, Answer> {
    let live = state.identity().live();
    let epochs: Vec<&Arc<Epoch>> = live.all().collect();
    let keys: Vec<&GatewayKey> = epochs.iter().flat_map(|epoch| epoch.ohttp()).collect();
    let refused = |refusal| refuse::unopened(refusal, state.limits().body_bytes);
    let (content, enc, key_id, sealing) = if chunked {
        let opened = open_chunked_request(&keys, message).map_err(refused)?;
        (opened.content, opened.enc, opened.key_id, Sealing::Chunked(opened.reply))
    } else {
        let opened = open_request(&keys, message).map_err(refused)?;
        (opened.content, opened.enc, opened.key_id, Sealing::Whole(opened.reply))
    };
    let opener = epochs.into_iter().find(|epoch| epoch.ohttp().iter().any(|key| key.key_id == key_id));
    let epoch = Arc::clone(opener.ok_or(ApiError::Internal)?);
    Ok(Opened { content, enc, epoch, sealing })
}

/// A request that was admitted, and what is wrong with it.
type Inside = (Call, Zeroizing<Vec<u8>>, Result<(), ApiError>);

/// Reads the request inside and admits it as any other; wires do not nest.
fn inside(
    state: &State,
    outer: &Call,
    (name, message): (&'static str, Sha256Digest),
    content: Wiped,
) -> Result<Inside, ApiError> {
    let limit = state.limits().body_bytes;
    let limits = Limits { head: HEAD_BYTES, content: usize::try_from(limit).unwrap_or(usize::MAX) };
    let request = bhttp::Request::decode(&content, limits).map_err(|error| match error {
        BhttpError::TooLong => ApiError::TooLarge { limit },
        _ => ApiError::Undecodable,
    })?;
    drop(content);
    let body = Zeroizing::new(request.content);
    let headers = header_map(&request.head.fields)?;
    if let Some(then) = headers.get(header::DATE) {
        let then = then.to_str().ok().and_then(date::read).ok_or(ApiError::Date)?;
        in_time(state, then)?;
    }
    let method = Method::from_bytes(request.head.method.as_bytes()).map_err(|_| ApiError::Undecodable)?;
    let (path, query) = match request.head.path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (request.head.path.as_str(), None),
    };
    let route = route(&method, path)?;
    if route.is_sealed() {
        return Err(ApiError::NoSuchRoute);
    }
    let carries_receipt = headers.get(RECEIPT_FIELD).is_some_and(|value| value == IN_TRAILER);
    let wire = Wire::Sealed { name, message, pads_body: false, path: None, carries_receipt };
    let call = Call::admit(state, outer.id, route, query, &headers, wire)?;
    let checked = match call.body(&headers, false) {
        Ok(Body::None) => Ok(()),
        Ok(_) => check_declared(&headers, limit),
        Err(error) => Err(error),
    };
    Ok((call, body, checked))
}

fn header_map(fields: &[Field]) -> Result<HeaderMap, ApiError> {
    if fields.len() > FIELDS {
        return Err(ApiError::Undecodable);
    }
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| ApiError::Undecodable)?;
        headers.append(name, HeaderValue::from_bytes(&field.value).map_err(|_| ApiError::Undecodable)?);
    }
    Ok(headers)
}

/// Seals an answer: a stream as it is made where the form allows it, everything else in one piece.
async fn seal(state: &State, call: &Call, sealing: Sealing, inner: Answer) -> Answer {
    let Answer { status, mut headers, body, slip } = inner;
    headers.extend(common_headers(state, call.id));
    let fields = headers.iter().map(|(name, value)| Field::new(name.as_str(), value.as_bytes())).collect();
    let head = bhttp::ResponseHead { status: status.as_u16(), fields };
    match sealing {
        Sealing::Whole(reply) => {
            let content = gathered(body).await;
            let response = bhttp::Response { head, content, trailers: trailers(&slip) };
            let sealed = reply.seal(&padded(state, response.encode(), &slip), &mut random());
            sealed.map_or_else(
                |_| ApiError::Internal.into(),
                |sealed| Answer::whole(StatusCode::OK, ohttp::RESPONSE_TYPE, sealed.into()),
            )
        }
        Sealing::Chunked(reply) => match seal_chunked(state, &head, body, slip, reply) {
            Ok(body) => {
                let mut answer = Answer::whole(StatusCode::OK, ohttp::CHUNKED_RESPONSE_TYPE, Bytes::new());
                // for proxies that would gather the answer before they pass it on
                answer.headers.push((HeaderName::from_static("incremental"), HeaderValue::from_static("?1")));
                answer.headers.push((HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")));
                Answer { body, ..answer }
            }
            Err(Unsealable) => ApiError::Internal.into(),
        },
    }
}

/// The least size of a message in one piece: head and body of every error fit, so that errors do not differ from each other.
const ERROR_BUCKET: usize = 1024;

/// The smallest size that hides a receipt's length, where there is one.
fn least(slip: &Slip) -> usize {
    if slip.text().is_some() { RECEIPT_BUCKET } else { 0 }
}

/// A message in one piece, padded where the document has it so.
fn padded(state: &State, mut message: Vec<u8>, slip: &Slip) -> Vec<u8> {
    if state.wires().shape != Shape::Off {
        pad_message(&mut message, least(slip).max(ERROR_BUCKET));
    }
    message
}

fn seal_chunked(
    state: &State,
    head: &bhttp::ResponseHead,
    body: AnswerBody,
    slip: Slip,
    reply: ChunkedReply,
) -> Result<AnswerBody, Unsealable> {
    let (mut sealed, mut sealer) = reply.start(&mut random())?;
    let mut message = Vec::new();
    write_response_head(head, &mut message);
    match body {
        AnswerBody::Whole(content) => {
            write_content(&content, &mut message);
            write_end(&trailers(&slip), &mut message);
            sealer.finish(&padded(state, message, &slip), &mut sealed)?;
            Ok(AnswerBody::Whole(sealed.into()))
        }
        AnswerBody::Stream(inner) => {
            sealer.seal(&message, &mut sealed)?;
            let (first, sealer, padding) = (Some(sealed.into()), Some(sealer), state.wires().shape != Shape::Off);
            Ok(AnswerBody::Stream(Box::new(SealedStream { first, inner, sealer, slip, padding })))
        }
    }
}

/// The trailer section: the receipt, where the answer carries it.
fn trailers(slip: &Slip) -> Vec<Field> {
    slip.text().map(|receipt| Field::new(RECEIPT_FIELD, receipt)).into_iter().collect()
}

/// A stream whose pieces leave as sealed chunks. A stream that is dropped has no final chunk, and no client takes it for whole.
struct SealedStream {
    first: Option<Bytes>,
    inner: Box<dyn AnswerStream>,
    sealer: Option<ChunkSealer>,
    slip: Slip,
    padding: bool,
}

impl AnswerStream for SealedStream {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        let Some(mut sealer) = self.sealer.take() else { return Poll::Ready(None) };
        let (mut message, mut sealed) = (Vec::new(), Vec::new());
        let outcome = match self.inner.poll_next(context) {
            Poll::Pending => {
                self.sealer = Some(sealer);
                return Poll::Pending;
            }
            Poll::Ready(Some(piece)) => {
                write_content(&piece, &mut message);
                let outcome = sealer.seal(&message, &mut sealed);
                self.sealer = Some(sealer);
                outcome
            }
            Poll::Ready(None) => {
                write_end(&trailers(&self.slip), &mut message);
                if self.padding && self.slip.text().is_some() {
                    pad_message(&mut message, least(&self.slip));
                }
                sealer.finish(&message, &mut sealed)
            }
        };
        // a chunk that cannot be sealed ends the stream without its final one
        Poll::Ready(outcome.is_ok().then(|| sealed.into()))
    }
}
