//! The one place that maps an error to an exit status and to the line that helps.

use evidence::Rule;

use crate::{
    address::AddressError,
    attestation::ReferenceError,
    error::{Error, NetworkError, Refusal, ServerError, UsageError},
};

/// Exit status of the program `lethe`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// Done.
    Done = 0,
    /// The command line, or a file or device it names, is wrong.
    Usage = 2,
    /// The appliance did not prove what the policy asks for.
    Refused = 3,
    /// The network or the appliance failed.
    NetworkOrServer = 4,
}

impl From<&Error> for ExitStatus {
    fn from(error: &Error) -> Self {
        match error {
            Error::Usage(_) => Self::Usage,
            Error::Refused(_) => Self::Refused,
            Error::Network(_) | Error::Server(_) => Self::NetworkOrServer,
        }
    }
}

impl From<ExitStatus> for std::process::ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}

/// What the user can do about an error.
#[must_use]
pub fn help(error: &Error) -> Option<&'static str> {
    match error {
        Error::Usage(usage) => help_usage(usage),
        Error::Refused(refusal) => Some(help_refusal(refusal)),
        Error::Network(network) => help_network(network),
        Error::Server(server) => help_server(server),
    }
}

fn help_usage(error: &UsageError) -> Option<&'static str> {
    Some(match error {
        UsageError::Address(AddressError::PlainHttp) => "write https:// instead; an appliance always has a TLS key",
        UsageError::Address(_) => "for example https://127.0.0.1:8443, or unix:/run/lethe/inference.sock",
        UsageError::Pin(_) => "the appliance prints its pin on its console, in the line `lethe: spki sha256:…`",
        UsageError::Nonce(_) => "leave --nonce out and a random one is taken",
        UsageError::Token(_) => "`lethe token new` makes one: lth_ followed by 43 characters",
        UsageError::RemoteListener { .. } => {
            "the proxy asks nobody for a password: listen on 127.0.0.1, or add --allow-remote if everyone who can reach \
             that address may ask"
        }
        UsageError::NoQuestion => "give it with --ask TEXT, or on standard input",
        UsageError::Policy { .. } => {
            "`lethe policy show standard` prints one; `lethe policy show --help` says how to write your own"
        }
        UsageError::Reference { source: ReferenceError::NoKeys | ReferenceError::Signatures(_), .. } => {
            "name the keys of signers you trust with --release-key NAME+ID+BASE64, and how many have to agree with --threshold"
        }
        UsageError::Reference { .. } => {
            "--measurements takes VERSION.note of a release, or the lethe.manifest.json of an image that you built"
        }
        UsageError::IdleReleaseKeys => "name the release too, with --measurements VERSION.note",
        UsageError::DocumentDigest => "--document takes a file, or sha256: followed by 64 hexadecimal digits",
        UsageError::Expectation(_) => "`lethe check … --json` on accepted evidence lists the fields",
        UsageError::RelayWithoutOhttp => "leave --wire out, or --ohttp-relay",
        UsageError::Wire(_) => "--wire takes auto, ohttp or tls",
        UsageError::Receipts(_) => "--receipts takes check, require or off",
        UsageError::Relay(_) => "for example https://relay.example/lethe",
        UsageError::PinForSeveral => {
            "say what the nodes have to prove with --measurements, --ak and --document, or run a proxy for each pin"
        }
        UsageError::RelayForSeveral => {
            "run a proxy for each appliance, each with the relay that was set up for it, or hide the address with --via"
        }
        UsageError::OperatorKey { .. } => "`lethe secrets keygen --out FILE` makes one",
        UsageError::NoSuchVariable { .. } => "set it, or write NAME=@FILE",
        UsageError::File { .. }
        | UsageError::Secret(_)
        | UsageError::Chain { .. }
        | UsageError::CertificateName(_)
        | UsageError::SecretsTooLong
        | UsageError::SecretTwice { .. }
        | UsageError::NamedTwice { .. }
        | UsageError::Bundle { .. }
        | UsageError::PinWithoutTls
        | UsageError::ViaWithoutTls
        | UsageError::Tunnel(_)
        | UsageError::NothingToVerify
        | UsageError::TooLarge { .. }
        | UsageError::Listen { .. }
        | UsageError::NoCertificate
        | UsageError::TokenName(_)
        | UsageError::Terminal(_)
        | UsageError::Random(_) => return None,
    })
}

