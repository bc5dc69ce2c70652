//! The gateway of OHTTP and chunked OHTTP, whose target is this server itself.

use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use deployment::Shape;
use hyper::body::Bytes;
use protocol::bhttp::{self, BhttpError, Field, Limits, write_content, write_end, write_response_head};
use protocol::hpke::{Unsealable, Wiped};
use protocol::ohttp::{self, ChunkSealer, ChunkedReply, GatewayKey, Reply, open_chunked_request, open_request};
use protocol::shape::bucket;
use protocol::{Sha256Digest, date};
use zeroize::Zeroizing;

use super::super::answer::{Answer, AnswerBody, AnswerStream, Bodied, plain, refused};
use super::super::body::check_declared;
use super::super::call::{Body, Call, Wire};
use super::super::error::ApiError;
use super::super::http::common_headers;
use super::super::route::route;
use super::super::state::State;
use super::{gathered, in_time, once, random, refuse};
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
    let mut answer = Answer::of_json(StatusCode::OK, ohttp::encode_list(&configs).into());
    answer.headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static(ohttp::KEYS_TYPE))];
    answer
}

/// What seals the answer to one message.
enum Sealing {
    Whole(Reply),
    Chunked(ChunkedReply),
}

/// `POST /.well-known/ohttp-gateway`: opens the message, answers what is inside, and seals that.
pub(in super::super) async fn answer(state: &Arc<State>, call: Call, chunked: bool, mut body: Bodied) -> Answer {
    let message = Sha256Digest::of(&body.bytes);
    let (content, sealing) = match open(state, chunked, &body.bytes) {
        Ok(opened) => opened,
        Err(refused) => return refused,
    };
    // the sealed bytes are done with; their place in memory is the content's now
    body.bytes = Zeroizing::default();
    let name = if chunked { "ohttp-chunked" } else { "ohttp" };
    let wire = Wire::Sealed { name, message, pads_body: false, path: None };
    let inner = match inside(state, &call, wire, content) {
        Ok((inner, bytes, Ok(()))) => {
            let bodied = Bodied { bytes, place: body.place };
            plain(state, inner, bodied).await
        }
        Ok((inner, bytes, Err(error))) => refused(state, &inner, Sha256Digest::of(&bytes), error),
        Err(error) => refuse::of(error),
    };
    seal(state, &call, sealing, inner).await
}

/// Opens a message and counts it.
fn open(state: &State, chunked: bool, message: &[u8]) -> Result<(Wiped, Sealing), Answer> {
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
    once(state, opener.ok_or(ApiError::Internal)?, "ohttp", &enc)?;
    Ok((content, sealing))
}

/// A request that was admitted, and what is wrong with it.
type Inside = (Call, Zeroizing<Vec<u8>>, Result<(), ApiError>);

/// Reads the request inside and admits it as any other; wires do not nest.
fn inside(state: &State, outer: &Call, wire: Wire, content: Wiped) -> Result<Inside, ApiError> {
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
    let Answer { status, mut headers, body } = inner;
    headers.extend(common_headers(state, call.id));
    let fields = headers.iter().map(|(name, value)| Field::new(name.as_str(), value.as_bytes())).collect();
    let head = bhttp::ResponseHead { status: status.as_u16(), fields };
    match sealing {
        Sealing::Whole(reply) => {
            let response = bhttp::Response { head, content: gathered(body).await, trailers: Vec::new() };
            let sealed = reply.seal(&padded(state, response.encode()), &mut random());
            sealed.map_or_else(|_| ApiError::Internal.into(), |sealed| of_type(ohttp::RESPONSE_TYPE, sealed.into()))
        }
        Sealing::Chunked(reply) => match seal_chunked(state, &head, body, reply) {
            Ok(body) => {
                let mut answer = of_type(ohttp::CHUNKED_RESPONSE_TYPE, Bytes::new());
                // for proxies that would gather the answer before they pass it on
                answer.headers.push((HeaderName::from_static("incremental"), HeaderValue::from_static("?1")));
                answer.headers.push((HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")));
                Answer { body, ..answer }
            }
            Err(Unsealable) => ApiError::Internal.into(),
        },
    }
}

fn of_type(kind: &'static str, body: Bytes) -> Answer {
    let mut answer = Answer::of_json(StatusCode::OK, body);
    answer.headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static(kind))];
    answer
}

/// Zeros after a message mean nothing (RFC 9292 section 3.8) and hide its length.
fn padded(state: &State, mut message: Vec<u8>) -> Vec<u8> {
    if state.wires().shape != Shape::Off {
        message.resize(bucket(message.len()), 0);
    }
    message
}

fn seal_chunked(
    state: &State,
    head: &bhttp::ResponseHead,
    body: AnswerBody,
    reply: ChunkedReply,
) -> Result<AnswerBody, Unsealable> {
    let (mut sealed, mut sealer) = reply.start(&mut random())?;
    let mut message = Vec::new();
    write_response_head(head, &mut message);
    match body {
        AnswerBody::Whole(content) => {
            write_content(&content, &mut message);
            write_end(&[], &mut message);
            sealer.finish(&padded(state, message), &mut sealed)?;
            Ok(AnswerBody::Whole(sealed.into()))
        }
        AnswerBody::Stream(inner) => {
            sealer.seal(&message, &mut sealed)?;
            Ok(AnswerBody::Stream(Box::new(SealedStream { first: Some(sealed.into()), inner, sealer: Some(sealer) })))
        }
    }
}

/// A stream whose pieces leave as sealed chunks. A stream that is dropped has no final chunk, and no client takes it for whole.
struct SealedStream {
    first: Option<Bytes>,
    inner: Box<dyn AnswerStream>,
    sealer: Option<ChunkSealer>,
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
                write_end(&[], &mut message);
                sealer.finish(&message, &mut sealed)
            }
        };
        // a chunk that cannot be sealed ends the stream without its final one
        Poll::Ready(outcome.is_ok().then(|| sealed.into()))
    }
}
