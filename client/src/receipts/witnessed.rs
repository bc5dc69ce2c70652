//! The body of an answer whose receipt is checked at its end.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Method, StatusCode, header};
use hyper::body::{Body, Bytes, Frame};
use protocol::{
    Sha256Digest,
    receipt::{MAX_RECEIPT, ReceiptError},
};
use sha2::{Digest as _, Sha256};

use super::{
    MAX_HELD_BYTES, RECEIPT_FIELD,
    archive::{Transcript, is_name},
    check::{Exchange, ReceiptFault, check},
    hold::Hold,
};
use crate::{
    answer::AnswerBody,
    call::Call,
    error::{Error, NetworkError, Refusal, ServerError},
    line::Line,
};

/// What the check of an answer's receipt needs.
pub(crate) struct Case {
    /// Where the request went.
    pub(crate) line: Arc<Line>,
    pub(crate) method: Method,
    pub(crate) path: String,
    /// Of the request: its sender alone may fetch the receipt.
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) request: Bytes,
    /// Name of the receipt; `None` where there is none, and only a transcript is wanted.
    pub(crate) id: Option<String>,
}

impl Case {
    /// Checks the receipt, counts it, and saves the transcript.
    async fn settle(self, response: Sha256Digest, bytes: Vec<u8>, carried: Option<Vec<u8>>) -> Result<(), Error> {
        let receipts = self.line.receipts();
        let mut document = None;
        let mut keyset = Arc::clone(&self.line);
        let judged = match &self.id {
            Some(id) => self.judge(id, response, carried, &mut document, &mut keyset).await,
            None => Ok(()),
        };
        if self.id.is_some() {
            receipts.count(&judged);
        }
        if let Some(archive) = &receipts.archive {
            let transcript = Transcript {
                id: self.id.as_deref(),
                request: &self.request,
                response: &bytes,
                receipt: document.as_deref(),
                bundle: keyset.bundle().map(|bundle| (keyset.verified().keyset_digest(), bundle)),
            };
            let saved = archive.save(&transcript).map_err(Error::from);
            return judged.and(saved);
        }
        judged
    }

    /// Checks the receipt against the keyset that was verified. An epoch may have begun while the answer came: then the receipt is of
    /// the next keyset, which is verified like the first, and has to be of the same boot.
    async fn judge(
        &self,
        id: &str,
        response: Sha256Digest,
        carried: Option<Vec<u8>>,
        document: &mut Option<Vec<u8>>,
        keyset: &mut Arc<Line>,
    ) -> Result<(), Error> {
        let found = match carried {
            Some(carried) => carried,
            None => self.fetch(id).await?,
        };
        let document = &*document.insert(found);
        let exchange = Exchange {
            id: Some(id),
            route: (self.method.as_str(), &self.path),
            request: Sha256Digest::of(&self.request),
            response,
        };
        let fault = match check(document, self.line.verified(), exchange) {
            Err(ReceiptFault::Receipt(ReceiptError::Keyset)) => {
                let next = self.line.successor().await?;
                let keys = |line: &Line| line.verified().keyset().receipt_signing_keys.clone();
                let same_boot = keys(&next) == keys(&self.line);
                *keyset = Arc::clone(&next);
                match check(document, next.verified(), exchange) {
                    Ok(_) if !same_boot => Err(ReceiptFault::OtherBoot),
                    other => other,
                }
            }
            other => other,
        };
        fault.map(drop).map_err(|fault| Refusal::Receipt(fault).into())
    }

    async fn fetch(&self, id: &str) -> Result<Vec<u8>, Error> {
        if !is_name(id) {
            return Err(Refusal::Receipt(ReceiptFault::OtherName).into());
        }
        let mut call = Call::get(&format!("/v1/aci/receipts/{id}"));
        call.headers.extend(self.authorization.clone().map(|value| (header::AUTHORIZATION, value)));
        let (_, answer) = self.line.pass(&call, &Bytes::new()).await?;
        let (head, mut body) = answer.into_parts();
        if head.status != StatusCode::OK {
            return Err(Refusal::Receipt(ReceiptFault::Unavailable { status: head.status.as_u16() }).into());
        }
        body.collect_up_to("the receipt", MAX_RECEIPT).await
    }
}

