//! Requests in other people's formats: translated, sent as chat completions, and the answers translated back.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming};

use super::{
    answer::{self, LocalBody},
    ending, headers,
    intake::Intake,
    nodes::Nodes,
    passing::Passing,
};
use crate::{
    call::Call,
    connection::BoxError,
    error::NetworkError,
    translate::{self, Chat, Completion, Dialect, Ended, Problem, Refused, StreamTranslator},
};

/// Longest request that is translated, in bytes; an appliance's own limit is usually lower.
const MAX_REQUEST_BYTES: usize = 8 * 1024 * 1024;
/// Longest answers that are read whole, in bytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// An API that is translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// Anthropic's messages.
    Messages,
    /// Anthropic's count of tokens, which cannot be had.
    CountTokens,
    /// OpenAI's responses.
    Responses,
    /// Responses that were stored, of which there are none.
    StoredResponses,
}

impl Api {
    /// The API that a request is for; `None` if it is not one of these.
    #[must_use]
    pub fn of(method: &Method, path: &str) -> Option<Self> {
        match path {
            "/v1/messages" if method == Method::POST => Some(Self::Messages),
            "/v1/messages/count_tokens" if method == Method::POST => Some(Self::CountTokens),
            "/v1/responses" if method == Method::POST => Some(Self::Responses),
            _ if path.starts_with("/v1/responses/") => Some(Self::StoredResponses),
            _ => None,
        }
    }

    fn read(self, body: &[u8]) -> Result<(Chat, Box<dyn Dialect>), Refused> {
        match self {
            Self::Messages | Self::CountTokens => {
                translate::anthropic::request(body).map(|(chat, dialect)| (chat, Box::new(dialect) as _))
            }
            Self::Responses | Self::StoredResponses => {
                translate::responses::request(body).map(|(chat, dialect)| (chat, Box::new(dialect) as _))
            }
        }
    }

    fn without_request(self) -> Box<dyn Dialect> {
        match self {
            Self::Messages | Self::CountTokens => Box::new(translate::anthropic::Messages::without_request()),
            Self::Responses | Self::StoredResponses => Box::new(translate::responses::Responses::without_request()),
        }
    }

    /// What is never answered with anything else.
    fn refused(self) -> Option<Problem> {
        match self {
            Self::Messages | Self::Responses => None,
            Self::CountTokens => Some(Problem::ours(
                404,
                "not_supported",
                "lethe proxy: tokens are not counted here: the appliance has no route for it, and a guess would be no count; \
                 'usage' of an answer has the exact numbers",
            )),
            Self::StoredResponses => Some(Problem::ours(
                404,
                "not_stored",
                "lethe proxy: responses are not stored, so there is nothing to fetch, cancel or delete",
            )),
        }
    }
}

/// Answers a request for one of these APIs.
pub(super) async fn answer(
    nodes: &Nodes,
    intake: &Intake,
    api: Api,
    request: Request<Incoming>,
) -> Response<LocalBody> {
    let blank = api.without_request();
    if let Some(problem) = api.refused() {
        return error(blank.as_ref(), &problem);
    }
    let (head, body) = request.into_parts();
    let body = match intake.take(body, MAX_REQUEST_BYTES).await {
        Ok(body) => body,
        Err(reason) => return error(blank.as_ref(), &reason.into()),
    };
    let (chat, dialect) = match api.read(&body) {
        Ok(read) => read,
        Err(refused) => return error(blank.as_ref(), &Problem::from(&refused)),
    };
    let Ok(mut passed) = headers::of_request(&head.headers, nodes.token()) else {
        return error(dialect.as_ref(), &Problem::ours(500, "proxy_error", "lethe proxy: the token cannot be sent"));
    };
    passed.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    passed.remove(header::ACCEPT);
    let call = Call { method: Method::POST, path: "/v1/chat/completions".to_owned(), headers: passed };
    match nodes.relay(&call, &Bytes::from(chat.body().to_string())).await {
        Ok(answer) => back(dialect, chat.is_streamed(), answer).await,
        Err(failure) => {
            let (problem, headers) = answer::describe(&failure);
            let mut answer = error(dialect.as_ref(), &problem);
            answer.headers_mut().extend(headers);
            answer
        }
    }
}

/// Translates an answer.
async fn back(mut dialect: Box<dyn Dialect>, streamed: bool, answer: Response<Passing>) -> Response<LocalBody> {
    let (head, body) = answer.into_parts();
    let headers = kept(&head.headers);
    let mut answer = if head.status != StatusCode::OK {
        let bytes = collect(body, MAX_ERROR_BYTES).await.unwrap_or_default();
        error(dialect.as_ref(), &Problem::of_answer(head.status.as_u16(), &bytes))
    } else if streamed {
        let body = Translated { answer: Some(body), translator: StreamTranslator::new(dialect) };
        let mut answer = Response::new(body.map_err(|never| match never {}).boxed_unsync());
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        answer
    } else {
        match collect(body, MAX_ANSWER_BYTES).await.map(|bytes| serde_json::from_slice::<Completion>(&bytes)) {
            Ok(Ok(completion)) if completion.finish().is_some() => {
                answer::json_answer(StatusCode::OK, &dialect.whole(&completion))
            }
            Ok(_) => error(dialect.as_ref(), &Problem::malformed()),
            Err(broken) => {
                let told = broken.downcast_ref::<NetworkError>().and_then(ending::problem);
                error(dialect.as_ref(), &told.unwrap_or_else(Problem::cut_off))
            }
        }
    };
    answer.headers_mut().extend(headers);
    answer
}

/// The headers of an answer that are true of its translation too.
fn kept(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers::of_answer(headers);
    kept.remove(header::CONTENT_LENGTH);
    kept.remove(header::CONTENT_TYPE);
    if let Some(id) = kept.get("x-request-id").cloned() {
        kept.insert("request-id", id);
    }
    kept
}

async fn collect(body: Passing, limit: usize) -> Result<Bytes, BoxError> {
    Ok(Limited::new(body, limit).collect().await?.to_bytes())
}

fn error(dialect: &dyn Dialect, problem: &Problem) -> Response<LocalBody> {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_GATEWAY);
    answer::json_answer(status, &dialect.error(problem))
}

/// A stream that is translated while it comes. What breaks it becomes its last event.
struct Translated {
    answer: Option<Passing>,
    translator: StreamTranslator,
}

impl Body for Translated {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        while let Some(answer) = &mut this.answer {
            let said = match ready!(Pin::new(answer).poll_frame(context)) {
                Some(Ok(frame)) => frame.data_ref().map_or_else(String::new, |data| this.translator.push(data)),
                // After the end the rest is read too, so that the connection can be used again.
                None => {
                    this.answer = None;
                    this.translator.close(None)
                }
                Some(Err(broken)) => {
                    this.answer = None;
                    this.translator.close(ending::problem(&broken))
                }
            };
            if this.translator.ended() == Ended::Failed {
                this.answer = None;
            }
            if !said.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(said.into()))));
            }
        }
        Poll::Ready(None)
    }
}
