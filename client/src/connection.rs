//! One HTTP/1.1 connection to an appliance, and the answers that come over it.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use tokio::{
    net::{TcpStream, UnixStream},
    task::AbortHandle,
    time::{Instant, Sleep},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub use crate::answer::AnswerBody;
use crate::{
    address::{Address, Endpoint},
    error::{Error, NetworkError, Refusal, ServerError},
    pin::SpkiPin,
    tls::{self, PinMismatch},
    tunnel::{self, Tunnel},
};

/// Any error of a body, as hyper wants it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// Body of a request. It is at hand: what is sealed is sealed whole, and can be sealed again.
pub type RequestBody = Full<Bytes>;

/// Most header lines of an answer, and most bytes of all of them.
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// Idle connections kept for the next request.
const MAX_IDLE: usize = 16;

/// How long to wait for the network.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a TCP connection and, again, for the TLS handshake.
    pub connect: Duration,
    /// For the next byte of an answer, the first one included.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), silence: Duration::from_secs(600) }
    }
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub enum Peer {
    /// A TLS server that proved to hold the key of this certificate.
    Tls {
        /// The certificate it showed.
        certificate: CertificateDer<'static>,
        /// The pin of its key.
        pin: SpkiPin,
    },
    /// Somebody who proved no key: a program of this machine behind a UNIX socket, or a relay that is spoken to without TLS.
    Local,
}

/// Makes connections to one address, all held to the same key.
#[derive(Debug, Clone)]
pub struct Dialer {
    address: Address,
    /// `None`: without TLS.
    config: Option<Arc<ClientConfig>>,
    tunnel: Option<Tunnel>,
    patience: Patience,
}

impl Dialer {
    /// A dialer that accepts the server with the expected key, or, with `None`, any server that proves a key.
    ///
    /// # Errors
    /// [`NetworkError::Tls`] if TLS cannot be set up.
    pub fn new(address: Address, expected: Option<SpkiPin>, patience: Patience) -> Result<Self, NetworkError> {
        let config = tls::client_config(expected).map_err(NetworkError::Tls)?;
        Ok(Self { address, config: Some(config), tunnel: None, patience })
    }

    /// The same dialer, with connections through a proxy. UNIX sockets are reached without.
    #[must_use]
    pub fn through(self, tunnel: Option<Tunnel>) -> Self {
        Self { tunnel, ..self }
    }

    /// A dialer to a web server, whose certificate is of its name and leads to one of these roots.
    ///
    /// # Errors
    /// [`NetworkError::Tls`] if TLS cannot be set up.
    pub fn to_the_web(address: Address, roots: Arc<RootCertStore>, patience: Patience) -> Result<Self, NetworkError> {
        let config = tls::web_config(roots).map_err(NetworkError::Tls)?;
        Ok(Self { address, config: Some(config), tunnel: None, patience })
    }

    /// A dialer without TLS, for what is sealed anyway.
    #[must_use]
    pub(crate) fn in_the_clear(endpoint: Endpoint, patience: Patience) -> Self {
        Self { address: Address::Https(endpoint), config: None, tunnel: None, patience }
    }

    /// The address it connects to.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// How long it waits.
    #[must_use]
    pub fn patience(&self) -> Patience {
        self.patience
    }

    /// Connects.
    ///
    /// # Errors
    /// [`NetworkError`] if there is no server, [`Refusal::Pin`] if it holds another key.
    pub async fn dial(&self) -> Result<Connection, Error> {
        match &self.address {
            Address::Unix(path) => {
                let stream = within("connect", self.patience.connect, UnixStream::connect(path))
                    .await?
                    .map_err(|source| NetworkError::Connect { address: self.address.to_string(), source })?;
                Connection::start(stream, Peer::Local).await
            }
            Address::Https(endpoint) => {
                let stream = match &self.tunnel {
                    Some(tunnel) => self.tunnelled(tunnel, endpoint).await?,
                    None => self.reach(endpoint).await?,
                };
                let Some(config) = &self.config else { return Connection::start(stream, Peer::Local).await };
                let stream = self.handshake(config, endpoint, stream).await?;
                let peer = peer_of(&stream)?;
                Connection::start(stream, peer).await
            }
        }
    }

    async fn tunnelled(&self, tunnel: &Tunnel, endpoint: &Endpoint) -> Result<TcpStream, NetworkError> {
        let mut stream = self.reach(tunnel.endpoint()).await?;
        within("connect through the proxy", self.patience.connect, tunnel::open(&mut stream, endpoint))
            .await?
            .map_err(|source| NetworkError::Tunnel { proxy: tunnel.to_string(), source })?;
        Ok(stream)
    }

