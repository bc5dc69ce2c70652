//! The listener: local requests in, the appliance's answers out.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
};

use super::{
    answer::{self, LocalBody},
    ending,
    guard::Guard,
    headers,
    intake::{Intake, MAX_BODY_BYTES},
    nodes::Nodes,
    relay::Failure,
    translating::{self, Api},
};
use crate::{call::Call, error::UsageError};

/// Connections at a time; one more waits.
const MAX_CONNECTIONS: usize = 256;
/// Connections that the kernel keeps until they are taken.
const BACKLOG: u32 = 1024;
/// Time for the headers of a local request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// What the proxy is told beside its nodes.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Who may ask.
    pub guard: Guard,
}

/// A proxy with verified appliances.
pub struct Proxy {
    nodes: Nodes,
    settings: Settings,
    intake: Intake,
}

/// An address that is taken but not yet open: whoever comes before the appliance is verified is turned away by the kernel.
pub struct Door {
    socket: TcpSocket,
    address: SocketAddr,
}

impl Door {
    /// Takes an address.
    ///
    /// # Errors
    /// [`UsageError::RemoteListener`] for an address that other machines can reach, unless `allow_remote`;
    /// [`UsageError::Listen`] if the operating system does not give it.
    pub fn bind(address: SocketAddr, allow_remote: bool) -> Result<Self, UsageError> {
        if !address.ip().is_loopback() && !allow_remote {
            return Err(UsageError::RemoteListener { address: address.to_string() });
        }
        let bind = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            Ok(socket)
        };
        let socket = bind().map_err(|source| UsageError::Listen { address: address.to_string(), source })?;
        Ok(Self { socket, address })
    }

    /// The address, with the port that the operating system chose for port 0.
    ///
    /// # Errors
    /// The operating system's.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// [`UsageError::Listen`] if somebody else listens there.
    pub fn open(self) -> Result<TcpListener, UsageError> {
        let address = self.address;
        self.socket.listen(BACKLOG).map_err(|source| UsageError::Listen { address: address.to_string(), source })
    }
}

impl Proxy {
    /// A proxy in front of nodes.
    #[must_use]
    pub fn new(nodes: Nodes, settings: Settings) -> Self {
        Self { nodes, settings, intake: Intake::default() }
    }

    /// Serves until the future is dropped.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) -> Infallible {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let slot = slots.clone().acquire_owned().await;
            match listener.accept().await {
                Ok((stream, _)) => {
                    let proxy = self.clone();
                    tokio::spawn(async move {
                        proxy.serve_connection(stream).await;
                        drop(slot);
                    });
                }
                // No file descriptors left, or a connection that ended before it began: both pass.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn serve_connection(self: Arc<Self>, stream: TcpStream) {
        // Small writes (a token of an answer) must not wait for an acknowledgement; failing to say so costs time only.
        let _ = stream.set_nodelay(true);
        let service = service_fn(|request| {
            let proxy = self.clone();
            async move { Ok::<_, Infallible>(proxy.answer(request).await) }
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
        // A local program that breaks its connection is no event; nobody else could be told.
        let _ = server.serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<LocalBody> {
        if let Err(stranger) = self.settings.guard.admit(request.uri(), request.headers()) {
            return answer::stranger(stranger);
        }
        let origin = self.settings.guard.allowed_origin(request.headers()).cloned();
        let mut answer = self.route(request, origin.is_some()).await;
        if let Some(origin) = origin {
            answer::allow_origin(answer.headers_mut(), &origin);
        }
        answer
    }

    async fn route(&self, request: Request<Incoming>, from_page: bool) -> Response<LocalBody> {
        let path = request.uri().path();
        if let Some(api) = Api::of(request.method(), path) {
            return translating::answer(&self.nodes, &self.intake, api, request).await;
        }
        match (request.method(), path) {
            (&Method::OPTIONS, _) if from_page => preflight(),
            (&Method::GET, "/lethe/status") => answer::json_answer(StatusCode::OK, &self.nodes.status()),
            (&Method::GET | &Method::POST, _) if path.starts_with("/v1/") || path == "/health" => {
                self.forward(request).await.unwrap_or_else(|failure| answer::failure(&failure))
            }
            _ => answer::error_answer(
                StatusCode::NOT_FOUND,
                "invalid_request_error",
                "no_such_route",
                "lethe proxy: it serves /v1/…, /health and /lethe/status",
            ),
        }
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<Response<LocalBody>, Failure> {
        let (head, body) = request.into_parts();
        let passed = headers::of_request(&head.headers, self.nodes.token())?;
        let path = head.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        let call = Call { method: head.method, path, headers: passed };
        let body = match self.intake.take(body, MAX_BODY_BYTES).await {
            Ok(body) => body,
            Err(reason) => return Ok(answer::problem(&reason.into(), "invalid_request_error")),
        };
        let (head, body) = self.nodes.relay(&call, &body).await?.into_parts();
        let mut local = Response::new(ending::told(body, &head.headers));
        *local.status_mut() = head.status;
        *local.headers_mut() = headers::of_answer(&head.headers);
        Ok(local)
    }
}

fn preflight() -> Response<LocalBody> {
    let mut answer = answer::json_answer(StatusCode::OK, &serde_json::json!({}));
    let headers = answer.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("authorization, content-type, accept, x-api-key, anthropic-version"),
    );
    answer
}
