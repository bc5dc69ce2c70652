//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use evidence::Time;

use super::{
    check::{CheckCommand, time},
    collateral::CollateralCommand,
    policy::PolicyCommand,
    receipt::ReceiptCommand,
    secrets::SecretsCommand,
    tls::TlsCommand,
    trust::TrustArguments,
    wires::WireArguments,
};
use crate::proxy::Balance;

/// Ask a private language model, and know what you are talking to.
#[derive(Debug, Parser)]
#[command(
    name = "lethe",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  lethe verify https://lethe.example:8443 --measurements 0.2.0.note --release-key 'example.org/lethe+1c6c4a56+AZ…'
  lethe chat https://127.0.0.1:8443 --ask \"Why is the sky blue?\" --allow-no-tee
  lethe proxy https://lethe.example:8443 --listen 127.0.0.1:4180

Exit status: 0 done, 2 wrong usage, 3 the appliance or the evidence was refused, 4 network or server failed."
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Verify an appliance, then talk to its model
    Chat(ChatArguments),
    /// Say what an appliance proves about itself
    Verify(VerifyArguments),
    /// Serve the OpenAI API to programs of this machine, in front of a verified appliance
    Proxy(ProxyArguments),
    /// Show whether an appliance is up, and what it proves, in a few lines
    Status(StatusArguments),
    /// Fetch what AMD or Intel say about a platform
    #[command(subcommand)]
    Collateral(CollateralCommand),
    /// Check captured evidence, without a network
    #[command(subcommand, after_help = "Exit status: 0 accepted, 2 wrong usage or an unreadable file, 3 refused.")]
    Check(CheckCommand),
    /// Check receipts of answers, without a network
    #[command(subcommand, after_help = "Exit status: 0 accepted, 2 wrong usage or an unreadable file, 3 refused.")]
    Receipt(ReceiptCommand),
    /// Show and check policies: what is asked of evidence, and why
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Bring secrets to a running appliance: bearer tokens, without a new document
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// Give an appliance a certificate that other people's clients trust
    #[command(subcommand)]
    Tls(TlsCommand),
    /// Make bearer tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Print a completion script for a shell
    #[command(after_help = "Example: lethe completions bash > ~/.local/share/bash-completion/completions/lethe")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// How to reach an appliance and what to demand of it.
#[derive(Debug, Args)]
pub struct ApplianceArguments {
    /// Where the appliance is: https://HOST[:PORT], or unix:PATH for one on this machine
    pub url: String,
    /// The way to it.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// What is trusted.
    #[command(flatten)]
    pub trust: TrustArguments,
}

/// How to reach several appliances and what to demand of each.
#[derive(Debug, Args)]
pub struct AppliancesArguments {
    /// Where the appliances are: https://HOST[:PORT], or unix:PATH for one on this machine
    #[arg(value_name = "URL", required = true)]
    pub urls: Vec<String>,
    /// The way to them.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// What is trusted.
    #[command(flatten)]
    pub trust: TrustArguments,
}

/// How to reach an appliance.
#[derive(Debug, Args)]
pub struct ConnectionArguments {
    /// Demand this TLS key: sha256:HEX, as in `lethe: spki …` on the appliance's console. Without it the key seen first is
    /// used, and said
    #[arg(long, value_name = "sha256:HEX", help_heading = "Trust")]
    pub pin: Option<String>,

    /// Open connections to the appliance through this HTTP proxy (CONNECT), which cannot read them. With --ohttp-relay of another
    /// operator, the appliance never sees this machine's address
    #[arg(long, value_name = "http://HOST:PORT", help_heading = "Network")]
    pub via: Option<String>,

    /// Wait up to so many seconds for an appliance that is starting or busy
    #[arg(long, value_name = "SECONDS", help_heading = "Network")]
    pub wait: Option<u32>,

    /// Longest silence of an appliance that is answering, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Network")]
    pub timeout: u32,
}

/// Where the bearer token comes from.
#[derive(Debug, Args)]
pub struct TokenArguments {
    /// Bearer token. Other users of this machine can see it in the list of processes: prefer a file or LETHE_TOKEN
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file", help_heading = "Trust")]
    pub token: Option<String>,

