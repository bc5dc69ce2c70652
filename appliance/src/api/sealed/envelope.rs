//! The envelope: sealed chat requests for apps without an OHTTP library.

use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::StatusCode;
use deployment::Shape;
use hyper::body::Bytes;
use protocol::envelope::{AnswerSealer, EnvelopeKey, KeyPage, Message, Opened, jwks as key_set, open as open_message};
use protocol::shape::{bucket, pad_events};
use protocol::{Refusal, Sha256Digest};
use zeroize::Zeroizing;

use super::super::answer::{Answer, AnswerBody, AnswerStream, Bodied, no_query, plain, refused};
use super::super::call::{Call, Wire};
use super::super::error::ApiError;
use super::super::route::Route;
use super::super::state::{State, unix_seconds};
use super::{gathered, in_time, once, refuse};

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
    let message = Sha256Digest::of(&body.bytes);
    let opened = match open(state, &body.bytes) {
        Ok(opened) => opened,
        Err(refused) => return refused,
    };
    let Opened { mut content, reply, .. } = opened;
    body.bytes = Zeroizing::new(std::mem::take(&mut *content));
    call.route = Route::Chat;
    call.wire = Wire::Sealed { name: "envelope", message, pads_body: true, path: Some(PATH) };
    let inner = match no_query(call.query.as_deref()) {
        Ok(()) => plain(state, call, body).await,
        Err(error) => refused(state, &call, Sha256Digest::of(&body.bytes), error),
    };
    seal(state, inner, reply).await
}

/// Reads, dates, opens and counts a message.
fn open(state: &State, body: &[u8]) -> Result<Opened, Answer> {
    let unopened = |refusal: Refusal| refuse::unopened(refusal, state.limits().body_bytes);
    let message = Message::parse(body).map_err(unopened)?;
    in_time(state, message.ts()).map_err(refuse::of)?;
    let live = state.identity().live();
    let keys: Vec<&EnvelopeKey> = live.all().map(|epoch| epoch.envelope()).collect();
    let opened = open_message(&keys, &message).map_err(unopened)?;
    let epoch = live.all().find(|epoch| epoch.envelope().kid == message.kid()).ok_or(ApiError::Internal)?;
    once(state, epoch, "envelope", &opened.enc)?;
    once(state, epoch, "envelope-rid", message.rid().as_bytes())?;
    Ok(opened)
}

/// Seals an answer as events, or in one body where the document says so. What the answer says is inside alone: the status outside is
/// always the same.
async fn seal(state: &State, inner: Answer, mut reply: AnswerSealer) -> Answer {
    let headers = inner.headers.into_iter().filter(|(name, _)| name.as_str().starts_with("x-")).collect::<Vec<_>>();
    let padding = state.wires().shape != Shape::Off;
    let mut answer = if state.wires().envelope_streaming {
        Answer::events(Box::new(SealedStream { body: Some(inner.body), padding, reply }))
    } else {
        match reply.seal(&gathered(inner.body).await, true) {
            Ok(event) => Answer::of_json(StatusCode::OK, event.into()),
            Err(_) => ApiError::Internal.into(),
        }
    };
    for (name, value) in headers {
        if !answer.headers.iter().any(|(known, _)| *known == name) {
            answer.headers.push((name, value));
        }
    }
    answer
}

/// Sealed events. The last one is marked; it is padding alone behind a stream, whose end comes after its last event.
struct SealedStream {
    body: Option<AnswerBody>,
    padding: bool,
    reply: AnswerSealer,
}

impl SealedStream {
    fn event(&mut self, content: &[u8], last: bool) -> Poll<Option<Bytes>> {
        Poll::Ready(self.reply.event(content, last).ok().map(Bytes::from))
    }
}

impl AnswerStream for SealedStream {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self.body.take() {
            None => Poll::Ready(None),
            Some(AnswerBody::Whole(body)) => self.event(&body, true),
            Some(AnswerBody::Stream(mut stream)) => match stream.poll_next(context) {
                Poll::Pending => {
                    self.body = Some(AnswerBody::Stream(stream));
                    Poll::Pending
                }
                Poll::Ready(Some(piece)) => {
                    self.body = Some(AnswerBody::Stream(stream));
                    self.event(&piece, false)
                }
                Poll::Ready(None) => {
                    let mut end = Vec::new();
                    if self.padding {
                        pad_events(&mut end, bucket(0));
                    }
                    self.event(&end, true)
                }
            },
        }
    }
}
