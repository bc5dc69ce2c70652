//! An HTTP proxy that opens connections for this machine (`CONNECT`, RFC 9110 section 9.3.6). TLS goes through it from end to end: it
//! sees where to, when and how much, and the server sees its address in the place of this machine's.

use std::{fmt, io, str::FromStr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::address::Endpoint;

/// Longest head of a proxy's answer, in bytes.
const MAX_HEAD_BYTES: usize = 8192;

/// Where such a proxy is. It is trusted with nothing but to keep the client's address to itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    endpoint: Endpoint,
}

/// A text that is not the URL of such a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the URL of a proxy for connections is http://HOST[:PORT], without user name and path")]
pub struct NotATunnel;

/// Why there is no connection through it.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// The connection to the proxy broke.
    #[error("the connection to the proxy broke")]
    Broken(#[source] io::Error),
    /// Its answer is none of HTTP's, or too long.
    #[error("what answers there is no HTTP proxy")]
    Malformed,
    /// It does not open the connection.
    #[error("the proxy answered {status}")]
    Refused {
        /// The HTTP status.
        status: u16,
    },
}

impl FromStr for Tunnel {
    type Err = NotATunnel;

    fn from_str(text: &str) -> Result<Self, NotATunnel> {
        let uri = text.parse::<http::Uri>().map_err(|_| NotATunnel)?;
        if uri.scheme_str() != Some("http") || uri.path() != "/" || uri.query().is_some() {
            return Err(NotATunnel);
        }
        Endpoint::of_uri(&uri, 80).map(|endpoint| Self { endpoint }).map_err(|_| NotATunnel)
    }
}

impl fmt::Display for Tunnel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}", self.endpoint.authority())
    }
}

impl Tunnel {
    /// Where it is.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

/// Asks the proxy at the other end of a stream for a connection; what is written behind that goes there. The name of the server is
/// the proxy's to look up: nobody on this side asks for it.
///
/// # Errors
/// [`TunnelError`].
pub(crate) async fn open(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), to: &Endpoint) -> Result<(), TunnelError> {
    let authority = to.authority();
    let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(TunnelError::Broken)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_HEAD_BYTES {
            return Err(TunnelError::Malformed);
        }
        // Byte by byte: what comes behind the head is the server's.
        head.push(stream.read_u8().await.map_err(TunnelError::Broken)?);
    }
    match status(&head).ok_or(TunnelError::Malformed)? {
        200..=299 => Ok(()),
        status => Err(TunnelError::Refused { status }),
    }
}

/// The status of `HTTP/1.x NNN …`.
fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.1 ").or_else(|| head.strip_prefix(b"HTTP/1.0 "))?;
    let (digits, rest) = rest.split_first_chunk::<3>()?;
    let ended = matches!(rest.first(), Some(b' ' | b'\r'));
    let digits = std::str::from_utf8(digits).ok().filter(|_| ended && digits.iter().all(u8::is_ascii_digit))?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint::of_uri(&"https://lethe.example".parse().unwrap(), 443).unwrap()
    }

    async fn opened(answer: &[u8]) -> Result<(), TunnelError> {
        let (mut here, mut there) = tokio::io::duplex(64 * 1024);
        there.write_all(answer).await.unwrap();
        if answer.is_empty() {
            drop(there);
        }
        open(&mut here, &endpoint()).await
    }

    #[test]
    fn a_proxy_has_a_url_without_a_path() {
        assert_eq!("http://proxy.example:3128".parse::<Tunnel>().unwrap().to_string(), "http://proxy.example:3128");
        assert_eq!("http://[::1]/".parse::<Tunnel>().unwrap().to_string(), "http://[::1]:80");
        for text in [
            "",
            "proxy:3128",
            "https://proxy",
            "socks5://proxy",
            "http://user@proxy",
            "http://proxy/a",
            "http://proxy/?a",
        ] {
            assert_eq!(text.parse::<Tunnel>(), Err(NotATunnel), "{text}");
        }
    }

    #[tokio::test]
    async fn what_comes_behind_the_head_is_left_to_the_server() {
        let (mut here, mut there) = tokio::io::duplex(1024);
        there.write_all(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nserver").await.unwrap();
        open(&mut here, &endpoint()).await.unwrap();
        let mut rest = [0; 6];
        here.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"server");
        let mut asked = vec![0; 256];
        let length = there.read(&mut asked).await.unwrap();
        assert_eq!(&asked[..length], b"CONNECT lethe.example:443 HTTP/1.1\r\nHost: lethe.example:443\r\n\r\n");
    }

    #[tokio::test]
    async fn every_other_answer_is_an_error() {
        for (answer, status) in
            [("HTTP/1.1 403 No\r\n\r\n", 403), ("HTTP/1.0 407\r\n\r\n", 407), ("HTTP/1.1 101 S\r\n\r\n", 101)]
        {
            assert!(
                matches!(opened(answer.as_bytes()).await, Err(TunnelError::Refused { status: seen }) if seen == status)
            );
        }
        for answer in [
            "HTTP/2 200\r\n\r\n",
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 +20 x\r\n\r\n",
            "HTTP/1.1 2000\r\n\r\n",
            "HTTP/1.1 20\r\n\r\n",
        ] {
            assert!(matches!(opened(answer.as_bytes()).await, Err(TunnelError::Malformed)), "{answer}");
        }
        assert!(matches!(opened(&[b'a'; MAX_HEAD_BYTES + 1]).await, Err(TunnelError::Malformed)));
        assert!(matches!(opened(b"").await, Err(TunnelError::Broken(_))));
    }
}
