//! The typed document, one struct a table.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// A deployment document; [`crate::parse`] is the way to one that has been checked.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Layout of the document: 1.
    pub version: u32,
    /// The model that is served.
    pub model: Model,
    /// The image that the document was written for.
    #[serde(default)]
    pub image: Image,
    /// How the engine runs it.
    #[serde(default)]
    pub engine: Engine,
    /// Where the server listens and under which names.
    #[serde(default)]
    pub listen: Listen,
    /// Who may ask.
    pub clients: Clients,
    /// Guard rails of sizes, times and parameters.
    #[serde(default)]
    pub limits: Limits,
    /// How long keys live.
    #[serde(default)]
    pub keys: Keys,
    /// Whose messages change secrets while the server runs.
    #[serde(default)]
    pub secrets: Secrets,
    /// Which encrypted wires are served, and how their traffic looks.
    #[serde(default)]
    pub wires: Wires,
    /// How long and how many receipts are kept.
    #[serde(default)]
    pub receipts: Receipts,
    /// How the virtual machine gets its address; without meaning in host mode.
    #[serde(default)]
    pub network: Network,
    /// Constants given to the chat template.
    #[serde(default)]
    pub template: Template,
}

/// `[model]`: which file, and the names it is served under.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Id in `/v1/models`; slashes allowed.
    pub name: String,
    /// Other ids that select the same model.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// SHA-256 of the GGUF file.
    #[serde(with = "hex::serde")]
    pub sha256: [u8; 32],
    /// Size of the GGUF file in bytes; a disk may be longer, never shorter.
    pub size_bytes: u64,
}

/// `[image]`: which image the document was written for. Only a verifier can compare: no image holds its own manifest.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Image {
    /// Its manifest; absent: any image.
    pub manifest_sha256: Option<ManifestDigest>,
}

/// SHA-256 of a `lethe.manifest.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct ManifestDigest(#[serde(with = "hex::serde")] pub [u8; 32]);

/// `[engine]`: context, parallelism, threads.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Engine {
    /// Context window of one sequence, in tokens (prompt and answer together).
    pub context_tokens: u32,
    /// Sequences that are generated at the same time.
    pub parallel_sequences: u32,
    /// Tokens of a prompt that enter one batch, so that a long prompt does not stall the others.
    pub prefill_chunk_tokens: u32,
    /// Threads of the engine; absent: one a core.
    pub threads: Option<u32>,
    /// Which of the compiled kernels compute.
    pub kernels: Kernels,
    /// Whether weights may be laid out anew for the processor's matrix instructions.
    pub repack: bool,
    /// Seconds without any progress while work is waiting, after which `ready` turns off.
    pub stall_unready_s: u32,
    /// Seconds without any progress after which the process ends (the machine restarts clean).
    pub stall_exit_s: u32,
}

/// Kernels of the engine, by the instructions they use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kernels {
    /// The fastest that the processor runs.
    Auto,
    /// x86-64-v2: every processor gives the same answers.
    Baseline,
    /// x86-64-v3.
    Avx2,
    /// AVX-512 with VNNI, VBMI and BF16.
    Avx512,
}

/// `[listen]`: address and certificate names.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// Address and port of the TLS server.
    pub address: SocketAddr,
    /// DNS names and IP addresses in the certificate, beside `localhost` and `127.0.0.1`.
    pub names: Vec<String>,
}

/// `[clients]`: who may ask.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Clients {
    /// What a client shows.
    pub access: Access,
    /// Which devices are accepted, where devices are.
    #[serde(default)]
    pub enrolment: Enrolment,
    /// SHA-256 of the bearer tokens that are accepted (`lethe token new`).
    #[serde(default)]
    pub tokens: Vec<Token>,
    /// Devices that are accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// One-time tokens, each of which enrols one device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enrolments: Vec<Token>,
}

