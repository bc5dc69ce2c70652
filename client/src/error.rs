//! Why something was not done, sorted by who is at fault.

use std::{io, time::Duration};

use protocol::{bhttp::BhttpError, ohttp::AnswerError};

use crate::{
    address::AddressError,
    attestation::{BundleError, ReferenceError, Subject},
    collateral::CollateralError,
    pin::PinError,
    receipts::{NotADemand, ReceiptFault},
    sealed::{NotARelay, NotAWire},
    tls::PinMismatch,
    token::TokenError,
    tunnel::{NotATunnel, TunnelError},
};

/// Everything that can stop the client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user asked for something that makes no sense or cannot be done on this machine.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The appliance did not prove what the policy asks for.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The network failed.
    #[error(transparent)]
    Network(NetworkError),
    /// The appliance answered, but not what was asked.
    #[error(transparent)]
    Server(#[from] ServerError),
}

impl From<NetworkError> for Error {
    fn from(error: NetworkError) -> Self {
        match error {
            NetworkError::Stopped(reason) => *reason,
            error => Self::Network(error),
        }
    }
}

/// The user's mistakes, and failures of the user's machine.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// The address.
    #[error("that is not the address of an appliance")]
    Address(#[from] AddressError),
    /// The pin.
    #[error("that is not a pin")]
    Pin(#[from] PinError),
    /// The nonce.
    #[error("that is not a nonce")]
    Nonce(#[from] protocol::NotANonce),
    /// The bearer token.
    #[error("that is not a token of Lethe")]
    Token(#[from] TokenError),
    /// The name for a token.
    #[error("a name of a token has {0}")]
    TokenName(&'static str),
    /// A file.
    #[error("cannot {what} {path}")]
    File {
        /// read, write.
        what: &'static str,
        /// Which one.
        path: String,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
    /// A file that is larger than anything of its kind.
    #[error("{path} is larger than {limit} bytes")]
    TooLarge {
        /// Which one.
        path: String,
        /// The limit.
        limit: u64,
    },
    /// A policy.
    #[error("{name} is not a policy")]
    Policy {
        /// Name or path.
        name: String,
        /// What is wrong with it.
        #[source]
        source: evidence::PolicyError,
    },
    /// A file with reference values.
    #[error("{path} gives no reference values")]
    Reference {
        /// Which one.
        path: String,
        /// What is wrong with it.
        #[source]
        source: ReferenceError,
    },
    /// Release keys or a threshold without a release.
    #[error("release keys and a threshold mean nothing without the signed note of a release")]
    IdleReleaseKeys,
    /// A saved bundle.
    #[error("{path} is not a bundle")]
    Bundle {
        /// Which one.
        path: String,
        /// What is wrong with it.
        #[source]
        source: BundleError,
    },
    /// An expected document.
    #[error("that is not the digest of a document")]
    DocumentDigest,
    /// An expected field.
    #[error("that is not an expectation")]
    Expectation(#[source] evidence::ExpectedError),
    /// Listening where the whole network can reach the proxy.
    #[error("{address} is reachable from other machines")]
    RemoteListener {
        /// The address asked for.
        address: String,
    },
    /// Listening fails.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address asked for.
        address: String,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
    /// A TLS key was demanded of a UNIX socket.
    #[error("a UNIX socket has no TLS key to demand: leave --pin out")]
    PinWithoutTls,
    /// A UNIX socket was to be reached through a proxy.
    #[error("a UNIX socket is not reached through a proxy: leave --via out")]
    ViaWithoutTls,
    /// A proxy for connections.
    #[error("that is not a proxy for connections")]
    Tunnel(#[from] NotATunnel),
    /// A wire.
    #[error("that is not a wire")]
    Wire(#[from] NotAWire),
    /// A demand on receipts.
    #[error("that cannot be asked of receipts")]
    Receipts(#[from] NotADemand),
    /// A relay.
    #[error("that is not the URL of a relay")]
    Relay(#[from] NotARelay),
    /// A relay for what is not sealed.
    #[error("a relay carries sealed requests alone: --wire tls has none")]
    RelayWithoutOhttp,
    /// A TLS key was demanded of several appliances.
    #[error("a pin is the key of one appliance, and several are named")]
    PinForSeveral,
    /// A relay was named for several appliances.
    #[error("a relay passes messages on to one appliance, and several are named")]
    RelayForSeveral,
    /// An appliance was named twice.
    #[error("{address} is named twice")]
    NamedTwice {
        /// Which one.
        address: String,
    },
    /// Neither an appliance nor a file was named.
    #[error("name an appliance, or a file with --bundle")]
    NothingToVerify,
    /// A certificate was asked for where there is none.
    #[error("a UNIX socket has no certificate to save")]
    NoCertificate,
    /// Standard input or output.
    #[error("cannot use the terminal")]
    Terminal(#[source] io::Error),
    /// No question.
    #[error("there is no question")]
    NoQuestion,
    /// An operator's key file.
    #[error("{path} is no operator's key: {reason}")]
    OperatorKey {
        /// Which one.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file with a chain of certificates.
    #[error("{path} is no chain of certificates: {reason}")]
    Chain {
        /// Which one.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A name for a certificate.
    #[error("a name in a certificate is a {0}")]
    CertificateName(&'static str),
    /// Names or values of secrets.
    #[error("these secrets cannot be sent")]
    Secret(#[source] protocol::secrets::ChangeError),
    /// More than one message takes.
    #[error("these secrets are too long for one message")]
    SecretsTooLong,
    /// A secret that is in the environment, and is not.
    #[error("there is no {name} in the environment")]
    NoSuchVariable {
        /// Its name.
        name: String,
    },
    /// A secret with two values.
    #[error("{name} is given twice")]
    SecretTwice {
        /// Its name.
        name: String,
    },
    /// No random numbers.
    #[error("the operating system gives no random numbers")]
    Random(#[source] getrandom::Error),
}

/// What an appliance did to be refused. Exit status 3.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another TLS key than the pinned one.
    #[error("the TLS key is not the pinned one")]
    Pin(#[from] PinMismatch),
    /// The attestation report cannot be read.
    #[error("the attestation report is malformed: {0}")]
    Malformed(String),
    /// The report is of another protocol version.
    #[error("the attestation report is not of version aci/1")]
    Version,
    /// The keyset does not have the digest that the report states.
    #[error("the keyset does not have the digest that the report states")]
    KeysetDigest,
    /// The keyset is past its end.
    #[error("the keyset ended at {not_after} (Unix seconds), and now is {now}")]
    KeysetExpired {
        /// When it ended.
        not_after: u64,
        /// The clock of this machine.
        now: u64,
    },
    /// Two keys of a role have one name.
    #[error("two keys of the keyset have one name")]
    KeyNamedTwice,
    /// The appliance has other keys by now.
    #[error("the appliance now has another keyset than the one that was verified")]
    KeysetChanged,
    /// Sealed requests were demanded.
    #[error("the appliance takes no sealed requests: its keyset has no key for OHTTP")]
    NoOhttp,
    /// The gateway's keys are not verified ones.
    #[error("the OHTTP gateway names no key that is in the attested keyset")]
    GatewayKeys,
    /// A receipt.
    #[error("the receipt of the answer is refused: {0}")]
    Receipt(#[source] ReceiptFault),
    /// A receipt was demanded.
    #[error("the answer has no receipt")]
    NoReceipt,
    /// A TLS key was demanded of a report that came over a UNIX socket.
    #[error("the report came over a UNIX socket, which has no TLS key to be the demanded one")]
    NoTlsKey,
    /// Authentic evidence, but about something else than the report says.
    #[error("the evidence is about other keys or another nonce than the report ({0})")]
    NotBound(#[source] evidence::Refusal),
    /// The report has none of what its platform has to show.
    #[error("the report says its platform is `{0}`, and has no evidence of it")]
    NoEvidence(&'static str),
    /// Something that is demanded is not proven.
    #[error("{subject} is not proven: {reason}")]
    NotProven {
        /// What.
        subject: Subject,
        /// Why not.
        reason: String,
    },
    /// Authentic evidence says otherwise than was expected.
    #[error("{reason}")]
    Contradicted {
        /// About what.
        subject: Subject,
        /// What it says.
        reason: String,
    },
    /// One key has two roles.
    #[error("one key appears in two roles of the keyset")]
    KeyReused,
    /// The TLS key is not endorsed.
    #[error("the TLS key of this connection is not in the attested keyset")]
    TlsKeyNotInKeyset,
    /// The report does not answer this nonce with this keyset.
    #[error(
        "report_data is not the digest of this keyset and this nonce: the report is a replay, or is about other keys"
    )]
    ReportData,
    /// The keyset has no key for secrets.
    #[error("the attested keyset has no key for secrets: the deployment document names no operator")]
    NoSecretsKey,
    /// Nothing is proven.
    #[error("the appliance runs without a TEE (platform `none`): nothing proves what it is")]
    NoTee,
    /// Evidence that was checked and does not hold.
    #[error(transparent)]
    Evidence(#[from] evidence::Refusal),
}

impl NetworkError {
    /// The end of an answer for another reason than the network's.
    pub(crate) fn stopped(reason: impl Into<Error>) -> Self {
        Self::Stopped(Box::new(reason.into()))
    }
}

impl Refusal {
    /// The rule of the verifier that was broken, where it was one of those.
    #[must_use]
    pub fn rule(&self) -> Option<evidence::Rule> {
        match self {
            Self::Evidence(refusal) | Self::NotBound(refusal) => Some(refusal.rule()),
            _ => None,
        }
    }
}

/// What the network did.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// TLS could not be set up on this side.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// No connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// Host and port, or the socket's path.
        address: String,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
    /// No connection through the proxy that was named for it.
    #[error("{proxy} gives no connection")]
    Tunnel {
        /// The proxy.
        proxy: String,
        /// The reason.
        #[source]
        source: TunnelError,
    },
    /// No TLS.
    #[error("the TLS handshake with {address} failed")]
    Handshake {
        /// Host and port.
        address: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// Too slow.
    #[error("no time left to {what}: {} s went by", limit.as_secs_f32())]
    TimedOut {
        /// What was waited for.
        what: &'static str,
        /// How long.
        limit: Duration,
    },
    /// The connection ended before the first byte of an answer.
    #[error("the connection ended before an answer came")]
    NoAnswer(#[source] hyper::Error),
    /// A request that cannot be written down, for example to an address that is no host name.
    #[error("the request cannot be written")]
    UnusableRequest,
    /// What vendors say about a platform could not be fetched.
    #[error("what the vendor says about the platform could not be fetched")]
    Collateral(#[source] Box<CollateralError>),
    /// The connection ended inside an answer.
    #[error("the connection ended in the middle of an answer")]
    Broken(#[source] hyper::Error),
    /// A sealed answer that is not whole, or not what the appliance sealed.
    #[error("the sealed answer is not what the appliance sealed: {0}")]
    Sealed(#[source] AnswerError),
    /// A sealed answer that opened and is no answer.
    #[error("the sealed answer is malformed")]
    SealedForm(#[source] BhttpError),
    /// A relay's own answer.
    #[error("the relay answered {status}")]
    Relay {
        /// The HTTP status.
        status: u16,
    },
    /// Something else than the network ended the answer.
    #[error(transparent)]
    Stopped(Box<Error>),
}

/// What the appliance answered.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An HTTP status other than success.
    #[error("the appliance answered {status}: {message}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// Its own words, without control characters and cut to a line.
        message: String,
        /// `error.code` or `error.type` of the answer.
        code: Option<String>,
        /// The wait it asks for.
        retry_after: Option<Duration>,
    },
    /// An error inside a stream that began well.
    #[error("the appliance gave up in the middle of the answer: {0}")]
    InStream(String),
    /// A stream without its end.
    #[error("the answer is cut off: its stream ended without [DONE]")]
    Truncated,
    /// More bytes than such an answer can have.
    #[error("{what} is longer than {limit} bytes")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Not the protocol.
    #[error("that is not what an appliance answers: {0}")]
    Malformed(&'static str),
    /// It runs but does not answer questions (yet, or any more).
    #[error("the appliance is not ready")]
    NotReady,
    /// No model to ask.
    #[error("the appliance serves no model")]
    NoModel,
}

impl Error {
    /// Whether the request was not sent, so that it can be sent to another appliance. A refusal of what an answer proves comes when
    /// it was.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        match self {
            Self::Refused(Refusal::Receipt(_) | Refusal::NoReceipt | Refusal::KeysetChanged) => false,
            Self::Refused(_) => true,
            Self::Network(error) => error.is_unsent(),
            Self::Usage(_) | Self::Server(_) => false,
        }
    }

    /// Whether trying again may help, and after which wait the other side asked for.
    #[must_use]
    pub fn retry(&self) -> Option<Option<Duration>> {
        match self {
            Self::Network(
                NetworkError::NoAnswer(_)
                // What these say is that nothing was passed on; 502 and 504 do not.
                | NetworkError::Relay { status: 429 | 503 },
            ) => Some(None),
            Self::Network(error) if error.is_unsent() => Some(None),
            Self::Server(ServerError::Status { status: 429 | 503, retry_after, .. }) => Some(*retry_after),
            Self::Server(ServerError::NotReady) => Some(None),
            _ => None,
        }
    }
}

impl NetworkError {
    /// Whether nothing of the request was sent.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. }
                | Self::Tunnel { .. }
                | Self::Handshake { .. }
                | Self::TimedOut {
                    what: "connect" | "connect through the proxy" | "finish the TLS handshake" | "look up the host",
                    ..
                }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_answered_was_sent() {
        let connect = NetworkError::TimedOut { what: "connect", limit: std::time::Duration::ZERO };
        assert!(Error::from(connect).is_unsent());
        assert!(Error::from(Refusal::NoTee).is_unsent());
        let receipt = Refusal::Receipt(ReceiptFault::OtherName);
        for refusal in [receipt, Refusal::NoReceipt, Refusal::KeysetChanged] {
            assert!(!Error::from(refusal).is_unsent());
        }
        assert!(!Error::from(NetworkError::Relay { status: 503 }).is_unsent());
        assert_eq!(Error::from(NetworkError::Relay { status: 502 }).retry(), None);
        assert_eq!(Error::from(NetworkError::Relay { status: 503 }).retry(), Some(None));
    }
}
