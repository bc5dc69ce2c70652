//! The envelope: sealed chat requests for apps without an OHTTP library.

use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::StatusCode;
use deployment::{Enrolment, Shape};
use hyper::body::Bytes;
use protocol::envelope::{AnswerSealer, EnvelopeKey, KeyPage, Message, Opened, jwks as key_set, open as open_message};
use protocol::receipt::RECEIPT_BUCKET;
use protocol::shape::{bucket, pad_json};
use protocol::{Refusal, Sha256Digest};
use zeroize::Zeroizing;

use super::super::answer::{Answer, AnswerBody, AnswerStream, Bodied, no_query, plain, refused};
use super::super::call::{Call, Tenant, Wire};
use super::super::error::ApiError;
use super::super::receipts::Slip;
use super::super::route::Route;
use super::super::state::{State, unix_seconds};
use super::{gathered, in_time, once, refuse};

/// The wire's name.
const NAME: &str = "envelope";

/// Path of the wire's requests.
pub(in super::super) const PATH: &str = "/api/chat";

/// `GET /api/pubkey`
pub(in super::super) fn keys(state: &State, query: Option<&str>) -> Result<Answer, ApiError> {
    no_query(query)?;
    let (digest, live) = state.identity().published_live();
    let page = KeyPage::new(live.current.envelope(), Some(live.next.envelope()), digest, unix_seconds());
    Ok(Answer::json(StatusCode::OK, &page))
}

/// `GET /.well-known/jwks.json`
pub(in super::super) fn jwks(state: &State, query: Option<&str>) -> Result<Answer, ApiError> {
    no_query(query)?;
    let live = state.identity().live();
    let keys = [&live.current, &live.next].map(|epoch| epoch.envelope().published());
    Ok(Answer::json(StatusCode::OK, &key_set(&keys)))
}

/// `POST /api/chat`: opens the envelope, answers the chat request inside, and seals the answer.
pub(in super::super) async fn answer(state: &Arc<State>, mut call: Call, mut body: Bodied) -> Answer {
    let digest = Sha256Digest::of(&body.bytes);
    let (opened, device) = match open(state, &mut call, &body.bytes) {
        Ok(opened) => opened,
        Err(refused) => return refuse::outside(state, &call, (NAME, digest), refused),
    };
    let Opened { mut content, reply, .. } = opened;
    body.bytes = Zeroizing::new(std::mem::take(&mut *content));
    call.route = Route::Chat;
    let (pads_body, path) = (true, Some(PATH));
    call.wire = Wire::Sealed { name: NAME, message: digest, pads_body, path, carries_receipt: true };
    let inner = match device.and_then(|()| no_query(call.query.as_deref())) {
        Ok(()) => plain(state, call, body).await,
        Err(error) => refused(state, &call, Sha256Digest::of(&body.bytes), error),
    };
    seal(state, inner, reply).await
}

/// Reads, dates, opens and counts a message. What is wrong with its device and shows only then is for the sealed answer.
///
/// A message that does not count is answered in the clear, though it opened: key and nonces of the answer are the message's own, and it
/// may come again.
fn open(state: &State, call: &mut Call, body: &[u8]) -> Result<(Opened, Result<(), ApiError>), Answer> {
    let unopened = |refusal: Refusal| refuse::unopened(refusal, state.limits().body_bytes);
    let message = Message::parse(body).map_err(unopened)?;
    in_time(state, message.ts()).map_err(refuse::of)?;
    // a wrong signature is refused, be a device needed or not
    let device = message.device().map_err(unopened)?.map(|device| device.id());
    let enrols = shown(state, call, device, message.wants_enrolment())?;
    let live = state.identity().live();
    let keys: Vec<&EnvelopeKey> = live.all().map(|epoch| epoch.envelope()).collect();
    let opened = open_message(&keys, &message).map_err(unopened)?;
    let epoch = live.all().find(|epoch| epoch.envelope().kid == message.kid()).ok_or(ApiError::Internal)?;
    // A message with a token that enrols nobody does not count, and so its refusal is not sealed: answers to one message would
    // share their nonces.
    let (clients, token) = (state.clients(), opened.enrolment.as_ref().map_or(&[][..], |token| token.as_slice()));
    let enrols = match enrols {
        None => None,
        Some(device) => Some((device, state.devices().may_enrol(&clients, &device, token)?)),
    };
    once(state, epoch, NAME, &opened.enc)?;
    once(state, epoch, "envelope-rid", message.rid().as_bytes())?;
    let enrolled = enrols.map_or(Ok(()), |(device, token)| {
        state.devices().enrol(&clients, device, token).map(|()| call.tenant = Tenant(Some(device)))
    });
    Ok((opened, enrolled))
}