/// What a client shows. There is no default: an operator says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// A bearer token of the list.
    Token,
    /// The signature of a device's key, on the envelope.
    Device,
    /// Either.
    Both,
    /// Nothing: anyone who reaches the port may ask.
    Anyone,
}

impl Clients {
    /// Clients with this access and empty lists.
    #[must_use]
    pub const fn of(access: Access) -> Self {
        Self { access, enrolment: Enrolment::List, tokens: Vec::new(), devices: Vec::new(), enrolments: Vec::new() }
    }
}

impl Access {
    /// Whether bearer tokens are accepted.
    #[must_use]
    pub const fn takes_tokens(self) -> bool {
        matches!(self, Self::Token | Self::Both)
    }

    /// Whether signatures of devices are accepted.
    #[must_use]
    pub const fn takes_devices(self) -> bool {
        matches!(self, Self::Device | Self::Both)
    }
}

/// Which devices are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Enrolment {
    /// Every device that signs.
    Any,
    /// Devices of the list.
    #[default]
    List,
    /// Devices of the list, and those that show a one-time token.
    Token,
}

/// One accepted device.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Name for the operator; never sent by a client.
    pub name: String,
    /// Its id: SHA-256 over algorithm, `:` and key.
    #[serde(with = "hex::serde")]
    pub id: [u8; 32],
}

/// One accepted token.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Name for the operator; never sent by a client.
    pub name: String,
    /// SHA-256 of the whole token text, `lth_` included.
    #[serde(with = "hex::serde")]
    pub sha256: [u8; 32],
}

/// `[limits]`: sizes in bytes, times in milliseconds.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest request body, in bytes; a larger one is answered 413 before it is read in full.
    pub body_bytes: u64,
    /// Time for a TLS handshake and for the headers of a request, each.
    pub header_timeout_ms: u64,
    /// Time for a whole request body.
    pub body_timeout_ms: u64,
    /// Time a kept-alive connection may be idle.
    pub idle_timeout_ms: u64,
    /// Time budget of one request, from its last body byte to its last answer byte.
    pub request_budget_ms: u64,
    /// Open connections; one more is closed at once.
    pub connections: u32,
    /// Requests that wait for a sequence; one more is answered 429.
    pub queue_requests: u32,
    /// Most tokens one answer may have, and the default where the request names none.
    pub max_tokens: u32,
    /// Highest `temperature` accepted.
    pub max_temperature: f32,
    /// Most `stop` strings.
    pub max_stop: u32,
    /// Most `top_logprobs`.
    pub max_top_logprobs: u32,
}

/// `[keys]`: the life of the keys that prompts are sealed to. Measured on the monotonic clock alone.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// Length of an epoch, in seconds.
    pub epoch_seconds: u32,
    /// Sealed requests of an epoch; then the next one begins early.
    pub epoch_requests: u32,
    /// Seconds after its epoch in which a key still opens requests.
    pub grace_seconds: u32,
}

/// `[secrets]`: what an operator brings to a running appliance, sealed to its attested key.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Secrets {
    /// The operators whose signed messages are taken; none: there is no such way in.
    pub operator_keys: Vec<OperatorKey>,
    /// Whether nobody is served before secrets have come.
    pub required: bool,
}

/// An operator's Ed25519 public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(transparent)]
pub struct OperatorKey(#[serde(with = "hex::serde")] pub [u8; 32]);

/// `[wires]`: encrypted wires and the shape of their traffic. TLS is always there.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wires {
    /// OHTTP and chunked OHTTP.
    pub ohttp: bool,
    /// Whether OHTTP also offers an X-Wing key.
    pub post_quantum: bool,
    /// The encrypted body protocol, whose headers are clear and whose ends are unmarked.
    pub ehbp: bool,
    /// The envelope.
    pub envelope: bool,
    /// Whether envelope answers are event streams; otherwise each is one sealed body.
    pub envelope_streaming: bool,
    /// Whether requests with a date too far from the machine's clock are refused.
    pub dates: bool,
    /// How old a dated request may be, in seconds.
    pub age_seconds: u32,
    /// How far ahead a dated request may be, in seconds.
    pub skew_seconds: u32,
    /// What the sizes and times of encrypted answers show.
    pub shape: Shape,
    /// Size of a frame of paced answers, in bytes.
    pub paced_bytes: u32,
    /// Time between two of them, in milliseconds.
    pub paced_ms: u32,
}

