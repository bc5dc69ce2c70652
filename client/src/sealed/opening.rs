//! Answers to sealed requests.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, response::Parts};
use hyper::body::{Body, Bytes, Frame};
use protocol::{
    bhttp::{BhttpError, Decoder, Event, Field, Limits, ResponseHead},
    date,
    hpke::Wiped,
    ohttp::{CHUNKED_RESPONSE_TYPE, ChunkOpener, DATE_PROBLEM, KEY_PROBLEM},
};
use serde::Deserialize;

use crate::{
    answer::AnswerBody,
    error::{Error, NetworkError, ServerError},
    receipts::RECEIPT_FIELD,
};

/// Longest problem document that is read, in bytes.
const MAX_PROBLEM_BYTES: usize = 64 * 1024;
/// Most bytes of the head of an answer. The content has no limit here: it is passed on as it comes.
const LIMITS: Limits = Limits { head: 64 * 1024, content: usize::MAX };

/// What became of a sealed request.
pub(crate) enum Outcome {
    /// It was answered. The answer is the appliance's own if it was opened, and over the pinned connection if it was not.
    Answer(Response<AnswerBody>),
    /// The gateway does not have the key (any more).
    OtherKeys,
    /// Its date was not accepted; the appliance's time, in seconds since 1970, and the answer that says so.
    Date(u64, Response<AnswerBody>),
}

/// Opens what came back for a sealed request: directly from the appliance, or from a relay that nobody trusts.
///
/// # Errors
/// [`NetworkError::Sealed`] for an answer that does not open, [`NetworkError::Relay`] for a relay's own refusal,
/// [`ServerError::Malformed`] for anything that claims success and is not sealed.
pub(crate) async fn opened(answer: Response<AnswerBody>, opener: ChunkOpener, relayed: bool) -> Result<Outcome, Error> {
    let (head, body) = answer.into_parts();
    let kind =
        |kind: &str| head.headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes() == kind.as_bytes());
    if head.status == StatusCode::OK && kind(CHUNKED_RESPONSE_TYPE) {
        let silence = body.silence();
        let mut opening = Opening::new(body, opener);
        let head = parts(poll_fn(|context| opening.poll_head(context)).await?)?;
        return inner(head, AnswerBody::new(opening, silence)).await;
    }
    if head.status.is_success() {
        return Err(ServerError::Malformed("a sealed request has an answer that is not sealed").into());
    }
    let (problem, answer) = problem(head, body).await?;
    match problem {
        Some(problem) if problem.kind == KEY_PROBLEM => Ok(Outcome::OtherKeys),
        _ if relayed => Err(NetworkError::Relay { status: answer.status().as_u16() }.into()),
        _ => Ok(Outcome::Answer(answer)),
    }
}

/// An opened answer, which may be about the request's date.
async fn inner(head: Parts, body: AnswerBody) -> Result<Outcome, Error> {
    let time = head.headers.get(header::DATE).and_then(|value| value.to_str().ok()).and_then(date::read);
    let (problem, answer) = problem(head, body).await?;
    Ok(match (problem, time) {
        (Some(problem), Some(time)) if problem.kind == DATE_PROBLEM => Outcome::Date(time, answer),
        _ => Outcome::Answer(answer),
    })
}

/// A problem document (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
}

/// Reads an answer that is a problem document, and gives it as it was.
async fn problem(head: Parts, mut body: AnswerBody) -> Result<(Option<Problem>, Response<AnswerBody>), Error> {
    let kind = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if head.status != StatusCode::BAD_REQUEST || kind != Some(b"application/problem+json") {
        return Ok((None, Response::from_parts(head, body)));
    }
    let bytes = body.collect_up_to("the problem", MAX_PROBLEM_BYTES).await?;
    let problem = serde_json::from_slice(&bytes).ok();
    Ok((problem, Response::from_parts(head, AnswerBody::whole(bytes.into()))))
}

