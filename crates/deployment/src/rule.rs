//! What a text in the document may be.

use std::net::{IpAddr, SocketAddr};

/// Longest model name or alias, in bytes.
const MODEL_NAME_BYTES: usize = 128;
/// Longest token name, in bytes.
const TOKEN_NAME_BYTES: usize = 64;
/// Longest DNS name, in bytes (RFC 1035 §2.3.4, without the root's dot).
const DNS_NAME_BYTES: usize = 253;
/// Longest label of a DNS name, in bytes.
const DNS_LABEL_BYTES: usize = 63;

/// The form of a text value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Model id as it appears in URLs and requests.
    ModelName,
    /// SHA-256 in hexadecimal; never all zero.
    Sha256,
    /// Ed25519 public key in hexadecimal.
    OperatorKey,
    /// IP address and port.
    Socket,
    /// DNS name or IP address, as a certificate carries it.
    HostName,
    /// Operator's name for a token.
    TokenName,
    /// IP address of one interface.
    Address,
    /// Day of the calendar.
    Date,
}

impl Rule {
    /// What the rule allows, in words that finish "expected …".
    #[must_use]
    pub const fn allowed(self) -> &'static str {
        match self {
            Self::ModelName => {
                "1 to 128 of the characters A-Z a-z 0-9 . _ - + : @ /, no part between slashes empty or . or .., first a \
                 letter or digit"
            }
            Self::Sha256 => "64 hexadecimal digits that are not all zero (zero is never a wildcard)",
            Self::OperatorKey => "Ed25519 public key in 64 hexadecimal digits, as lethe secrets keygen prints it",
            Self::Socket => "IP address and port, such as 0.0.0.0:8443 or [::]:8443; port 1 to 65535",
            Self::HostName => "DNS name without wildcard or final dot, or IP address",
            Self::TokenName => "1 to 64 of the characters A-Z a-z 0-9 . _ -, first a letter or digit",
            Self::Address => {
                "IPv4 or IPv6 address of one interface (no zero, loopback, multicast or broadcast address)"
            }
            Self::Date => "day of the calendar as YYYY-MM-DD in quotes, from 1970-01-01 to 9999-12-31",
        }
    }

    /// Whether `text` keeps the rule.
    #[must_use]
    pub fn accepts(self, text: &str) -> bool {
        match self {
            Self::ModelName => is_model_name(text),
            Self::Sha256 | Self::OperatorKey => is_sha256(text),
            Self::Socket => text.parse::<SocketAddr>().is_ok_and(|socket| socket.port() != 0),
            Self::HostName => text.parse::<IpAddr>().is_ok() || is_dns_name(text),
            Self::TokenName => is_word(text, TOKEN_NAME_BYTES, b"._-"),
            Self::Address => text.parse().is_ok_and(is_interface_address),
            Self::Date => is_date(text),
        }
    }
}

/// Letters, digits and `marks`, the first character a letter or digit.
fn is_word(text: &str, longest: usize, marks: &[u8]) -> bool {
    text.len() <= longest
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || marks.contains(&byte))
}

/// The slashes of a name end up in the path of `/v1/models/{id}`, where clients resolve `.` and `..` and drop empty parts.
fn is_model_name(text: &str) -> bool {
    is_word(text, MODEL_NAME_BYTES, b"._-+:@/") && !text.split('/').any(|part| matches!(part, "" | "." | ".."))
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) && text.bytes().any(|byte| byte != b'0')
}

/// RFC 1123 §2.1: letters, digits and inner hyphens; a last label of digits alone would be a broken IPv4 address.
fn is_dns_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=DNS_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last_is_number = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    text.len() <= DNS_NAME_BYTES && text.split('.').all(is_label) && !last_is_number
}

fn is_interface_address(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || broadcast)
}