/// What an observer of encrypted answers sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Sizes and times of the tokens.
    Off,
    /// Buckets of sizes, and times.
    Padded,
    /// Equal frames on a fixed tick.
    Paced,
}

/// `[receipts]`: how long and how many are kept, in memory alone.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Receipts {
    /// Seconds that a receipt is kept.
    pub seconds: u32,
    /// Most receipts; the oldest go first.
    pub count: u32,
}

/// `[network]`: addressing of the virtual machine.
///
/// It is read through a plain struct: serde's tagged enums let unknown keys pass beside a variant without fields.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(try_from = "NetworkKeys", tag = "mode", rename_all = "lowercase")]
pub enum Network {
    /// DHCPv4.
    #[default]
    Dhcp,
    /// A fixed address.
    Static {
        /// Address of the first network device.
        address: IpAddr,
        /// Length of its prefix in bits.
        prefix_bits: u8,
        /// Default gateway; may lie outside the prefix.
        gateway: Option<IpAddr>,
    },
}

/// `[network]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkKeys {
    #[serde(default)]
    mode: Mode,
    address: Option<IpAddr>,
    prefix_bits: Option<u8>,
    gateway: Option<IpAddr>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Dhcp,
    Static,
}

impl TryFrom<NetworkKeys> for Network {
    type Error = &'static str;

    fn try_from(keys: NetworkKeys) -> Result<Self, Self::Error> {
        match keys {
            NetworkKeys { mode: Mode::Dhcp, address: None, prefix_bits: None, gateway: None } => Ok(Self::Dhcp),
            NetworkKeys { mode: Mode::Static, address: Some(address), prefix_bits: Some(prefix_bits), gateway } => {
                Ok(Self::Static { address, prefix_bits, gateway })
            }
            NetworkKeys { mode: Mode::Dhcp, .. } => Err("an address beside DHCP"),
            NetworkKeys { mode: Mode::Static, .. } => Err("a fixed address that is incomplete"),
        }
    }
}

/// `[template]`: constants of the chat template.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Template {
    /// The date (`YYYY-MM-DD`) that `strftime_now` answers; never a clock's.
    pub date: String,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            context_tokens: 4096,
            parallel_sequences: 4,
            prefill_chunk_tokens: 128,
            threads: None,
            kernels: Kernels::Auto,
            repack: true,
            stall_unready_s: 60,
            stall_exit_s: 300,
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self { address: SocketAddr::from(([0, 0, 0, 0], 8443)), names: Vec::new() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1024 * 1024,
            header_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            idle_timeout_ms: 60_000,
            request_budget_ms: 600_000,
            connections: 256,
            queue_requests: 64,
            max_tokens: 4096,
            max_temperature: 2.0,
            max_stop: 4,
            max_top_logprobs: 20,
        }
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self { epoch_seconds: 3600, epoch_requests: 1 << 20, grace_seconds: 300 }
    }
}

impl Default for Wires {
    fn default() -> Self {
        Self {
            ohttp: true,
            post_quantum: true,
            ehbp: false,
            envelope: false,
            envelope_streaming: true,
            dates: true,
            age_seconds: 60,
            skew_seconds: 60,
            shape: Shape::Padded,
            paced_bytes: 2048,
            paced_ms: 50,
        }
    }
}

impl Default for Receipts {
    fn default() -> Self {
        Self { seconds: 1200, count: 4096 }
    }
}

impl Default for Template {
    fn default() -> Self {
        Self { date: "2026-01-01".to_owned() }
    }
}
