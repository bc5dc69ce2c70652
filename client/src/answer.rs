//! The body of an answer, whatever it came through.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Bytes, Frame, SizeHint};

use crate::{
    connection::{Arriving, within},
    error::{Error, NetworkError, ServerError},
};

/// The body of an answer. Dropped before its end it tells the appliance to stop.
///
/// Where the answer has a receipt that is checked, its end comes only after the receipt has proved to be good; a bad one is an
/// error in the place of the last bytes.
pub struct AnswerBody {
    inner: UnsyncBoxBody<Bytes, NetworkError>,
    silence: Duration,
}

impl AnswerBody {
    /// A body that was made of another one.
    pub(crate) fn new(
        inner: impl Body<Data = Bytes, Error = NetworkError> + Send + 'static,
        silence: Duration,
    ) -> Self {
        Self { inner: inner.boxed_unsync(), silence }
    }

    /// A body that is here.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::new(Full::new(bytes).map_err(|never| match never {}), Duration::from_secs(1))
    }

    /// For how long it may be silent.
    pub(crate) fn silence(&self) -> Duration {
        self.silence
    }

    /// The next bytes, or `None` at the end.
    ///
    /// # Errors
    /// [`NetworkError::Broken`] if the connection ends before the answer does, [`NetworkError::TimedOut`] on silence,
    /// [`NetworkError::Sealed`] if a sealed answer is not whole, and whatever a receipt is refused for.
    pub async fn next(&mut self) -> Result<Option<Bytes>, NetworkError> {
        while let Some(frame) = self.frame().await {
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The whole body, which has to be here within the time of `silence`: a server that dribbles does not hold us.
    ///
    /// # Errors
    /// [`ServerError::TooLarge`] if it is longer than `limit` bytes, and as [`AnswerBody::next`].
    pub async fn collect_up_to(&mut self, what: &'static str, limit: usize) -> Result<Vec<u8>, Error> {
        within("get the whole answer", self.silence, self.collect(what, limit)).await?
    }

    async fn collect(&mut self, what: &'static str, limit: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while let Some(part) = self.next().await? {
            if part.len() > limit.saturating_sub(bytes.len()) {
                return Err(ServerError::TooLarge { what, limit }.into());
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }
}

impl From<Arriving> for AnswerBody {
    fn from(arriving: Arriving) -> Self {
        let silence = arriving.silence();
        Self::new(arriving, silence)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = NetworkError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NetworkError>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
