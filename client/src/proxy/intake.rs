//! Bodies of local requests. They are read whole, because what is sealed is sealed whole and can then be sent to another node; all
//! of them together are bounded.

use std::{pin::pin, sync::Arc, time::Duration};

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Bytes};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{connection::BoxError, translate::Problem};

/// Longest body, in bytes; no appliance takes a longer one.
pub const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
/// Most bytes of all bodies at a time. Sealing makes a second copy of one, and a third while it is sent.
const MAX_HELD_BYTES: usize = 256 * 1024 * 1024;
/// Bodies are accounted for in these.
const SHARE_BYTES: usize = 4096;
/// Time for a body, from the end of its headers.
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes bodies, as long as there is room for them; one more waits.
#[derive(Debug)]
pub struct Intake {
    room: Arc<Semaphore>,
}

/// The bytes of a body and their share of the room, which they have until the last copy of them is gone.
struct Held {
    bytes: Bytes,
    _share: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body that is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// Longer than the limit.
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// It ended before its end, or did not come in time.
    Incomplete,
}

impl Default for Intake {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(MAX_HELD_BYTES / SHARE_BYTES)) }
    }
}

impl Intake {
    /// Reads a body of at most `limit` bytes. One that does not say its length gets room for the longest.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub async fn take<B>(&self, body: B, limit: usize) -> Result<Bytes, NotTaken>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let announced = body.size_hint();
        if announced.lower() > limit as u64 {
            // Most programs read no answer before they have sent all of a request; whoever sends far more than this will not be told.
            let _ = timeout(PATIENCE, discard(body, limit.saturating_mul(2))).await;
            return Err(NotTaken::TooLong { limit });
        }
        let most =
            announced.upper().and_then(|upper| usize::try_from(upper).ok()).map_or(limit, |upper| upper.min(limit));
        let shares = u32::try_from(most.div_ceil(SHARE_BYTES)).unwrap_or(u32::MAX);
        let mut share = Arc::clone(&self.room).acquire_many_owned(shares).await.map_err(|_| NotTaken::Incomplete)?;
        match timeout(PATIENCE, Limited::new(body, limit).collect()).await {
            Ok(Ok(body)) => {
                let bytes = body.to_bytes();
                // what a body did not need, above all one that did not say its length, is the next one's
                drop(share.split(share.num_permits().saturating_sub(bytes.len().div_ceil(SHARE_BYTES))));
                Ok(Bytes::from_owner(Held { bytes, _share: share }))
            }
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(NotTaken::TooLong { limit }),
            Ok(Err(_)) | Err(_) => Err(NotTaken::Incomplete),
        }
    }
}

/// Reads up to so many bytes of a body and keeps none.
async fn discard<B: Body<Data = Bytes>>(body: B, mut most: usize) {
    let mut body = pin!(body);
    while let Some(Ok(frame)) = body.frame().await {
        let Some(rest) = most.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
        most = rest;
    }
}

impl From<NotTaken> for Problem {
    fn from(reason: NotTaken) -> Self {
        match reason {
            NotTaken::TooLong { limit } => {
                Self::ours(413, "body_too_large", &format!("lethe proxy: the request is longer than {limit} bytes"))
            }
            NotTaken::Incomplete => {
                Self::ours(400, "body_incomplete", "lethe proxy: the request ended before its body did")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{FutureExt as _, stream};
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    use super::*;

    fn whole(bytes: usize) -> Full<Bytes> {
        Full::new(Bytes::from(vec![7; bytes]))
    }

    fn in_pieces(pieces: usize) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let piece = |_| Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[7; 1000])));
        StreamBody::new(stream::iter((0..pieces).map(piece)))
    }

    #[tokio::test]
    async fn a_body_is_taken_up_to_the_limit() {
        let intake = Intake::default();
        assert_eq!(intake.take(whole(3000), 3000).await.expect("a body").len(), 3000);
        assert_eq!(intake.take(in_pieces(3), 3000).await.expect("a body").len(), 3000);
        assert_eq!(intake.take(whole(3001), 3000).await.unwrap_err(), NotTaken::TooLong { limit: 3000 });
        assert_eq!(intake.take(in_pieces(4), 3000).await.unwrap_err(), NotTaken::TooLong { limit: 3000 });
    }

    #[tokio::test]
    async fn a_body_waits_until_there_is_room() {
        let intake = Intake { room: Arc::new(Semaphore::new(2)) };
        let first = intake.take(whole(SHARE_BYTES), 2 * SHARE_BYTES).await.expect("a body");
        let mut second = Box::pin(intake.take(in_pieces(1), 2 * SHARE_BYTES));
        assert!(second.as_mut().now_or_never().is_none());
        let copy = first.clone();
        drop(first);
        assert!(second.as_mut().now_or_never().is_none());
        drop(copy);
        second.await.expect("a body");
        assert!(intake.take(whole(0), 0).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_keeps_room_for_its_own_length_alone() {
        let intake = Intake { room: Arc::new(Semaphore::new(4)) };
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(
                intake.take(in_pieces(1), 2 * SHARE_BYTES).now_or_never().expect("there is room").expect("a body"),
            );
        }
        assert_eq!(intake.room.available_permits(), 1);
        let two = intake.take(whole(SHARE_BYTES + 1), 2 * SHARE_BYTES).now_or_never();
        assert!(two.is_none(), "room for one is not room for two");
        drop(held);
        assert_eq!(intake.room.available_permits(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_gives_its_room_back() {
        let intake = Intake { room: Arc::new(Semaphore::new(1)) };
        let never = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        assert_eq!(intake.take(never, SHARE_BYTES).await.unwrap_err(), NotTaken::Incomplete);
        assert_eq!(intake.room.available_permits(), 1);
    }
}
