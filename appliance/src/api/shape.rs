//! The shape of sealed answers: what their sizes and times show.
//!
//! Padding is inside the plaintext, where it means nothing, and receipts are over the padded bytes, which are what a client
//! decrypts.

use std::task::{Context, Poll};
use std::time::Duration;

use deployment::{Shape, Wires};
use hyper::body::Bytes;
use protocol::shape::{bucket, frame, pad_events, pad_json};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::answer::{Answer, AnswerBody, AnswerStream};

/// Events that are ready are joined up to this size, so that a sealed chunk holds them with whatever is around them.
const JOINED: usize = 8192;

/// The answer with the document's shape. JSON in one piece is padded where `pad_whole`: not where its frame is padded instead.
pub(super) fn shaped(wires: &Wires, pad_whole: bool, mut answer: Answer) -> Answer {
    answer.body = match (wires.shape, answer.body) {
        (Shape::Off, body) => body,
        (_, AnswerBody::Whole(body)) if pad_whole => {
            let mut padded = body.to_vec();
            let size = bucket(padded.len());
            pad_json(&mut padded, size);
            AnswerBody::Whole(padded.into())
        }
        (_, body @ AnswerBody::Whole(_)) => body,
        (Shape::Padded, AnswerBody::Stream(inner)) => AnswerBody::Stream(Box::new(Padded { inner, ended: false })),
        (Shape::Paced, AnswerBody::Stream(inner)) => AnswerBody::Stream(Box::new(Paced::new(wires, inner))),
    };
    answer
}

/// Events that are ready, padded to a bucket.
struct Padded {
    inner: Box<dyn AnswerStream>,
    ended: bool,
}

impl AnswerStream for Padded {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut ready = Vec::new();
        while !self.ended && ready.len() < JOINED {
            match self.inner.poll_next(context) {
                Poll::Ready(Some(events)) => ready.extend_from_slice(&events),
                Poll::Ready(None) => self.ended = true,
                Poll::Pending if ready.is_empty() => return Poll::Pending,
                // the next call finds nothing ready and leaves its waker
                Poll::Pending => break,
            }
        }
        if ready.is_empty() {
            return Poll::Ready(None);
        }
        let size = bucket(ready.len());
        pad_events(&mut ready, size);
        Poll::Ready(Some(ready.into()))
    }
}

/// One frame a tick, whatever is ready.
struct Paced {
    inner: Box<dyn AnswerStream>,
    ready: Vec<u8>,
    ended: bool,
    frame: usize,
    ticks: Interval,
}

impl Paced {
    fn new(wires: &Wires, inner: Box<dyn AnswerStream>) -> Self {
        let tick = Duration::from_millis(u64::from(wires.paced_ms.max(1)));
        let mut ticks = interval_at(Instant::now() + tick, tick);
        // late is late: frames that follow each other without a pause would show that the machine was busy
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let frame = usize::try_from(wires.paced_bytes).unwrap_or(usize::MAX);
        Self { inner, ready: Vec::new(), ended: false, frame, ticks }
    }
}