    /// File that holds the bearer token. Without both, the environment variable LETHE_TOKEN is used, if set
    #[arg(long, value_name = "FILE", help_heading = "Trust")]
    pub token_file: Option<PathBuf>,
}

/// `lethe chat`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lethe chat https://127.0.0.1:8443
  lethe chat https://127.0.0.1:8443 --ask \"One haiku.\" --pin sha256:0123…
  git diff | lethe chat unix:/run/lethe/inference.sock --system \"Review this.\" --ask -

Without --ask it is a conversation; /help there says what else one can type. Answers are on
standard output, everything else is on standard error. An answer counts when its receipt has
been checked: a bad one is exit status 3.")]
pub struct ChatArguments {
    /// The appliance.
    #[command(flatten)]
    pub appliance: ApplianceArguments,
    /// The token.
    #[command(flatten)]
    pub token: TokenArguments,
    /// What requests travel in, and what is asked of receipts.
    #[command(flatten)]
    pub wires: WireArguments,

    /// Ask once, print the answer, and end; `-` reads the question from standard input
    #[arg(long, value_name = "TEXT")]
    pub ask: Option<String>,

    /// Model to ask; without it, the first that the appliance lists
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,

    /// Instructions before the conversation
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,

    /// Most tokens of an answer
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<u32>,

    /// Randomness: 0 always takes the likeliest token
    #[arg(long, value_name = "NUMBER", value_parser = temperature)]
    pub temperature: Option<f32>,

    /// Start of the random numbers, for answers that can be repeated
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// Print the answer when it is complete, not as it comes
    #[arg(long)]
    pub no_stream: bool,

    /// Print one JSON object: answer, finish_reason, usage, model, and what was verified
    #[arg(long, requires = "ask")]
    pub json: bool,
}

/// `lethe verify`
#[derive(Debug, Args)]
#[command(after_help = "\
Six labels say what is proven: hardware, image, configuration, model, keys, freshness.
Exit status 0 if the appliance is accepted, 3 if it is refused. `docs/verifying.md` explains the labels.

Examples:
  lethe verify https://lethe.example:8443 --measurements 0.2.0.note --release-key 'example.org/lethe+1c6c4a56+AZ…'
  lethe verify https://127.0.0.1:8443 --measurements out/lethe.manifest.json --ak ak.pem --document lethe.toml
  lethe verify https://lethe.example:8443 --save report.bundle; lethe verify --bundle report.bundle
  lethe verify https://127.0.0.1:8443 --allow-no-tee --save-cert cert.pem")]
pub struct VerifyArguments {
    /// Where the appliance is: https://HOST[:PORT], or unix:PATH for one on this machine
    #[arg(required_unless_present = "bundle")]
    pub url: Option<String>,
    /// The way to it.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// What is trusted.
    #[command(flatten)]
    pub trust: TrustArguments,

    /// Verify a report that was saved, without a network
    #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "save", "save_cert"])]
    pub bundle: Option<PathBuf>,

    /// Time at which a saved report is judged, for example 2026-11-21T00:00:00Z; without it, now
    #[arg(long, value_name = "TIME", value_parser = time, requires = "bundle")]
    pub at: Option<Time>,

    /// Save the report, accepted or not, with all that its verdict rests on
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,

    /// Save the certificate of an accepted appliance as PEM, for other people's clients to trust
    #[arg(long, value_name = "FILE")]
    pub save_cert: Option<PathBuf>,

