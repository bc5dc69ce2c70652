//! The end of an answer for a local program: an answer that is not to be believed ends with an error that the program reads.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use serde_json::json;

use super::answer::LocalBody;
use crate::{
    error::{Error, NetworkError, Refusal},
    sse, terminal,
    translate::Problem,
};

/// The body of an answer, for a local program. In an event stream, a bad receipt and a sealed answer that is not whole become an
/// error event in the place of `[DONE]`; every other failure breaks the connection, as it did between the appliance and here.
pub(super) fn told<B>(body: B, headers: &HeaderMap) -> LocalBody
where
    B: Body<Data = Bytes, Error = NetworkError> + Send + Unpin + 'static,
{
    if sse::is_event_stream(headers) {
        Told { body: Some(body) }.map_err(Into::into).boxed_unsync()
    } else {
        body.map_err(Into::into).boxed_unsync()
    }
}

struct Told<B> {
    /// `None` behind an error event.
    body: Option<B>,
}

impl<B: Body<Data = Bytes, Error = NetworkError> + Unpin> Body for Told<B> {
    type Data = Bytes;
    type Error = NetworkError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NetworkError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        Poll::Ready(match frame {
            Some(Err(error)) => match event(&error) {
                Some(event) => {
                    self.body = None;
                    Some(Ok(Frame::data(event)))
                }
                None => Some(Err(error)),
            },
            other => other,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

/// The event that says why an answer does not count. The empty lines end an event that was cut.
fn event(error: &NetworkError) -> Option<Bytes> {
    let Problem { code, message, .. } = problem(error)?;
    let error = json!({"error": {"message": message, "type": "upstream_error", "param": null, "code": code}});
    Some(format!("\n\ndata: {error}\n\n").into())
}

/// What to tell of an answer that is not to be believed; `None` for one that only broke off.
pub(super) fn problem(error: &NetworkError) -> Option<Problem> {
    let code = match error {
        NetworkError::Stopped(reason) => match &**reason {
            Error::Refused(Refusal::Receipt(_) | Refusal::NoReceipt) => "receipt_refused",
            Error::Refused(_) => "appliance_not_verified",
            Error::Usage(_) => "answer_not_saved",
            Error::Network(_) | Error::Server(_) => "receipt_unavailable",
        },
        NetworkError::Sealed(_) | NetworkError::SealedForm(_) => "sealed_answer_broken",
        _ => return None,
    };
    Some(Problem::ours(502, code, &format!("lethe proxy: {}", terminal::one_line(&error.to_string(), 500))))
}
