//! The body of an answer on its way to a local program. It holds the request's place at the node until it ends.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::body::{Body, Bytes, Frame, SizeHint};

use super::node::Lease;
use crate::{
    connection::AnswerBody,
    error::{Error, NetworkError},
};

/// An answer of which the first bytes are here.
pub struct Passing {
    first: Option<Frame<Bytes>>,
    rest: AnswerBody,
    lease: Lease,
}

impl Passing {
    /// A body that begins with a frame; `None` if it has none.
    #[must_use]
    pub fn new(first: Option<Frame<Bytes>>, rest: AnswerBody, lease: Lease) -> Self {
        let mut passing = Self { first, rest, lease };
        passing.note_end();
        passing
    }

    fn note_end(&mut self) {
        if self.rest.is_end_stream() {
            self.lease.completed();
        }
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = NetworkError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NetworkError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let frame = ready!(Pin::new(&mut self.rest).poll_frame(context));
        match &frame {
            Some(Ok(_)) => self.note_end(),
            // A transcript that cannot be written says nothing about the node.
            Some(Err(NetworkError::Stopped(reason))) if matches!(**reason, Error::Usage(_)) => self.lease.completed(),
            Some(Err(_)) => self.lease.broke(),
            None => self.lease.completed(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().and_then(Frame::data_ref).map_or(0, |data| data.len() as u64);
        let mut hint = self.rest.size_hint();
        let (lower, upper) = (hint.lower() + first, hint.upper().map(|upper| upper + first));
        if let Some(upper) = upper {
            hint.set_upper(upper);
        }
        hint.set_lower(lower);
        hint
    }
}