/// Admits the device, where the request has no token and the document lets devices in; gives the one that has to enrol first.
fn shown(
    state: &State,
    call: &mut Call,
    device: Option<[u8; 32]>,
    wants_enrolment: bool,
) -> Result<Option<[u8; 32]>, ApiError> {
    let clients = state.clients();
    if call.tenant.0.is_some() || !clients.access.takes_devices() {
        return Ok(None);
    }
    match device {
        Some(device) if state.devices().knows(&clients, &device) => {
            call.tenant = Tenant(Some(device));
            Ok(None)
        }
        Some(device) if wants_enrolment && clients.enrolment == Enrolment::Token => Ok(Some(device)),
        _ => Err(ApiError::DeviceRefused),
    }
}

/// Seals an answer as events, or in one body where the document says so: the receipt's line, and then the answer. What the answer
/// says is inside alone: status and headers outside are the same for every answer, and its receipt's id is in the receipt.
async fn seal(state: &State, inner: Answer, mut reply: AnswerSealer) -> Answer {
    let (padding, Answer { body, slip, .. }) = (state.wires().shape != Shape::Off, inner);
    if state.wires().envelope_streaming {
        return Answer::events(Box::new(SealedStream { body: Some(body), ended: false, padding, slip, reply }));
    }
    let answer = gathered(body).await; // to its end first: only then is there a receipt
    let content = [receipt(&slip, padding).as_slice(), b"\n", &answer].concat();
    match reply.seal(&content, true) {
        Ok(sealed) => Answer::of_json(StatusCode::OK, sealed.into()),
        Err(_) => ApiError::Internal.into(),
    }
}

/// The receipt in one line, or nothing where there is none; of one size where answers are padded.
fn receipt(slip: &Slip, padding: bool) -> Vec<u8> {
    let mut receipt = slip.text().unwrap_or_default().as_bytes().to_vec();
    if padding {
        let size = bucket(receipt.len().max(RECEIPT_BUCKET));
        pad_json(&mut receipt, size);
    }
    receipt
}

/// Sealed events: the answer's, and the last one with the receipt.
struct SealedStream {
    body: Option<AnswerBody>,
    ended: bool,
    padding: bool,
    slip: Slip,
    reply: AnswerSealer,
}

impl SealedStream {
    fn event(&mut self, content: &[u8], last: bool) -> Poll<Option<Bytes>> {
        Poll::Ready(self.reply.event(content, last).ok().map(Bytes::from))
    }

    fn last(&mut self) -> Poll<Option<Bytes>> {
        self.ended = true;
        let receipt = receipt(&self.slip, self.padding);
        self.event(&receipt, true)
    }
}

impl AnswerStream for SealedStream {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self.body.take() {
            None if self.ended => Poll::Ready(None),
            None => self.last(),
            Some(AnswerBody::Whole(body)) => self.event(&body, false),
            Some(AnswerBody::Stream(mut stream)) => match stream.poll_next(context) {
                Poll::Pending => {
                    self.body = Some(AnswerBody::Stream(stream));
                    Poll::Pending
                }
                Poll::Ready(Some(piece)) => {
                    self.body = Some(AnswerBody::Stream(stream));
                    self.event(&piece, false)
                }
                Poll::Ready(None) => self.last(),
            },
        }
    }
}