    /// Use this nonce (64 hexadecimal digits) and not a random one; with --bundle: the nonce that you know was sent
    #[arg(long, value_name = "HEX")]
    pub nonce: Option<String>,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// `lethe proxy`
#[derive(Debug, Args)]
#[command(after_help = "\
The proxy verifies every node before it listens, and sends requests only to keys it verified.
It asks its own clients for no password: every user of this machine can reach a port of 127.0.0.1.
GET /lethe/status says what was verified, how the nodes do, what requests travel in, and how many
receipts were good. An answer whose receipt is bad ends with an error: in the place of [DONE] where
it streams.

Several nodes: requests are spread, /health is asked every few seconds, and a node that fails is
left alone for a while. A node that stops verifying gets nothing more and is tried again in the
background. A request goes to another node only while no byte of its answer has been passed on, and
only if asking twice does no harm: chat and other completions, embeddings, and anything with GET.
All nodes get the same token and are held to the same policy. docs/proxy.md says more.

Examples:
  lethe proxy https://lethe.example:8443 --token-file token
  OPENAI_BASE_URL=http://127.0.0.1:4180/v1 OPENAI_API_KEY=unused python my_openai_program.py
  lethe proxy https://a.example:8443 https://b.example:8443 --balance round-robin --budget 120")]
pub struct ProxyArguments {
    /// The appliances.
    #[command(flatten)]
    pub appliances: AppliancesArguments,
    /// The token.
    #[command(flatten)]
    pub token: TokenArguments,
    /// What requests travel in, and what is asked of receipts.
    #[command(flatten)]
    pub wires: WireArguments,

    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:4180")]
    pub listen: SocketAddr,

    /// Listen even where other machines can reach the proxy
    #[arg(long)]
    pub allow_remote: bool,

    /// Answer to this host name too (IP addresses and localhost are answered always). Repeatable
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,

    /// Answer web pages of this origin, for example https://chat.example. Repeatable
    #[arg(long, value_name = "ORIGIN")]
    pub allow_origin: Vec<String>,

    /// How nodes are used.
    #[command(flatten)]
    pub nodes: NodeArguments,
}

/// How several nodes are used.
#[derive(Debug, Args)]
#[command(next_help_heading = "Nodes")]
pub struct NodeArguments {
    /// Start only if every node verifies; without it one is enough, and the others are named
    #[arg(long)]
    pub all: bool,

    /// To which node a request goes: the one with the fewest answers under way, or each in turn
    #[arg(long, value_name = "least-busy|round-robin", default_value = "least-busy")]
    pub balance: Balance,

    /// Longest time until an answer begins, in seconds, all attempts together; then the answer is a 504
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    pub budget: u32,

    /// Failures in a row after which a node is left alone; 0: never
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub breaker_failures: u32,

    /// For how many seconds; then a single request finds out whether it is well again
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub breaker_pause: u32,

    /// Seconds between two looks at a node's /health
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub health_interval: u32,

    /// Seconds after which a node is verified again, even if its keys have not changed
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u32).range(1..))]
    pub verify_interval: u32,
}

/// `lethe status`
#[derive(Debug, Args)]
#[command(after_help = "Example: lethe status https://127.0.0.1:8443 --allow-no-tee")]
pub struct StatusArguments {
    /// The appliance.
    #[command(flatten)]
    pub appliance: ApplianceArguments,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `lethe token …`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token of 256 random bits; it is shown once, and the document gets its digest
    #[command(after_help = "\
The token goes to the person or program that may ask. The lines for the deployment document hold
only its SHA-256, so the document can be public.

Example: lethe token new --name alice")]
    New(TokenNewArguments),
}

/// `lethe token new`
#[derive(Debug, Args)]
pub struct TokenNewArguments {
    /// Name for the operator, in the deployment document
    #[arg(long, value_name = "NAME", default_value = "client")]
    pub name: String,

    /// Print one JSON object: name, token, sha256
    #[arg(long)]
    pub json: bool,
}

fn temperature(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        _ => Err("a number from 0 on is expected".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn json_is_for_single_questions() {
        let parse =
            |arguments: &[&str]| Arguments::try_parse_from([&["lethe", "chat", "https://a"], arguments].concat());
        assert!(parse(&["--ask", "a", "--json"]).is_ok());
        assert!(parse(&["--json"]).is_err());
    }

    #[test]
    fn a_temperature_is_a_number_from_zero_on() {
        assert_eq!(temperature("0.5"), Ok(0.5));
        for text in ["-1", "NaN", "inf", "hot"] {
            assert!(temperature(text).is_err(), "{text}");
        }
    }
}
