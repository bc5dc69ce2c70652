//! Which requests a local endpoint without a password may take: not those that a web page makes behind its user's back.

use http::{HeaderMap, HeaderValue, Uri, header, uri::Authority};
use std::net::IpAddr;

/// Why a request is turned away before it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stranger {
    /// No `Host`, several, or one that is no host.
    #[error("the request names no host")]
    NoHost,
    /// A name that anybody may point at this machine.
    #[error(
        "the request is addressed to another host name; the proxy answers to IP addresses and localhost (--allow-host)"
    )]
    Host,
    /// A web page of another origin.
    #[error("the request comes from a web page whose origin is not allowed (--allow-origin)")]
    Origin,
}

/// Names and origins that are allowed beside the safe ones.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// Host names. IP addresses and `localhost` are always allowed: DNS rebinding needs a name of the attacker's.
    pub hosts: Vec<String>,
    /// Origins of web pages, as `https://name[:port]`.
    pub origins: Vec<String>,
}

impl Guard {
    /// Looks at where a request is addressed to and where it comes from.
    ///
    /// # Errors
    /// [`Stranger`].
    pub fn admit(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Stranger> {
        let host = only(headers, header::HOST.as_str()).ok_or(Stranger::NoHost)?;
        let authority = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()).ok_or(Stranger::NoHost)?;
        if !self.is_host(authority.host()) || uri.authority().is_some_and(|target| !self.is_host(target.host())) {
            return Err(Stranger::Host);
        }
        match headers.get(header::ORIGIN) {
            Some(_) if self.allowed_origin(headers).is_none() => Err(Stranger::Origin),
            None if headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") => {
                Err(Stranger::Origin)
            }
            _ => Ok(()),
        }
    }

    /// The request's origin, if it is an allowed one.
    #[must_use]
    pub fn allowed_origin<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let origin = only(headers, header::ORIGIN.as_str())?;
        self.origins.iter().any(|allowed| origin.as_bytes().eq_ignore_ascii_case(allowed.as_bytes())).then_some(origin)
    }

    fn is_host(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().is_ok()
            || bare.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(bare))
    }
}

fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(guard: &Guard, headers: &[(&'static str, &str)]) -> Result<(), Stranger> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        guard.admit(&Uri::from_static("/v1/models"), &map)
    }

    #[test]
    fn addresses_and_localhost_are_answered() {
        for host in ["127.0.0.1:4180", "localhost:4180", "LOCALHOST", "[::1]:4180", "192.0.2.1"] {
            assert_eq!(admit(&Guard::default(), &[("host", host)]), Ok(()), "{host}");
        }
    }

    #[test]
    fn a_name_that_was_pointed_here_is_not_answered() {
        for host in ["evil.example", "evil.example:4180", "127.0.0.1.evil.example", "localhost.evil.example"] {
            assert_eq!(admit(&Guard::default(), &[("host", host)]), Err(Stranger::Host), "{host}");
        }
        let guard = Guard { hosts: vec!["box.lan".to_owned()], ..Guard::default() };
        assert_eq!(admit(&guard, &[("host", "box.lan:4180")]), Ok(()));
    }

    #[test]
    fn a_request_without_one_host_is_not_answered() {
        assert_eq!(admit(&Guard::default(), &[]), Err(Stranger::NoHost));
        assert_eq!(admit(&Guard::default(), &[("host", "localhost"), ("host", "localhost")]), Err(Stranger::NoHost));
        assert_eq!(admit(&Guard::default(), &[("host", "a b")]), Err(Stranger::NoHost));
    }

    #[test]
    fn an_absolute_target_counts_as_a_host() {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("localhost"));
        let guard = Guard::default();
        assert_eq!(guard.admit(&Uri::from_static("http://evil.example/v1/models"), &headers), Err(Stranger::Host));
        assert_eq!(guard.admit(&Uri::from_static("http://localhost/v1/models"), &headers), Ok(()));
    }

    #[test]
    fn web_pages_are_turned_away_unless_allowed() {
        let page = |origin: &'static str| [("host", "localhost"), ("origin", origin)];
        assert_eq!(admit(&Guard::default(), &page("https://evil.example")), Err(Stranger::Origin));
        assert_eq!(admit(&Guard::default(), &page("null")), Err(Stranger::Origin));
        assert_eq!(
            admit(&Guard::default(), &[("host", "localhost"), ("sec-fetch-site", "cross-site")]),
            Err(Stranger::Origin)
        );
        assert_eq!(admit(&Guard::default(), &[("host", "localhost"), ("sec-fetch-site", "none")]), Ok(()));
        let guard = Guard { origins: vec!["https://chat.example".to_owned()], ..Guard::default() };
        assert_eq!(admit(&guard, &page("https://chat.example")), Ok(()));
        assert_eq!(admit(&guard, &page("https://chat.example.evil")), Err(Stranger::Origin));
    }
}
