//! A report with everything around it that its verdict rests on, in one file: verified again later, or by somebody else.

use evidence::Time;
use protocol::{Nonce, NotANonce};
use serde::{Deserialize, Serialize};

use super::{
    examine::{Channel, Expectation, MAX_REPORT_BYTES, NonceOrigin},
    trust::{Endorsements, Vendors},
};
use crate::pin::{PinError, SpkiPin};

/// Version of the format.
const FORMAT: u32 = 1;
/// Largest bundle, in bytes: the report and Intel's collateral as JSON strings, which may double them.
const MAX_BYTES: usize = 4 * MAX_REPORT_BYTES;

/// Why a bundle is not read.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// More than any bundle has.
    #[error("a bundle has at most {MAX_BYTES} bytes")]
    TooLarge,
    /// Not exactly the JSON of a bundle.
    #[error("not the JSON of a bundle")]
    Shape(#[source] serde_json::Error),
    /// Another format.
    #[error("format {0} of bundles is unknown: this program reads format {FORMAT}")]
    Format(u32),
    /// The nonce.
    #[error("the nonce in it is none")]
    Nonce(#[source] NotANonce),
    /// The TLS key.
    #[error("the TLS key in it is none")]
    Pin(#[source] PinError),
    /// The time.
    #[error("the time in it is none")]
    Time,
}

/// A report and its circumstances. `docs/verifying.md` explains the members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    format: u32,
    /// When the report came, `2026-11-21T00:00:00Z`.
    time: String,
    /// The nonce that was sent, 64 hexadecimal digits.
    nonce: String,
    /// The TLS channel over which the report came; null for a UNIX socket.
    tls: Option<Tls>,
    /// The report's bytes as text.
    report: String,
    /// What vendors say about the platform.
    endorsements: Vendors,
}

/// A TLS channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tls {
    host: String,
    /// `sha256:` and the digest of the server's SubjectPublicKeyInfo.
    spki: String,
}

impl Bundle {
    /// A bundle of a report that came; nothing for a report that is no text, which no verdict could rest on.
    #[must_use]
    pub fn new(report: &[u8], expected: &Expectation, endorsements: &Endorsements) -> Option<Self> {
        Some(Self {
            format: FORMAT,
            time: expected.at.to_string(),
            nonce: expected.nonce.to_string(),
            tls: match &expected.channel {
                Channel::Tls { host, pin, .. } => Some(Tls { host: host.clone(), spki: pin.to_string() }),
                Channel::Local => None,
            },
            report: std::str::from_utf8(report).ok()?.to_owned(),
            endorsements: Vendors::from(endorsements),
        })
    }

    /// Reads a bundle.
    ///
    /// # Errors
    /// [`BundleError`] for anything but a bundle of this format.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > MAX_BYTES {
            return Err(BundleError::TooLarge);
        }
        let bundle: Self = serde_json::from_slice(bytes).map_err(BundleError::Shape)?;
        if bundle.format != FORMAT {
            return Err(BundleError::Format(bundle.format));
        }
        bundle.time()?;
        Ok(bundle)
    }

    /// The file's text.
    #[must_use]
    pub fn render(&self) -> String {
        // A struct of texts and numbers always has a JSON form.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// When it was saved, by its own word.
    ///
    /// # Errors
    /// [`BundleError::Time`].
    pub fn time(&self) -> Result<Time, BundleError> {
        Time::parse(&self.time).ok_or(BundleError::Time)
    }

    /// The report's bytes.
    #[must_use]
    pub fn report(&self) -> &[u8] {
        self.report.as_bytes()
    }

    /// What the report has to match. A nonce of the user's own takes the place of the file's.
    ///
    /// # Errors
    /// [`BundleError`] for a nonce or a key that is none.
    pub fn expectation(
        &self,
        nonce: Option<Nonce>,
        demanded: Option<SpkiPin>,
        at: Time,
    ) -> Result<Expectation, BundleError> {
        let channel = match &self.tls {
            Some(Tls { host, spki }) => {
                let pin = spki.parse().map_err(BundleError::Pin)?;
                Channel::Tls { host: host.clone(), pin, demanded: demanded == Some(pin) }
            }
            None => Channel::Local,
        };
        let (nonce, origin) = match nonce {
            Some(nonce) => (nonce, NonceOrigin::Ours),
            None => (Nonce::parse(&self.nonce).map_err(BundleError::Nonce)?, NonceOrigin::Recorded),
        };
        Ok(Expectation { nonce, origin, channel, at })
    }

    /// What vendors say about the platform.
    #[must_use]
    pub fn endorsements(&self) -> Endorsements {
        self.endorsements.clone().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle() -> Bundle {
        let expected = Expectation {
            nonce: Nonce::from_bytes([7; 32]),
            origin: NonceOrigin::Ours,
            channel: Channel::Tls { host: "a.example".to_owned(), pin: SpkiPin::of_spki(b"key"), demanded: false },
            at: Time::from_unix(1_800_000_000),
        };
        let endorsements = Endorsements { vek: Some(vec![1]), crls: vec![vec![2], vec![3]], tdx: None };
        Bundle::new(b"{}", &expected, &endorsements).unwrap()
    }

    #[test]
    fn a_bundle_reads_back_and_its_nonce_is_the_files() {
        let read = Bundle::parse(bundle().render().as_bytes()).unwrap();
        assert_eq!(read, bundle());
        let at = read.time().unwrap();
        let expected = read.expectation(None, None, at).unwrap();
        assert_eq!((expected.nonce, expected.origin), (Nonce::from_bytes([7; 32]), NonceOrigin::Recorded));
        let own = read.expectation(Some(Nonce::from_bytes([8; 32])), None, at).unwrap();
        assert_eq!((own.nonce, own.origin), (Nonce::from_bytes([8; 32]), NonceOrigin::Ours));
        assert_eq!(read.endorsements().crls, [vec![2], vec![3]]);
    }

    #[test]
    fn unknown_members_formats_and_times_are_refused() {
        let text = bundle().render();
        let parse = |text: String| Bundle::parse(text.as_bytes()).err().map(|error| error.to_string());
        assert_eq!(parse(text.clone()), None);
        for (from, to) in [
            ("{\n", "{ \"new\": 1,\n"),
            ("\"format\": 1", "\"format\": 2"),
            ("\"format\": 1,", ""),
            ("2027-01-15T", "2027-01-15 "),
            ("\"vek\": \"01\"", "\"vek\": \"0\""),
        ] {
            let other = text.replacen(from, to, 1);
            assert_ne!(other, text, "{from}");
            assert!(parse(other).is_some(), "{from}");
        }
        assert!(matches!(Bundle::parse(&vec![b' '; MAX_BYTES + 1]), Err(BundleError::TooLarge)));
    }
}