impl AnswerStream for Paced {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        while !self.ended {
            match self.inner.poll_next(context) {
                Poll::Ready(Some(events)) => self.ready.extend_from_slice(&events),
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => break,
            }
        }
        if self.ended && self.ready.is_empty() {
            return Poll::Ready(None);
        }
        match self.ticks.poll_tick(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(_) => Poll::Ready(Some(frame(&mut self.ready, self.frame).into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::poll_fn;
    use std::pin::Pin;

    use tokio::time::Sleep;

    use super::*;

    /// Pieces one by one, each after a wait in milliseconds.
    struct Slow(VecDeque<(u64, &'static str)>, Option<Pin<Box<Sleep>>>);

    impl AnswerStream for Slow {
        fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
            let Some((wait, piece)) = self.0.front().copied() else { return Poll::Ready(None) };
            let sleep = self.1.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(wait))));
            std::task::ready!(std::future::Future::poll(sleep.as_mut(), context));
            self.1 = None;
            self.0.pop_front();
            Poll::Ready(Some(Bytes::from_static(piece.as_bytes())))
        }
    }

    const TICK_MS: u32 = 20;

    /// Sizes of the frames, the shortest time from one to the next, and the events in them.
    async fn observed(shape: Shape, pieces: &[(u64, &'static str)]) -> (Vec<usize>, Duration, String) {
        let wires = Wires { shape, paced_bytes: 512, paced_ms: TICK_MS, ..Wires::default() };
        let stream = Box::new(Slow(pieces.iter().copied().collect(), None));
        let AnswerBody::Stream(mut stream) = shaped(&wires, true, Answer::events(stream)).body else {
            panic!("a stream")
        };
        let (mut sizes, mut text, mut shortest) = (Vec::new(), String::new(), Duration::MAX);
        let mut last = Instant::now();
        while let Some(frame) = poll_fn(|context| stream.poll_next(context)).await {
            shortest = shortest.min(last.elapsed());
            last = Instant::now();
            sizes.push(frame.len());
            text.push_str(std::str::from_utf8(&frame).expect("UTF-8"));
        }
        (sizes, shortest, text.lines().filter_map(|line| line.strip_prefix("data: ")).collect())
    }

    const SHORT: [(u64, &str); 3] = [(3, "data: a\n\n"), (30, "data: b\n\n"), (30, "data: [DONE]\n\n")];
    const OTHER: [(u64, &str); 3] =
        [(3, "data: something longer\n\n"), (30, "data: and more of it\n\n"), (30, "data: [DONE]\n\n")];
    const AT_ONCE: [(u64, &str); 3] = [(0, "data: a\n\n"), (0, "data: b\n\n"), (0, "data: [DONE]\n\n")];

    #[tokio::test]
    async fn without_a_shape_sizes_are_those_of_the_tokens() {
        let (sizes, _, text) = observed(Shape::Off, &SHORT).await;
        assert_eq!((sizes, text.as_str()), (vec![9, 9, 14], "ab[DONE]"));
        assert_eq!(observed(Shape::Off, &OTHER).await.0, [24, 22, 14], "another answer shows");
    }

    #[tokio::test]
    async fn padded_answers_have_one_size_whatever_they_say() {
        for pieces in [SHORT, OTHER, AT_ONCE] {
            let (sizes, _, text) = observed(Shape::Padded, &pieces).await;
            assert!(sizes.iter().all(|size| *size == 512) && sizes.len() <= 3, "{sizes:?}");
            assert_eq!(text, pieces.map(|(_, piece)| &piece[6..piece.len() - 2]).concat());
        }
    }

    #[tokio::test]
    async fn paced_frames_have_one_size_and_never_come_faster_than_the_tick() {
        for pieces in [SHORT, OTHER, AT_ONCE] {
            let (sizes, shortest, text) = observed(Shape::Paced, &pieces).await;
            assert!(sizes.iter().all(|size| *size == 512), "{sizes:?}");
            // half a tick, for a machine that has other things to do between the tick and the look at the clock
            assert!(shortest >= Duration::from_millis(u64::from(TICK_MS / 2)), "{shortest:?}");
            assert_eq!(text, pieces.map(|(_, piece)| &piece[6..piece.len() - 2]).concat());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_paced_frame_leaves_at_every_tick_whether_something_is_ready_or_not() {
        // something for the first tick, nothing for ten, and the rest for the one after them
        let silence = u64::from(TICK_MS) * 11 + u64::from(TICK_MS / 2);
        let pieces = [(1, "data: a\n\n"), (silence, "data: b\n\n"), (0, "data: [DONE]\n\n")];
        let (sizes, shortest, text) = observed(Shape::Paced, &pieces).await;
        assert_eq!((sizes, text.as_str()), (vec![512; 12], "ab[DONE]"));
        assert_eq!(shortest, Duration::from_millis(u64::from(TICK_MS)));
        let (sizes, _, text) = observed(Shape::Padded, &pieces).await;
        assert!(sizes.len() <= 3 && text == "ab[DONE]", "without a pace silence is silence: {sizes:?}");
    }

    #[test]
    fn a_whole_answer_is_padded_where_its_frame_is_not() {
        let wires = Wires::default();
        let size = |pad_whole| match shaped(&wires, pad_whole, Answer::json(::http::StatusCode::OK, &[1])).body {
            AnswerBody::Whole(body) => body.len(),
            AnswerBody::Stream(_) => 0,
        };
        assert_eq!((size(true), size(false)), (512, 3));
    }
}
