//! Sockets: accepting, the TLS handshake, the cap on connections, and the end of it all.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::connection::{Shared, serve_http1, serve_http2};
use super::epochs;
use super::event::Event;
use super::state::State;

/// Time that open connections get to finish their answers when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Where requests come from. The caller has opened, bound and, for a UNIX socket, protected it.
pub enum Listener {
    /// TLS over TCP, with what [`TlsIdentity::server_config`](crate::identity::TlsIdentity::server_config) gives.
    Tls(std::net::TcpListener, Arc<rustls::ServerConfig>),
    /// HTTP/1.1 over a UNIX socket, without TLS.
    Unix(std::os::unix::net::UnixListener),
}

enum Socket {
    Tls(TcpListener, TlsAcceptor),
    Unix(UnixListener),
}

enum Accepted {
    Tls(TcpStream, TlsAcceptor),
    Unix(UnixStream),
}

impl Socket {
    fn new(listener: Listener) -> io::Result<Self> {
        match listener {
            Listener::Tls(listener, config) => {
                listener.set_nonblocking(true)?;
                Ok(Self::Tls(TcpListener::from_std(listener)?, TlsAcceptor::from(config)))
            }
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Ok(Self::Unix(UnixListener::from_std(listener)?))
            }
        }
    }

    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tls(listener, acceptor) => {
                let (stream, _) = listener.accept().await?;
                // A token is a small packet: without this each waits for the client's acknowledgement of the last. It
                // fails for a client that is gone already, which is not this socket's failure.
                let _ = stream.set_nodelay(true);
                Ok(Accepted::Tls(stream, acceptor.clone()))
            }
            Self::Unix(listener) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

/// Serves requests on all `listeners` until `stop` is ready; then no new connection is accepted, running answers get
/// ten seconds, and what is left is dropped, which ends its generations.
///
/// # Errors
/// Where a listener cannot be used. Failures of single connections are events.
pub async fn serve(listeners: Vec<Listener>, state: Arc<State>, stop: impl Future<Output = ()>) -> io::Result<()> {
    let sockets = listeners.into_iter().map(Socket::new).collect::<io::Result<Vec<_>>>()?;
    let (stopping, stopped) = watch::channel(false);
    let places = Arc::new(Semaphore::new(usize::try_from(state.limits().connections).unwrap_or(usize::MAX >> 3)));
    let mut accepting = JoinSet::new();
    for socket in sockets {
        let shared = Shared { state: Arc::clone(&state), stop: stopped.clone() };
        accepting.spawn(accept_all(socket, shared, Arc::clone(&places)));
    }
    let mut background = JoinSet::new();
    background.spawn(epochs::keep(Arc::clone(&state)));
    stop.await;
    background.abort_all();
    state.events().event(Event::Stopping);
    let _ = stopping.send(true);
    let drained = async { while accepting.join_next().await.is_some() {} };
    // a JoinSet aborts what is left in it when it is dropped
    let _ = tokio::time::timeout(STOP_GRACE, drained).await;
    Ok(())
}

/// Accepts until the server stops, then waits for the connections it has accepted.
async fn accept_all(socket: Socket, shared: Shared, places: Arc<Semaphore>) {
    let mut connections = JoinSet::new();
    let mut stop = shared.stop.clone();
    let (mut full, mut failed) = (Throttle::default(), Throttle::default());
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok(accepted) => match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    connections.spawn(connection(accepted, shared.clone(), place));
                }
                Err(_) => {
                    if full.passes() {
                        shared.state.events().event(Event::ConnectionsFull);
                    }
                }
            },
            Err(error) => accept_failed(&shared.state, &error, &mut failed).await,
        }
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

/// Whether a failed accept is one connection's failure: accept(2) hands out errors of connections that were waiting.
/// Everything else is a lack of descriptors or memory, which passes.
fn of_one_connection(error: &io::Error) -> bool {
    use nix::errno::Errno;
    error.raw_os_error().map(Errno::from_raw).is_some_and(|errno| {
        matches!(
            errno,
            Errno::ECONNABORTED
                | Errno::ENETDOWN
                | Errno::EPROTO
                | Errno::ENOPROTOOPT
                | Errno::EHOSTDOWN
                | Errno::ENONET
                | Errno::EHOSTUNREACH
                | Errno::EOPNOTSUPP
                | Errno::ENETUNREACH
                | Errno::EPERM
        )
    })
}

async fn accept_failed(state: &State, error: &io::Error, throttle: &mut Throttle) {
    const PAUSE: Duration = Duration::from_millis(100);
    if of_one_connection(error) {
        return;
    }
    if throttle.passes() {
        state.events().event(Event::AcceptFailed { errno: error.raw_os_error().unwrap_or(0) });
    }
    tokio::time::sleep(PAUSE).await;
}

async fn connection(accepted: Accepted, shared: Shared, _place: OwnedSemaphorePermit) {
    match accepted {
        Accepted::Unix(stream) => serve_http1(stream, shared).await,
        Accepted::Tls(stream, acceptor) => {
            let limit = Duration::from_millis(shared.state.limits().header_timeout_ms);
            let mut stop = shared.stop.clone();
            let handshake = tokio::select! {
                handshake = tokio::time::timeout(limit, acceptor.accept(stream)) => handshake,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let Ok(Ok(stream)) = handshake else { return };
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                serve_http2(stream, shared).await;
            } else {
                serve_http1(stream, shared).await;
            }
        }
    }
}

/// Lets one event through a second.
#[derive(Default)]
struct Throttle(Option<Instant>);

impl Throttle {
    fn passes(&mut self) -> bool {
        const APART: Duration = Duration::from_secs(1);
        let now = Instant::now();
        let passes = self.0.is_none_or(|last| now.duration_since(last) >= APART);
        if passes {
            self.0 = Some(now);
        }
        passes
    }
}