type Settling = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// What a [`Witnessed`] body is doing.
enum Stage {
    /// Bytes come.
    Coming(AnswerBody, Box<Case>),
    /// All have come; the receipt is being checked.
    Settling(Settling),
    Over,
}

/// The bytes of an answer, of which the last part is held back until the receipt is good.
pub(crate) struct Witnessed {
    stage: Stage,
    hash: Sha256,
    hold: Hold,
    /// The answer for the transcript, where one is wanted.
    kept: Option<Vec<u8>>,
    carried: Option<Vec<u8>>,
}

impl Witnessed {
    pub(crate) fn new(body: AnswerBody, case: Case) -> Self {
        let kept = case.line.receipts().archive.is_some().then(Vec::new);
        Self {
            stage: Stage::Coming(body, Box::new(case)),
            hash: Sha256::new(),
            hold: Hold::default(),
            kept,
            carried: None,
        }
    }

    /// Takes bytes and gives those that may pass.
    fn take(&mut self, bytes: Bytes) -> Result<Bytes, NetworkError> {
        let too_large = |what, limit| NetworkError::stopped(ServerError::TooLarge { what, limit });
        self.hash.update(&bytes);
        if let Some(kept) = &mut self.kept {
            if bytes.len() > MAX_HELD_BYTES.saturating_sub(kept.len()) {
                return Err(too_large("the answer to be saved", MAX_HELD_BYTES));
            }
            kept.extend_from_slice(&bytes);
        }
        self.hold
            .push(bytes)
            .map_err(|_| NetworkError::stopped(ServerError::Malformed("bytes follow the end of its stream")))
    }

    fn settle(&mut self, case: Case) -> Stage {
        let response = Sha256Digest(std::mem::take(&mut self.hash).finalize().into());
        let kept = self.kept.take().unwrap_or_default();
        Stage::Settling(Box::pin(case.settle(response, kept, self.carried.take())))
    }

    /// The next bytes that pass; `None` behind the last.
    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, NetworkError>> {
        loop {
            match &mut self.stage {
                Stage::Over => return Poll::Ready(Ok(None)),
                Stage::Settling(settling) => {
                    let settled = ready!(settling.as_mut().poll(context));
                    self.stage = Stage::Over;
                    return Poll::Ready(match settled {
                        Ok(()) => Ok(Some(self.hold.release()).filter(|held| !held.is_empty())),
                        Err(error) => Err(NetworkError::Stopped(Box::new(error))),
                    });
                }
                Stage::Coming(body, _) => match ready!(Pin::new(body).poll_frame(context)).transpose()? {
                    Some(frame) => match frame.into_data() {
                        Ok(bytes) => {
                            let passing = self.take(bytes)?;
                            if !passing.is_empty() {
                                return Poll::Ready(Ok(Some(passing)));
                            }
                        }
                        Err(frame) => {
                            let receipt = frame.trailers_ref().and_then(|trailers| trailers.get(RECEIPT_FIELD));
                            self.carried = receipt.map(|receipt| receipt.as_bytes().to_vec()).or(self.carried.take());
                        }
                    },
                    None => {
                        if let Stage::Coming(_, case) = std::mem::replace(&mut self.stage, Stage::Over) {
                            self.stage = self.settle(*case);
                        }
                    }
                },
            }
        }
    }
}

impl Body for Witnessed {
    type Data = Bytes;
    type Error = NetworkError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NetworkError>>> {
        let polled = ready!(self.poll_bytes(context));
        if polled.is_err() {
            // nothing that follows counts
            self.stage = Stage::Over;
        }
        Poll::Ready(polled.transpose().map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }
}