fn help_refusal(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Pin(_) => {
            "every boot makes a new key, so a restart changes it; compare with `lethe: spki …` on the appliance's console, \
             and if it is not that one, somebody is in between"
        }
        Refusal::NoTee => {
            "it may be an ordinary program or a virtual machine whose host can read everything you send; if it is your own \
             machine, or a test without secrets, say so with --allow-no-tee"
        }
        Refusal::Evidence(refusal) if is_about_what_runs(refusal.rule()) => {
            "it runs something else than what you named with --measurements and --document; do not use it unless you know why"
        }
        Refusal::Evidence(_) => {
            "nothing in this evidence is to be believed; `lethe policy show NAME` says what a policy asks, and why"
        }
        Refusal::NotProven { .. } => {
            "--measurements, --ak and --document say what you trust; `lethe verify --help` explains each of them"
        }
        Refusal::Contradicted { .. } => {
            "if you expected exactly this machine, compare what you named with what it was started with; if not, do not use it"
        }
        Refusal::NoSecretsKey => {
            "name an operator in the document's secrets.operator_keys, and start the appliance with it"
        }
        Refusal::NoOhttp => {
            "its operator can switch it on with `wires.ohttp`; without --wire ohttp and without a relay, the pinned TLS connection \
             is used"
        }
        Refusal::GatewayKeys => {
            "ask again: its keys may just have changed; if it stays so, do not use this appliance, and tell whoever runs it"
        }
        Refusal::Receipt(_) => {
            "do not rely on this answer: nobody could prove later what gave it; if it happens again, tell whoever runs the appliance"
        }
        Refusal::NoReceipt => {
            "you asked for one with --receipts require; without it, an answer without a receipt is counted"
        }
        Refusal::NoTlsKey => "leave --pin out for a report that came over a UNIX socket",
        Refusal::KeysetChanged => "start again, so that the new keys are verified",
        Refusal::Malformed(_) | Refusal::Version => {
            "is this an appliance of Lethe, and is this client as new as it is?"
        }
        Refusal::KeysetExpired { .. } => {
            "check the clock of this machine, then restart the appliance; a saved bundle is judged as of its time with --at"
        }
        Refusal::KeysetDigest
        | Refusal::KeyReused
        | Refusal::KeyNamedTwice
        | Refusal::TlsKeyNotInKeyset
        | Refusal::NoEvidence(_)
        | Refusal::NotBound(_)
        | Refusal::ReportData => {
            "nothing was sent to it but this question; do not use this appliance, and tell whoever runs it"
        }
    }
}

/// Rules about image and document, not about the hardware.
fn is_about_what_runs(rule: Rule) -> bool {
    matches!(rule, Rule::P6 | Rule::P7 | Rule::P8 | Rule::P9 | Rule::P10 | Rule::S7 | Rule::S10 | Rule::T9 | Rule::T10)
}

fn help_network(error: &NetworkError) -> Option<&'static str> {
    Some(match error {
        NetworkError::Connect { .. } | NetworkError::Handshake { .. } | NetworkError::NoAnswer(_) => {
            "is the appliance up? --wait SECONDS waits until it is"
        }
        NetworkError::TimedOut { .. } => "--timeout SECONDS waits longer for the next byte",
        NetworkError::Sealed(_) | NetworkError::SealedForm(_) => {
            "somebody on the way changed it or cut it off, or the appliance failed; what came so far is not the whole answer"
        }
        NetworkError::Tunnel { .. } => "is it a proxy that opens connections (CONNECT) to this port? --via names it",
        NetworkError::Relay { .. } => "is it the relay of this appliance? Ask whoever runs it",
        NetworkError::Stopped(reason) => return help(reason),
        NetworkError::Broken(_) => "what came so far is not the whole answer; ask again",
        NetworkError::Collateral(_) => {
            "vek, crl and collateral files of your own take its place; see `lethe verify --help`"
        }
        NetworkError::Tls(_) | NetworkError::UnusableRequest => return None,
    })
}

fn help_server(error: &ServerError) -> Option<&'static str> {
    Some(match error {
        ServerError::Status { code: Some(code), .. } if code == "invalid_operator" => {
            "the document names other operators in secrets.operator_keys; `lethe secrets keygen` made the key of one of them"
        }
        ServerError::Status { code: Some(code), .. } if code == "rollback" => {
            "somebody else changed the secrets at the same moment: try again"
        }
        ServerError::Status { code: Some(code), .. } if code == "cannot_seal" => {
            "`lethe secrets watch` brings secrets after each restart"
        }
        ServerError::Status { status: 401, .. } => {
            "give the token with --token-file FILE or in the environment variable LETHE_TOKEN"
        }
        ServerError::Status { code: Some(code), .. } if code == "context_length_exceeded" => {
            "ask something shorter, or forget the conversation so far with /reset"
        }
        ServerError::Status { code: Some(code), .. } if code == "model_not_found" => {
            "without --model the first model of the appliance is asked"
        }
        ServerError::Status { status: 429 | 503, .. } | ServerError::NotReady => {
            "it is busy or still starting; --wait SECONDS tries for longer"
        }
        ServerError::Status { status: 404, .. } => "is this an appliance of Lethe?",
        ServerError::InStream(_) | ServerError::Truncated => "what came so far is not the whole answer; ask again",
        ServerError::Malformed(_) | ServerError::TooLarge { .. } => "is this an appliance of Lethe?",
        ServerError::Status { .. } | ServerError::NoModel => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_error_has_its_status() {
        assert_eq!(ExitStatus::from(&Error::from(UsageError::NoQuestion)) as u8, 2);
        assert_eq!(ExitStatus::from(&Error::from(Refusal::NoTee)) as u8, 3);
        assert_eq!(ExitStatus::from(&Error::from(ServerError::Truncated)) as u8, 4);
        let timeout = NetworkError::TimedOut { what: "connect", limit: std::time::Duration::from_secs(1) };
        assert_eq!(ExitStatus::from(&Error::from(timeout)) as u8, 4);
    }
}
