//! A relay of oblivious HTTP: it takes sealed messages and passes them on to the gateway that it was set up for.

use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

use super::way::Way;
use crate::{
    address::{Address, Endpoint},
    collateral::web_roots,
    connection::{Dialer, IdlePool, Patience},
    error::NetworkError,
};

/// Where a relay is. It is trusted with nothing but to keep the client's address to itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    endpoint: Endpoint,
    target: String,
    in_the_clear: bool,
}

/// A text that is not the URL of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the URL of a relay is https://HOST[:PORT]/PATH, without user name; http:// is for relays of this machine")]
pub struct NotARelay;

impl FromStr for Relay {
    type Err = NotARelay;

    fn from_str(text: &str) -> Result<Self, NotARelay> {
        let uri = text.parse::<http::Uri>().map_err(|_| NotARelay)?;
        let (port, in_the_clear) = match uri.scheme_str() {
            Some("https") => (443, false),
            Some("http") => (80, true),
            _ => return Err(NotARelay),
        };
        let endpoint = Endpoint::of_uri(&uri, port).map_err(|_| NotARelay)?;
        let local = endpoint.host().parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        // What is sealed could travel in the clear; who talks to the relay should not.
        if in_the_clear && !local && !endpoint.host().eq_ignore_ascii_case("localhost") {
            return Err(NotARelay);
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        Ok(Self { endpoint, target, in_the_clear })
    }
}

impl fmt::Display for Relay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.in_the_clear { "http" } else { "https" };
        write!(formatter, "{scheme}://{}{}", self.endpoint.authority(), self.target)
    }
}

impl Relay {
    /// Host and port, for everybody's eyes: path and query may hold the user's key to it.
    #[must_use]
    pub fn authority(&self) -> String {
        self.endpoint.authority()
    }

    /// Path and query of the relay's resource.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// The way to it: TLS 1.3 with the authorities of the web.
    pub(crate) fn way(&self, patience: Patience) -> Result<Way, NetworkError> {
        let dialer = if self.in_the_clear {
            Dialer::in_the_clear(self.endpoint.clone(), patience)
        } else {
            Dialer::to_the_web(Address::Https(self.endpoint.clone()), web_roots(), patience)?
        };
        Ok(Way::new(dialer, Arc::new(IdlePool::default())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_has_a_url_with_a_path() {
        for (text, shown) in [
            ("https://relay.example/a/b?c", "https://relay.example:443/a/b?c"),
            ("https://relay.example:8443", "https://relay.example:8443/"),
            ("http://127.0.0.1:8080/relay", "http://127.0.0.1:8080/relay"),
            ("http://localhost/", "http://localhost:80/"),
        ] {
            assert_eq!(text.parse::<Relay>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn other_texts_and_relays_elsewhere_without_tls_are_refused() {
        for text in ["", "relay.example", "ftp://relay.example/", "http://relay.example/", "https://a:b@relay.example/"]
        {
            assert_eq!(text.parse::<Relay>(), Err(NotARelay), "{text}");
        }
    }
}