/// The head of an answer in the types of HTTP.
fn parts(head: ResponseHead) -> Result<Parts, Error> {
    let malformed = || ServerError::Malformed("the head of its sealed answer is none");
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = StatusCode::from_u16(head.status).map_err(|_| malformed())?;
    parts.headers = header_map(&head.fields).ok_or_else(malformed)?;
    // The frames of the connection say how long the content is, and nobody compared this with them.
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok(parts)
}

fn header_map(fields: &[Field]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(&field.value).ok()?);
    }
    Some(headers)
}

/// A sealed answer that is opened as it comes. It ends well only behind its authenticated final chunk.
struct Opening {
    sealed: Option<(AnswerBody, ChunkOpener)>,
    decoder: Decoder,
    head: Option<ResponseHead>,
    frames: VecDeque<Frame<Bytes>>,
}

impl Opening {
    fn new(body: AnswerBody, opener: ChunkOpener) -> Self {
        Self { sealed: Some((body, opener)), decoder: Decoder::responses(LIMITS), head: None, frames: VecDeque::new() }
    }

    /// The head of the answer.
    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<ResponseHead, NetworkError>> {
        loop {
            if let Some(head) = self.head.take() {
                return Poll::Ready(Ok(head));
            }
            if !ready!(self.poll_more(context))? {
                return Poll::Ready(Err(NetworkError::SealedForm(BhttpError::Truncated)));
            }
        }
    }

    /// Reads and opens the next bytes; false behind the last.
    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, NetworkError>> {
        let Some((body, _)) = &mut self.sealed else { return Poll::Ready(Ok(false)) };
        let read = match ready!(Pin::new(body).poll_frame(context)) {
            Some(Ok(frame)) => frame.into_data().map_or_else(|_| Ok(()), |data| self.take(&data)),
            Some(Err(error)) => Err(error),
            None => self.finish(),
        };
        if read.is_err() {
            // closes the connection: nothing that follows could be believed
            self.sealed = None;
        }
        Poll::Ready(read.map(|()| true))
    }

    fn take(&mut self, sealed: &[u8]) -> Result<(), NetworkError> {
        let Some((_, opener)) = &mut self.sealed else { return Ok(()) };
        let mut content = Wiped::new(Vec::with_capacity(sealed.len()));
        opener.feed(sealed, &mut content).map_err(NetworkError::Sealed)?;
        self.decode(&content)
    }

    fn finish(&mut self) -> Result<(), NetworkError> {
        let Some((_, opener)) = self.sealed.take() else { return Ok(()) };
        let mut content = Wiped::default();
        opener.finish(&mut content).map_err(NetworkError::Sealed)?;
        self.decode(&content)?;
        let mut events = Vec::new();
        self.decoder.finish(&mut events).map_err(NetworkError::SealedForm)?;
        self.sort(events);
        Ok(())
    }

    fn decode(&mut self, content: &[u8]) -> Result<(), NetworkError> {
        let mut events = Vec::new();
        self.decoder.feed(content, &mut events).map_err(NetworkError::SealedForm)?;
        self.sort(events);
        Ok(())
    }

    fn sort(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Response(head) => self.head = Some(head),
                Event::Content(piece) => self.frames.push_back(Frame::data(piece.into())),
                Event::Trailers(fields) => self.frames.extend(receipt(&fields).map(Frame::trailers)),
                Event::Informational(_) | Event::Request(_) => {}
            }
        }
    }
}

/// The one trailer field that means something here.
fn receipt(fields: &[Field]) -> Option<HeaderMap> {
    let mut named = fields.iter().filter(|field| field.name == RECEIPT_FIELD);
    let value = HeaderValue::from_bytes(&named.next()?.value).ok()?;
    named.next().is_none().then(|| HeaderMap::from_iter([(HeaderName::from_static(RECEIPT_FIELD), value)]))
}

impl Body for Opening {
    type Data = Bytes;
    type Error = NetworkError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NetworkError>>> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            match ready!(self.poll_more(context)) {
                Ok(true) => {}
                Ok(false) => return Poll::Ready(None),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.sealed.is_none() && self.frames.is_empty()
    }
}
