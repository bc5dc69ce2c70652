//! Clients of the server: HTTP/1.1 and HTTP/2 over TLS and over the UNIX socket, and bare streams.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::server::{MODEL, Server};

/// An answer that has been read to its end.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.body))
    }

    /// Status and code of an error object.
    pub fn error(&self) -> (u16, String) {
        let json = self.json();
        (self.status.as_u16(), json["error"]["code"].as_str().expect("a code").to_owned())
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// The data of the server-sent events.
    pub fn events(&self) -> Vec<String> {
        let text = std::str::from_utf8(&self.body).expect("UTF-8");
        assert!(text.ends_with("\n\n"), "{text}");
        text.trim_end().split("\n\n").map(|event| event.strip_prefix("data: ").expect("data").to_owned()).collect()
    }
}

/// The smallest chat request, with the members of `extra`.
pub fn chat(extra: &Value) -> String {
    let mut body = json!({"model": MODEL, "messages": [{"role": "user", "content": "hi"}]});
    merge(&mut body, extra);
    body.to_string()
}

/// The smallest completion request, with the members of `extra`.
pub fn completion(extra: &Value) -> String {
    let mut body = json!({"model": MODEL, "prompt": "hi"});
    merge(&mut body, extra);
    body.to_string()
}

fn merge(body: &mut Value, extra: &Value) {
    for (name, value) in extra.as_object().expect("an object") {
        body[name] = value.clone();
    }
}

pub fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .expect("request")
}

pub fn get(path: &str) -> Request<Full<Bytes>> {
    Request::builder().uri(path).header("host", "localhost").body(Full::default()).expect("request")
}

async fn read(response: Response<Incoming>) -> Reply {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("the whole body").to_bytes();
    Reply { status: parts.status, headers: parts.headers, body }
}

/// A TLS connection that trusts exactly the server's certificate, for the name `localhost`.
pub async fn tls(server: &Server, alpn: &[u8]) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(server.identity.tls().certificate_der().to_vec())).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(server.address).await.expect("connected");
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("handshake")
}

/// Sends over HTTP/1.1 and gives the response as soon as its headers are there.
pub async fn begin<I>(io: I, request: Request<Full<Bytes>>) -> Response<Incoming>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    sender.send_request(request).await.expect("a response")
}

impl Server {
    /// Sends over HTTP/1.1 with TLS.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        read(begin(tls(self, b"http/1.1").await, request).await).await
    }

    /// Sends over HTTP/2 with TLS.
    pub async fn send_http2(&self, request: Request<Full<Bytes>>) -> Reply {
        read(self.begin_http2(request).await.0).await
    }

    /// Sends over HTTP/2 and gives the response as soon as its headers are there, and the connection's sender.
    pub async fn begin_http2(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> (Response<Incoming>, hyper::client::conn::http2::SendRequest<Full<Bytes>>) {
        let io = TokioIo::new(tls(self, b"h2").await);
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
        tokio::spawn(connection);
        request.headers_mut().remove("host");
        *request.uri_mut() = format!("https://localhost{}", request.uri()).parse().expect("a URI");
        (sender.send_request(request).await.expect("a response"), sender)
    }

    /// Sends over HTTP/1.1 on the UNIX socket.
    pub async fn send_unix(&self, request: Request<Full<Bytes>>) -> Reply {
        let stream = UnixStream::connect(&self.unix).await.expect("connected");
        read(begin(stream, request).await).await
    }

    pub async fn chat(&self, extra: Value) -> Reply {
        self.send(post("/v1/chat/completions", chat(&extra))).await
    }

    pub async fn completion(&self, extra: Value) -> Reply {
        self.send(post("/v1/completions", completion(&extra))).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(get(path)).await
    }

    /// Asserts that the server still answers.
    pub async fn still_serves(&self) {
        assert_eq!(self.get("/health").await.status, StatusCode::OK);
    }
}

/// Waits for the server to close `io` and gives what it sent before; `None` if it does not within `limit`.
pub async fn closed(io: &mut (impl AsyncRead + Unpin), limit: Duration) -> Option<Vec<u8>> {
    let mut sent = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        loop {
            match io.read(&mut buffer).await {
                Ok(0) | Err(_) => return Ok::<(), Infallible>(()),
                Ok(count) => sent.extend_from_slice(&buffer[..count]),
            }
        }
    };
    tokio::time::timeout(limit, read).await.ok().map(|_| sent)
}
