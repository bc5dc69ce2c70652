//! One connection: HTTP/1.1 or HTTP/2 over any stream, its watchdog, and its end.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::watch;

use super::activity::{Activity, Overdue, TimeLimits};
use super::http::handle;
use super::state::State;

/// Largest header block, in bytes. Tokens and OpenAI's clients need about one kilobyte.
const HEADER_BYTES: u32 = 32 * 1024;

/// Most header lines.
const HEADERS: usize = 64;

/// Streams of one HTTP/2 connection at the same time.
const STREAMS: u32 = 32;

/// Streams that a client may open and reset before they are looked at, and ones it may make us reset (CVE-2023-44487
/// and its relatives): more ends the connection.
const RESETS: usize = 32;

/// Unread bytes that a client may send on one HTTP/2 stream, and on all of a connection: what a connection can make
/// the server hold before anybody looks at it.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// Time for a client to take in that its connection ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a connection gets from the server.
#[derive(Clone)]
pub(super) struct Shared {
    pub state: Arc<State>,
    /// Turns true when the server stops.
    pub stop: watch::Receiver<bool>,
}

impl Shared {
    fn activity(&self, bytes_begin_requests: bool) -> Activity {
        let limits = self.state.limits();
        let limits = TimeLimits {
            headers: Duration::from_millis(limits.header_timeout_ms),
            idle: Duration::from_millis(limits.idle_timeout_ms),
        };
        Activity::new(limits, bytes_begin_requests)
    }
}

/// Serves HTTP/1.1 on `io` until either side ends it.
pub(super) async fn serve_http1(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, shared: Shared) {
    let activity = shared.activity(true);
    let io = TokioIo::new(Watched { io, activity: activity.clone() });
    let (state, requests) = (Arc::clone(&shared.state), activity.clone());
    let service =
        service_fn(move |request| Box::pin(handle(Arc::clone(&state), requests.clone(), request)) as Pin<Box<_>>);
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // the watchdog has a limit of its own for headers; hyper's would also end idle connections
        .header_read_timeout(None)
        .max_headers(HEADERS)
        .max_buf_size(usize::try_from(HEADER_BYTES).unwrap_or(usize::MAX))
        .serve_connection(io, service);
    let ended = drive(
        &mut connection,
        |connection, context| connection.poll_without_shutdown(context),
        |connection| Pin::new(connection).graceful_shutdown(),
        &activity,
        shared.stop,
    );
    if ended.await.is_ok() {
        linger(connection.into_parts().io.into_inner()).await;
    }
}

/// Serves HTTP/2 on `io` until either side ends it.
pub(super) async fn serve_http2(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, shared: Shared) {
    let activity = shared.activity(false);
    let io = TokioIo::new(Watched { io, activity: activity.clone() });
    let (state, requests) = (Arc::clone(&shared.state), activity.clone());
    let idle = Duration::from_millis(shared.state.limits().idle_timeout_ms);
    let service =
        service_fn(move |request: hyper::Request<Incoming>| handle(Arc::clone(&state), requests.clone(), request));
    let mut connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(RESETS)
        .max_header_list_size(HEADER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(64 * 1024)
        // finds clients that vanished while an answer is made; the watchdog ends those that only keep the line open
        .keep_alive_interval(idle)
        .keep_alive_timeout(idle)
        .serve_connection(io, service);
    let _ = drive(
        &mut connection,
        |connection, context| Pin::new(connection).poll(context),
        |connection| Pin::new(connection).graceful_shutdown(),
        &activity,
        shared.stop,
    )
    .await;
}

/// Ended by a limit, or broken.
struct Broken;

/// Drives a connection to its end, which is its own, the watchdog's or the server's.
async fn drive<C>(
    connection: &mut C,
    poll: impl Fn(&mut C, &mut Context<'_>) -> Poll<hyper::Result<()>>,
    end: impl Fn(&mut C),
    activity: &Activity,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Broken> {
    let stopped = tokio::select! {
        result = poll_fn(|context| poll(connection, context)) => return result.map_err(|_| Broken),
        overdue = activity.overdue() => match overdue {
            Overdue::Request => return Err(Broken),
            Overdue::Idle => false,
        },
        // an error means that the server is gone, which is an end as well
        _ = stop.wait_for(|stop| *stop) => true,
    };
    end(connection);
    let rest = poll_fn(|context| poll(connection, context));
    let limit = async {
        if stopped {
            activity.overdue().await;
        }
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        result = rest => result.map_err(|_| Broken),
        () = limit => Err(Broken),
    }
}

/// Ends a connection so that a client still sending a body reads the answer to it: a socket that is closed with unread
/// bytes in it is reset, and a reset destroys what the client has not read yet.
async fn linger(mut io: impl AsyncRead + AsyncWrite + Unpin) {
    const MOST: usize = 8 * 1024 * 1024;
    let farewell = async {
        io.shutdown().await?;
        let mut left = MOST;
        let mut sink = vec![0; 16 * 1024];
        while left > 0 {
            match io.read(&mut sink).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}

/// A stream that tells the watchdog when bytes come in.
struct Watched<I> {
    io: I,
    activity: Activity,
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.io).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.bytes();
        }
        result
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
