//! What the fake appliance answers to a question.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Bytes, Frame};
use serde_json::json;
use tokio::sync::mpsc;

/// Body of every answer.
pub type AnswerBody = UnsyncBoxBody<Bytes, io::Error>;

/// One scripted answer.
#[derive(Clone)]
pub enum Reply {
    /// Events with these pieces, usage, `[DONE]`.
    Stream(Vec<&'static str>),
    /// As `Stream`, with a quarter of a second before each piece.
    Slow(Vec<&'static str>),
    /// One object.
    Whole(&'static str),
    /// An error object.
    Status { status: u16, retry_after: Option<&'static str>, code: &'static str, message: &'static str },
    /// The connection closes before the head of an answer.
    HangUp,
    /// Events without `[DONE]`; the connection ends well.
    Unfinished(Vec<&'static str>),
    /// Events, then the connection breaks.
    Cut(Vec<&'static str>),
    /// Events, then an error event.
    ErrorInside(Vec<&'static str>),
    /// Pieces for as long as somebody listens.
    Endless,
    /// These bytes, as an event stream.
    Raw(Vec<u8>),
}

impl Reply {
    /// The answer, or `None` to hang up. `heard_hang_up` is set when an endless answer is no longer wanted.
    pub fn answer(self, heard_hang_up: &Arc<AtomicBool>) -> Option<Response<AnswerBody>> {
        let (sender, receiver) = mpsc::channel(4);
        match self {
            Self::HangUp => return None,
            Self::Whole(text) => {
                let choice =
                    json!({"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"});
                return Some(object(StatusCode::OK, &json!({"choices": [choice], "usage": {"total_tokens": 7}})));
            }
            Self::Status { status, retry_after, code, message } => {
                let mut answer = object(
                    StatusCode::from_u16(status).unwrap(),
                    &json!({"error": {"message": message, "type": "t", "param": null, "code": code}}),
                );
                if let Some(value) = retry_after {
                    answer.headers_mut().insert("retry-after", value.parse().unwrap());
                }
                return Some(answer);
            }
            Self::Stream(pieces) => send(sender, [events(&pieces), vec![Ok(usage()), done()]].concat_results()),
            Self::Slow(pieces) => {
                tokio::spawn(async move {
                    for part in [events(&pieces), vec![Ok(usage()), done()]].concat_results() {
                        tokio::time::sleep(Duration::from_millis(250)).await;
                        if sender.send(part).await.is_err() {
                            break;
                        }
                    }
                });
            }
            Self::Unfinished(pieces) => send(sender, events(&pieces)),
            Self::Cut(pieces) => {
                send(sender, [events(&pieces), vec![Err(io::Error::other("cut"))]].concat_results());
            }
            Self::ErrorInside(pieces) => {
                let error = Bytes::from("data: {\"error\":{\"message\":\"no more\"}}\n\n");
                send(sender, [events(&pieces), vec![Ok(error), done()]].concat_results());
            }
            Self::Raw(bytes) => send(sender, vec![Ok(Bytes::from(bytes))]),
            Self::Endless => {
                let heard = heard_hang_up.clone();
                tokio::spawn(async move {
                    while sender.send(Ok(piece("again "))).await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    heard.store(true, Ordering::SeqCst);
                });
            }
        }
        let mut answer = Response::new(Channel(receiver).boxed_unsync());
        answer.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
        Some(answer)
    }
}

/// A JSON answer.
pub fn object(status: StatusCode, value: &serde_json::Value) -> Response<AnswerBody> {
    let body = Full::new(Bytes::from(value.to_string())).map_err(|never: Infallible| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
    answer
}

type Part = Result<Bytes, io::Error>;

trait ConcatResults {
    fn concat_results(self) -> Vec<Part>;
}

impl<const N: usize> ConcatResults for [Vec<Part>; N] {
    fn concat_results(self) -> Vec<Part> {
        self.into_iter().flatten().collect()
    }
}

fn send(sender: mpsc::Sender<Part>, parts: Vec<Part>) {
    tokio::spawn(async move {
        for part in parts {
            if sender.send(part).await.is_err() {
                break;
            }
            // Parts that come together would be one chunk.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

fn piece(text: &str) -> Bytes {
    Bytes::from(format!(
        "data: {}\n\n",
        json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]})
    ))
}

fn events(pieces: &[&str]) -> Vec<Part> {
    pieces.iter().map(|text| Ok(piece(text))).collect()
}

fn usage() -> Bytes {
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    let usage = json!({"choices": [], "usage": {"total_tokens": 7}});
    Bytes::from(format!("data: {end}\n\ndata: {usage}\n\n"))
}

fn done() -> Part {
    Ok(Bytes::from("data: [DONE]\n\n"))
}

struct Channel(mpsc::Receiver<Part>);

impl Body for Channel {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(context).map(|part| part.map(|part| part.map(Frame::data)))
    }
}