fn is_date(text: &str) -> bool {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text.as_bytes() else { return false };
    let number = |digits: &[&u8]| {
        digits.iter().try_fold(0_u32, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u32::from(**digit - b'0')))
    };
    let (Some(year), Some(month), Some(day)) = (number(&[y1, y2, y3, y4]), number(&[m1, m2]), number(&[d1, d2])) else {
        return false;
    };
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    year >= 1970 && (1..=days).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(rule: Rule, accepted: &[&str], refused: &[&str]) {
        for text in accepted {
            assert!(rule.accepts(text), "{rule:?} must accept {text:?}");
        }
        for text in refused {
            assert!(!rule.accepts(text), "{rule:?} must refuse {text:?}");
        }
        for text in ["", " ", "\0", "a\nb", "\u{1b}[2J", "é", &"a".repeat(65_000)] {
            assert!(!rule.accepts(text), "{rule:?} must refuse {text:?}");
        }
    }

    #[test]
    fn model_names_may_have_slashes_but_nothing_a_client_rewrites() {
        let longest = "m".repeat(128);
        judge(
            Rule::ModelName,
            &["m", "Qwen/Qwen2.5-1.5B-Instruct", "llama3:8b", "a@b+c_d", &longest],
            &["/m", "m/", "a//b", "a/../b", "a/.", ".a", "a b", "a?b", "a#b", "a%2fb", "a\\b", &format!("{longest}m")],
        );
    }

    #[test]
    fn a_digest_is_64_hex_digits_and_never_zero() {
        let digest = "0".repeat(63) + "1";
        let upper = "AB".repeat(32);
        judge(
            Rule::Sha256,
            &[&digest, &upper],
            &[&"0".repeat(64), &"a".repeat(63), &"a".repeat(65), &"g".repeat(64), &format!("0x{}", "a".repeat(62))],
        );
    }

    #[test]
    fn a_socket_has_an_address_and_a_port() {
        judge(
            Rule::Socket,
            &["0.0.0.0:8443", "[::]:443", "127.0.0.1:1", "10.0.0.1:65535"],
            &["0.0.0.0", ":8443", "localhost:8443", "0.0.0.0:0", "0.0.0.0:65536", "::1:8443x", "1.2.3:80"],
        );
    }

    #[test]
    fn certificate_names_are_dns_names_or_addresses() {
        let label = "l".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "l".repeat(61));
        judge(
            Rule::HostName,
            &[
                "localhost",
                "llm.example.org",
                "xn--bcher-kva.example",
                "1a.example",
                "192.0.2.7",
                "2001:db8::7",
                &longest,
            ],
            &[
                "*.example.org",
                "example.org.",
                "-a.example",
                "a-.example",
                "a..b",
                "a_b.example",
                "1.2.3",
                "300.1.1.1",
                "http://a",
                "a:443",
                "[::1]",
                "fe80::1%1",
                &format!("{longest}l"),
                &format!("l{label}.example"),
            ],
        );
    }

    #[test]
    fn token_names_are_one_word() {
        let longest = "t".repeat(64);
        judge(
            Rule::TokenName,
            &["alice", "ci-2.eu_west", &longest],
            &["-a", "a b", "a/b", "a=b", &format!("{longest}t")],
        );
    }

    #[test]
    fn an_interface_has_one_address_of_its_own() {
        judge(
            Rule::Address,
            &["10.0.2.15", "169.254.1.1", "2001:db8::1", "fe80::1"],
            &[
                "0.0.0.0",
                "127.0.0.1",
                "224.0.0.1",
                "255.255.255.255",
                "::",
                "::1",
                "ff02::1",
                "10.0.2.15/24",
                "10.2.15",
            ],
        );
    }

    #[test]
    fn a_date_is_a_day_of_the_calendar() {
        judge(
            Rule::Date,
            &["2026-01-01", "1970-01-01", "9999-12-31", "2024-02-29", "2000-02-29"],
            &[
                "1969-12-31",
                "2026-02-29",
                "2100-02-29",
                "2026-04-31",
                "2026-00-01",
                "2026-13-01",
                "2026-01-00",
                "2026-1-01",
                "26-01-01",
                "2026/01/01",
                "2026-01-01T00:00:00Z",
                "+026-01-01",
                "2026-01- 1",
            ],
        );
    }
}
