//! Bodies at the socket: requests are read with a limit of size and one of time, answers are handed out piece by piece.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::HeaderMap;
use ::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use zeroize::Zeroizing;

use super::activity::Running;
use super::answer::{AnswerBody, AnswerStream};
use super::error::ApiError;
use super::http::Record;

/// Refuses a body that is not declared as plain JSON. Without a declaration it is taken for JSON.
///
/// Apart from clarity this keeps web pages out: a browser sends `application/json` to another site only after asking.
pub(super) fn check_declared(headers: &HeaderMap, limit: u64) -> Result<(), ApiError> {
    if let Some(kind) = headers.get(CONTENT_TYPE) {
        let essence = kind.to_str().ok().and_then(|kind| kind.split(';').next()).map(str::trim);
        if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
            return Err(ApiError::MediaType);
        }
    }
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(ApiError::MediaType);
    }
    check_length(headers, limit)
}

/// Refuses a body that is declared to be longer than the limit.
pub(super) fn check_length(headers: &HeaderMap, limit: u64) -> Result<(), ApiError> {
    match declared_length(headers) {
        Some(length) if length > limit => Err(ApiError::TooLarge { limit }),
        _ => Ok(()),
    }
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a body that [`check_declared`] let pass, up to `limit` bytes and for at most `time`.
pub(super) async fn read(
    headers: &HeaderMap,
    body: &mut Incoming,
    limit: u64,
    time: Duration,
) -> Result<Zeroizing<Vec<u8>>, ApiError> {
    /// Memory taken for a length that is only a promise so far.
    const PROMISED: u64 = 64 * 1024;
    let start = declared_length(headers).unwrap_or(0).min(PROMISED);
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(start).unwrap_or(0)));
    let limit_bytes = usize::try_from(limit).unwrap_or(usize::MAX);
    let read = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| ApiError::BodyBroken)?;
            let Some(data) = frame.data_ref() else { continue };
            if data.len() > limit_bytes.saturating_sub(bytes.len()) {
                return Err(ApiError::TooLarge { limit });
            }
            bytes.extend_from_slice(data);
        }
        Ok(())
    };
    tokio::time::timeout(time, read).await.map_err(|_| ApiError::BodyTimeout)??;
    Ok(bytes)
}

/// The body of an answer. While it lives its request is running; when it is dropped the request's event is written.
pub(super) struct ResponseBody {
    content: Content,
    record: Record,
    _running: Running,
}

enum Content {
    Whole(Bytes),
    Stream(Box<dyn AnswerStream>),
    End,
}

impl ResponseBody {
    pub(super) fn new(body: AnswerBody, record: Record, running: Running) -> Self {
        let content = match body {
            AnswerBody::Whole(bytes) => Content::Whole(bytes),
            AnswerBody::Stream(stream) => Content::Stream(stream),
        };
        Self { content, record, _running: running }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        let data = match &mut this.content {
            Content::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                this.content = Content::End;
                this.record.complete();
                Some(bytes)
            }
            Content::Stream(stream) => match stream.poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(bytes)) => Some(bytes),
                Poll::Ready(None) => {
                    this.content = Content::End;
                    this.record.complete();
                    None
                }
            },
            Content::End => None,
        };
        Poll::Ready(data.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::End)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Content::Stream(_) => SizeHint::default(),
            Content::End => SizeHint::with_exact(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

    fn declared(headers: &[(::http::HeaderName, &str)]) -> Result<(), ApiError> {
        let value = |value: &str| HeaderValue::from_str(value).expect("value");
        check_declared(&headers.iter().map(|(name, text)| (name.clone(), value(text))).collect(), 10)
    }

    #[test]
    fn json_within_the_limit_passes_and_other_declarations_do_not() {
        for kind in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
            assert!(declared(&[(CONTENT_TYPE, kind)]).is_ok());
        }
        assert!(declared(&[]).is_ok());
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
            assert!(matches!(declared(&[(CONTENT_TYPE, kind)]), Err(ApiError::MediaType)), "{kind}");
        }
        assert!(declared(&[(CONTENT_ENCODING, "identity")]).is_ok());
        assert!(matches!(declared(&[(CONTENT_ENCODING, "gzip")]), Err(ApiError::MediaType)));
        assert!(declared(&[(CONTENT_LENGTH, "10")]).is_ok());
        assert!(matches!(declared(&[(CONTENT_LENGTH, "11")]), Err(ApiError::TooLarge { limit: 10 })));
    }
}
