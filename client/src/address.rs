//! Where an appliance is reached: `https://HOST[:PORT]` or `unix:PATH`.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use rustls::pki_types::ServerName;

/// The place of an appliance, as its user wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// TLS over TCP.
    Https(Endpoint),
    /// Plain HTTP over a UNIX socket of this machine (host mode).
    Unix(PathBuf),
}

/// Host and port of a TLS server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
    name: ServerName<'static>,
}

/// Why a text is not the address of an appliance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither `https://` nor `unix:`.
    #[error("an address starts with https:// or unix:")]
    Scheme,
    /// `http://`.
    #[error("plain http:// is not spoken to an appliance: what is sent would be readable on the way")]
    PlainHttp,
    /// A user name, a query, or a path other than `/` and `/v1`.
    #[error("an address is https://HOST[:PORT], without user name, path and query")]
    Excess,
    /// The host is missing or is not a host.
    #[error("the host of the address is not a name or an IP address")]
    Host,
    /// `unix:` without a path.
    #[error("a path to a socket follows unix:")]
    EmptyPath,
}

impl Endpoint {
    /// Host and port of an absolute URI; without a port in it, this one.
    ///
    /// # Errors
    /// [`AddressError::Host`] without a host that is one, [`AddressError::Excess`] with a user name.
    pub(crate) fn of_uri(uri: &http::Uri, port: u16) -> Result<Self, AddressError> {
        let authority = uri.authority().ok_or(AddressError::Host)?;
        if authority.as_str().contains('@') {
            return Err(AddressError::Excess);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        // `http` takes a port that is no 16-bit number for none at all.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => port,
            Some(port) => port.trim_start_matches(':').parse().map_err(|_| AddressError::Host)?,
            None => return Err(AddressError::Host),
        };
        let name = ServerName::try_from(host.clone()).map_err(|_| AddressError::Host)?;
        Ok(Self { host, port, name })
    }

    /// Host and port as in a `Host` header.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The host alone, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The name sent in the TLS handshake.
    #[must_use]
    pub fn server_name(&self) -> ServerName<'static> {
        self.name.clone()
    }

    /// The socket addresses to try, in order. Addresses and `localhost` are answered without asking the name service.
    ///
    /// # Errors
    /// The resolver's error.
    pub async fn resolve(&self) -> std::io::Result<Vec<SocketAddr>> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        if self.host.eq_ignore_ascii_case("localhost") {
            let both = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            return Ok(both.into_iter().map(|address| SocketAddr::new(address, self.port)).collect());
        }
        Ok(tokio::net::lookup_host((self.host.as_str(), self.port)).await?.collect())
    }
}

impl Address {
    /// The value of the `Host` header of a request to this address.
    #[must_use]
    pub fn authority(&self) -> String {
        match self {
            Self::Https(endpoint) => endpoint.authority(),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }

    fn parse_https(text: &str) -> Result<Self, AddressError> {
        let uri = text.parse::<http::Uri>().map_err(|_| AddressError::Host)?;
        // `/v1` is what OpenAI programs call the base URL; people paste it.
        if uri.query().is_some() || !["", "/", "/v1", "/v1/"].contains(&uri.path()) {
            return Err(AddressError::Excess);
        }
        Endpoint::of_uri(&uri, 443).map(Self::Https)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let scheme = |prefix: &str| text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        if let Some(path) = text.strip_prefix("unix:") {
            let path = Path::new(path.strip_prefix("//").unwrap_or(path));
            return if path.as_os_str().is_empty() {
                Err(AddressError::EmptyPath)
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        if scheme("http://") {
            return Err(AddressError::PlainHttp);
        }
        if scheme("https://") { Self::parse_https(text) } else { Err(AddressError::Scheme) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Https(endpoint) => write!(formatter, "https://{}", endpoint.authority()),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, AddressError> {
        text.parse::<Address>().map(|address| address.to_string())
    }

    #[test]
    fn addresses_of_every_kind_are_read() {
        assert_eq!(shown("https://127.0.0.1:8443").unwrap(), "https://127.0.0.1:8443");
        assert_eq!(shown("https://lethe.example/v1").unwrap(), "https://lethe.example:443");
        assert_eq!(shown("HTTPS://[::1]:8443/").unwrap(), "https://[::1]:8443");
        assert_eq!(shown("unix:/run/lethe/inference.sock").unwrap(), "unix:/run/lethe/inference.sock");
        assert_eq!(shown("unix:///run/a.sock").unwrap(), "unix:/run/a.sock");
    }

    #[test]
    fn addresses_that_say_something_else_are_refused() {
        assert_eq!(shown("127.0.0.1:8443"), Err(AddressError::Scheme));
        assert_eq!(shown("http://127.0.0.1:8443"), Err(AddressError::PlainHttp));
        assert_eq!(shown("https://user@127.0.0.1"), Err(AddressError::Excess));
        assert_eq!(shown("https://127.0.0.1/health"), Err(AddressError::Excess));
        assert_eq!(shown("https://127.0.0.1/?a=b"), Err(AddressError::Excess));
        assert_eq!(shown("https://127.0.0.1:99999"), Err(AddressError::Host));
        assert_eq!(shown("https://127.0.0.1:"), Err(AddressError::Host));
        assert_eq!(shown("https://a b"), Err(AddressError::Host));
        assert_eq!(shown("https://under score/"), Err(AddressError::Host));
        assert_eq!(shown("unix:"), Err(AddressError::EmptyPath));
    }

    #[tokio::test]
    async fn localhost_needs_no_name_service() {
        let Address::Https(endpoint) = "https://localhost:1".parse().unwrap() else { panic!("https") };
        let addresses = endpoint.resolve().await.unwrap();
        assert_eq!(addresses[0].to_string(), "127.0.0.1:1");
        assert_eq!(addresses[1].to_string(), "[::1]:1");
    }
}