    async fn reach(&self, endpoint: &Endpoint) -> Result<TcpStream, NetworkError> {
        let failed = |source| NetworkError::Connect { address: endpoint.authority(), source };
        let candidates =
            within("look up the host", self.patience.connect, endpoint.resolve()).await?.map_err(failed)?;
        let mut last = failed(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
        for candidate in candidates {
            match within("connect", self.patience.connect, TcpStream::connect(candidate)).await {
                Ok(Ok(stream)) => {
                    // Small writes (a request, a token) must not wait for an acknowledgement; failing to say so costs time only.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(source)) => last = failed(source),
                Err(timeout) => last = timeout,
            }
        }
        Err(last)
    }

    async fn handshake(
        &self,
        config: &Arc<ClientConfig>,
        endpoint: &Endpoint,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Error> {
        let connecting = TlsConnector::from(config.clone()).connect(endpoint.server_name(), stream);
        match within("finish the TLS handshake", self.patience.connect, connecting).await? {
            Ok(stream) => Ok(stream),
            Err(error) => Err(match PinMismatch::in_handshake_error(&error) {
                Some(mismatch) => Refusal::Pin(mismatch).into(),
                None => NetworkError::Handshake { address: endpoint.authority(), source: error }.into(),
            }),
        }
    }
}

pub(crate) async fn within<T>(
    what: &'static str,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T, NetworkError> {
    tokio::time::timeout(limit, work).await.map_err(|_| NetworkError::TimedOut { what, limit })
}

fn peer_of(stream: &TlsStream<TcpStream>) -> Result<Peer, ServerError> {
    let (_, session) = stream.get_ref();
    let certificate =
        session.peer_certificates().and_then(<[_]>::first).ok_or(ServerError::Malformed("it shows no certificate"))?;
    let pin =
        SpkiPin::of_certificate(certificate).map_err(|_| ServerError::Malformed("its certificate is not readable"))?;
    Ok(Peer::Tls { certificate: certificate.clone().into_owned(), pin })
}

/// The task that moves the bytes of a connection; the socket closes with it.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An open connection on which no request is under way. Dropping it closes the socket.
pub struct Connection {
    sender: http1::SendRequest<RequestBody>,
    peer: Peer,
    _driver: Driver,
}

impl Connection {
    async fn start<S>(stream: S, peer: Peer) -> Result<Self, Error>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEADER_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(NetworkError::NoAnswer)?;
        // What goes wrong in the task is told to whoever waits for the answer.
        let driver = Driver(tokio::spawn(async { drop(connection.await) }).abort_handle());
        Ok(Self { sender, peer, _driver: driver })
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Sends one request and waits for the head of its answer.
    ///
    /// # Errors
    /// [`NetworkError`] if the connection breaks before, or nothing comes for the time of `silence`.
    pub async fn exchange(
        mut self,
        request: Request<RequestBody>,
        silence: Duration,
    ) -> Result<Response<Arriving>, NetworkError> {
        let answer = within("get an answer", silence, self.sender.send_request(request))
            .await?
            .map_err(NetworkError::NoAnswer)?;
        Ok(answer.map(|incoming| Arriving {
            incoming,
            connection: Some(self),
            home: Weak::new(),
            silence,
            alarm: Box::pin(tokio::time::sleep(silence)),
        }))
    }
}

/// Connections that wait for their next request.
#[derive(Default)]
pub struct IdlePool(Mutex<Vec<Connection>>);

impl IdlePool {
    /// Takes a connection that is still open.
    pub fn take(&self) -> Option<Connection> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if !connection.sender.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for later.
    pub fn put(&self, connection: Connection) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !connection.sender.is_closed() && idle.len() < MAX_IDLE {
            idle.push(connection);
        }
    }

    /// Closes all of them.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The body of an answer as it comes from the network. Dropped before its end it closes the connection, which tells the appliance
/// to stop; read to the end it gives the connection back.
pub struct Arriving {
    incoming: Incoming,
    connection: Option<Connection>,
    home: Weak<IdlePool>,
    silence: Duration,
    alarm: Pin<Box<Sleep>>,
}

impl Arriving {
    /// Says where the connection goes after the last byte.
    #[must_use]
    pub fn returning_to(mut self, pool: &Arc<IdlePool>) -> Self {
        self.home = Arc::downgrade(pool);
        self
    }

    /// For how long the answer may be silent.
    pub(crate) fn silence(&self) -> Duration {
        self.silence
    }

    fn release(&mut self) {
        if let (Some(connection), Some(home)) = (self.connection.take(), self.home.upgrade()) {
            home.put(connection);
        }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        // An answer without a body is at its end before anybody reads it.
        if self.incoming.is_end_stream() {
            self.release();
        }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = NetworkError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NetworkError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(context) else {
            ready!(this.alarm.as_mut().poll(context));
            this.connection = None;
            let limit = this.silence;
            return Poll::Ready(Some(Err(NetworkError::TimedOut { what: "get more of the answer", limit })));
        };
        this.alarm.as_mut().reset(Instant::now() + this.silence);
        match frame {
            Some(Ok(frame)) => {
                // A reader that sees the end here does not come back for it.
                if this.incoming.is_end_stream() {
                    this.release();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(source)) => {
                this.connection = None;
                Poll::Ready(Some(Err(NetworkError::Broken(source))))
            }
            None => {
                this.release();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// Waits until a connection taken from a pool can carry a request.
///
/// # Errors
/// [`NetworkError::NoAnswer`] if it closed meanwhile.
pub async fn ready_again(connection: &mut Connection) -> Result<(), NetworkError> {
    poll_fn(|context| connection.sender.poll_ready(context)).await.map_err(NetworkError::NoAnswer)
}
