//! The last step, shared with host mode: from keys, engine and bound sockets to a server.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, listen, setsockopt, socket, sockopt,
};
use tokio::runtime::{Builder, Runtime};

use super::Refused;
use super::document::Bound;
use super::loading::Loaded;
use crate::api::{self, Listener, Parts, State};
use crate::identity::{Identity, IdentityError};
use crate::inference::Scheduler;
use crate::lockdown::Confined;

/// Threads that read requests and write answers. The engine has its own; a token a connection needs little here.
const WORKERS: usize = 2;
/// Connections the kernel keeps while the server is busy accepting others.
const BACKLOG: i32 = 1024;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServingError {
    /// The address is not this machine's, is in use, or may not be used.
    #[error("cannot bind {address}")]
    Bind {
        /// Address or path.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A bound socket did not become a listening one.
    #[error("cannot listen")]
    Listen(#[source] io::Error),
    /// The certificate and key are not usable.
    #[error("cannot set up TLS")]
    Tls(#[source] IdentityError),
    /// Threads did not start.
    #[error("cannot start the server's threads")]
    Threads(#[source] io::Error),
}

impl From<ServingError> for Refused {
    fn from(error: ServingError) -> Self {
        let code = match &error {
            ServingError::Bind { .. } | ServingError::Listen(_) => "listen",
            ServingError::Tls(_) => "tls",
            ServingError::Threads(_) => "server-threads",
        };
        Self::new(code, &error)
    }
}

/// A socket with its address, that does not answer yet. Sockets are made before the lockdown, which then forbids
/// making any; they listen only with its proof.
pub enum BoundSocket {
    /// For TLS.
    Tcp(OwnedFd),
    /// For the local socket of host mode.
    Unix(OwnedFd),
}

/// Binds the TLS port.
///
/// # Errors
/// [`ServingError::Bind`]
pub fn bind_tcp(address: SocketAddr) -> Result<BoundSocket, ServingError> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let bound = || -> nix::Result<OwnedFd> {
        let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        // A restart need not wait for the old connections' last packets.
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
        bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
        Ok(socket)
    };
    bound()
        .map(BoundSocket::Tcp)
        .map_err(|errno| ServingError::Bind { address: address.to_string(), source: errno.into() })
}

/// Binds a UNIX socket; the caller sees to its mode and owner.
///
/// # Errors
/// [`ServingError::Bind`]
pub fn bind_unix(path: &Path) -> Result<BoundSocket, ServingError> {
    let bound = || -> nix::Result<OwnedFd> {
        let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
        Ok(socket)
    };
    bound()
        .map(BoundSocket::Unix)
        .map_err(|errno| ServingError::Bind { address: path.display().to_string(), source: errno.into() })
}

/// Everything but the open port.
pub struct Server {
    runtime: Runtime,
    state: Arc<State>,
    scheduler: Scheduler,
}

impl Server {
    /// Brings the parts together and starts the server's threads.
    ///
    /// # Errors
    /// [`ServingError::Threads`]
    pub fn assemble(bound: Bound, identity: Identity, loaded: Loaded) -> Result<Self, ServingError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(1)
            .thread_name("lethe-server")
            .enable_io()
            .enable_time()
            .build()
            .map_err(ServingError::Threads)?;
        let events = api::Console::start(io::stderr()).map_err(ServingError::Threads)?;
        let scheduler = loaded.scheduler.clone();
        let state = State::new(Parts {
            document: Arc::new(bound.document),
            identity: Arc::new(identity),
            submit: Arc::new(loaded.scheduler),
            template: loaded.template,
            events: Arc::new(events),
            sealed: bound.sealed,
        });
        Ok(Self { runtime, state, scheduler })
    }

    /// Opens the ports and answers until `stop` is ready, then stops the engine. `opened` is called when they are open, with the port of the
    /// first TCP socket, if there is one.
    ///
    /// # Errors
    /// [`ServingError`] where a socket cannot be used.
    pub fn serve(
        self,
        sockets: Vec<BoundSocket>,
        _: &Confined,
        opened: impl FnOnce(Option<u16>),
        stop: impl Future<Output = ()>,
    ) -> Result<(), ServingError> {
        let mut listeners = Vec::new();
        let mut port = None;
        for socket in sockets {
            listeners.push(match socket {
                BoundSocket::Tcp(socket) => {
                    let listener = TcpListener::from(start_listening(socket)?);
                    port = port.or(listener.local_addr().ok().map(|address| address.port()));
                    Listener::Tls(listener, self.state.identity().tls().server_config().map_err(ServingError::Tls)?)
                }
                BoundSocket::Unix(socket) => Listener::Unix(UnixListener::from(start_listening(socket)?)),
            });
        }
        opened(port);
        let served = self.runtime.block_on(api::serve(listeners, self.state, stop)).map_err(ServingError::Listen);
        self.scheduler.stop();
        served
    }
}

/// Also for sockets that listen already (socket activation): the backlog is set again and nothing else changes.
fn start_listening(socket: OwnedFd) -> Result<OwnedFd, ServingError> {
    let failed = |errno: nix::errno::Errno| ServingError::Listen(errno.into());
    listen(&socket, Backlog::new(BACKLOG).map_err(failed)?).map_err(failed)?;
    Ok(socket)
}
