//! Every key of the document, as reviewed data: type, range, unit, default, meaning.
//!
//! A range is as wide as sense allows and never wider than what the code behind it can bear: it bounds what a wrong or
//! hostile document can make the appliance allocate, wait for or count.

use crate::key::{Key, Kind, Presence, Section};
use crate::rule::Rule;

use Kind::{Choice, Integer, List, Number, Switch, Text};
use Presence::{Beside, Default, Optional, Required};

/// One day, in milliseconds.
const DAY_MS: i64 = 86_400_000;

/// The tables, in the order in which they are written and explained.
#[rustfmt::skip]
pub const SECTIONS: &[Section] = &[
    Section { path: "",                 max: 1,   meaning: "The document itself." },
    Section { path: "model",            max: 1,   meaning: "The model that is served: which file, and under which names." },
    Section { path: "image",            max: 1,   meaning: "The image that the document was written for." },
    Section { path: "engine",           max: 1,   meaning: "How the engine runs the model: context, parallel work, watchdog." },
    Section { path: "listen",           max: 1,   meaning: "Where the server listens, and the names in its certificate." },
    Section { path: "clients",          max: 1,   meaning: "Who may ask." },
    Section { path: "clients.tokens[]", max: 256, meaning: "One accepted bearer token; the document is public and holds only digests." },
    Section { path: "clients.devices[]", max: 256, meaning: "One accepted device, which signs its requests on the envelope with a key of its own." },
    Section { path: "clients.enrolments[]", max: 256, meaning: "One one-time token, which enrols the first device that shows it, for this boot." },
    Section { path: "limits",           max: 1,   meaning: "Guard rails: sizes, times, and the ranges of request parameters." },
    Section { path: "keys",             max: 1,   meaning: "The life of the keys that prompts are sealed to; a key of an epoch is wiped after its grace." },
    Section { path: "secrets",          max: 1,   meaning: "What an operator brings to the running appliance, sealed to its attested key: tokens, a certificate." },
    Section { path: "wires",            max: 1,   meaning: "Encrypted wires beside TLS, which are listed in the attestation report, and the shape of their traffic." },
    Section { path: "receipts",         max: 1,   meaning: "Signed receipts of answers, kept in locked memory and nowhere else." },
    Section { path: "network",          max: 1,   meaning: "How the virtual machine gets its address; without meaning for an ordinary process." },
    Section { path: "template",         max: 1,   meaning: "Constants given to the model's chat template." },
];

/// Beside a fixed address.
const fn fixed(required: bool) -> Presence {
    Beside { key: "mode", value: "static", unwritten: "dhcp", required }
}

/// The keys, in the order in which they are written and explained.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    Key { path: "version", kind: Integer { min: 1, max: 1 }, unit: "", presence: Required,
          meaning: "Layout of the document; another layout will have another number." },

    Key { path: "model.name", kind: Text(Rule::ModelName), unit: "", presence: Required,
          meaning: "Id of the model in /v1/models and in requests." },
    Key { path: "model.aliases", kind: List { item: Rule::ModelName, max: 16 }, unit: "", presence: Default("[]"),
          meaning: "Other ids that select the same model, all different." },
    Key { path: "model.sha256", kind: Text(Rule::Sha256), unit: "", presence: Required,
          meaning: "SHA-256 of the GGUF file, as sha256sum prints it; a disk with another model stops the boot." },
    Key { path: "model.size_bytes", kind: Integer { min: 1, max: 1 << 40 }, unit: "bytes", presence: Required,
          meaning: "Size of the GGUF file; exactly so many bytes are read from the disk, padding behind them is ignored." },

    Key { path: "image.manifest_sha256", kind: Text(Rule::Sha256), unit: "", presence: Optional("the document goes with any image"),
          meaning: "SHA-256 of the image's lethe.manifest.json, as sha256sum prints it. It goes into the evidence, and lethe verify refuses an image \
                    with another manifest beside this document; the machine itself cannot compare, and a document inside of an image cannot name it." },

    Key { path: "engine.context_tokens", kind: Integer { min: 64, max: 1 << 20 }, unit: "tokens", presence: Default("4096"),
          meaning: "Context window of one sequence, prompt and answer together; memory for it is taken at the start." },
    Key { path: "engine.parallel_sequences", kind: Integer { min: 1, max: 256 }, unit: "sequences", presence: Default("4"),
          meaning: "Answers generated at the same time, each with a context window of its own." },
    Key { path: "engine.prefill_chunk_tokens", kind: Integer { min: 1, max: 4096 }, unit: "tokens", presence: Default("128"),
          meaning: "Most tokens of a prompt in one step, so that a long prompt does not stall the other answers." },
    Key { path: "engine.threads", kind: Integer { min: 1, max: 512 }, unit: "threads", presence: Optional("one for each core"),
          meaning: "Threads of the engine." },
    Key { path: "engine.kernels", kind: Choice(&["auto", "baseline", "avx2", "avx512"]), unit: "", presence: Default("\"auto\""),
          meaning: "Compiled kernels that compute: the fastest the processor runs, or always the same ones, so that answers do not depend on the \
                    processor; a processor without their instructions stops the boot." },
    Key { path: "engine.repack", kind: Switch, unit: "", presence: Default("true"),
          meaning: "Lay weights out anew for the processor's matrix instructions (AMX, VNNI) where it has some for their type: faster, and \
                    while the model is loaded it needs its memory twice." },
    Key { path: "engine.stall_unready_s", kind: Integer { min: 1, max: 3600 }, unit: "seconds", presence: Default("60"),
          meaning: "Time without progress, while work waits, after which the server reports itself not ready and answers 503." },
    Key { path: "engine.stall_exit_s", kind: Integer { min: 1, max: 86_400 }, unit: "seconds", presence: Default("300"),
          meaning: "Time without progress after which the process ends, so that the machine restarts clean; at least stall_unready_s." },

    Key { path: "listen.address", kind: Text(Rule::Socket), unit: "", presence: Default("\"0.0.0.0:8443\""),
          meaning: "Address and port of the TLS server." },
    Key { path: "listen.names", kind: List { item: Rule::HostName, max: 32 }, unit: "", presence: Default("[]"),
          meaning: "DNS names and IP addresses in the certificate, all different, beside localhost and 127.0.0.1." },

    Key { path: "clients.access", kind: Choice(&["token", "device", "both", "anyone"]), unit: "", presence: Required,
          meaning: "\"token\" asks for a bearer token of the list, \"device\" for the signature of a device's key (on the envelope, so nowhere \
                    else), \"both\" for either, \"anyone\" serves whoever reaches the port; there is no default." },
    Key { path: "clients.enrolment", kind: Choice(&["any", "list", "token"]), unit: "", presence: Default("\"list\""),
          meaning: "Which devices are accepted: every one that signs, those of the list, or also those that show a one-time token. What was \
                    enrolled is forgotten at a restart; a device shows its token again then." },
    Key { path: "clients.tokens[].name", kind: Text(Rule::TokenName), unit: "", presence: Required,
          meaning: "The operator's name for the token, different from the others; clients never send it." },
    Key { path: "clients.tokens[].sha256", kind: Text(Rule::Sha256), unit: "", presence: Required,
          meaning: "SHA-256 of the whole token text, lth_ included, as lethe token new prints it." },

    Key { path: "clients.devices[].name", kind: Text(Rule::TokenName), unit: "", presence: Required,
          meaning: "The operator's name for the device, different from the others; clients never send it." },
    Key { path: "clients.devices[].id", kind: Text(Rule::Sha256), unit: "", presence: Required,
          meaning: "The device's id: SHA-256 over ed25519: or p256: and the bytes of its public key." },
    Key { path: "clients.enrolments[].name", kind: Text(Rule::TokenName), unit: "", presence: Required,
          meaning: "The operator's name for the token, different from the others." },
    Key { path: "clients.enrolments[].sha256", kind: Text(Rule::Sha256), unit: "", presence: Required,
          meaning: "SHA-256 of the whole token text, lth_ included, as lethe token new prints it." },

    Key { path: "limits.body_bytes", kind: Integer { min: 1024, max: 64 << 20 }, unit: "bytes", presence: Default("1048576"),
          meaning: "Largest request body; a larger one is answered 413 before it is read in full." },
    Key { path: "limits.header_timeout_ms", kind: Integer { min: 10, max: DAY_MS }, unit: "milliseconds", presence: Default("10000"),
          meaning: "Time for a TLS handshake, and again for the headers of a request." },
    Key { path: "limits.body_timeout_ms", kind: Integer { min: 10, max: DAY_MS }, unit: "milliseconds", presence: Default("30000"),
          meaning: "Time for a whole request body." },
    Key { path: "limits.idle_timeout_ms", kind: Integer { min: 10, max: DAY_MS }, unit: "milliseconds", presence: Default("60000"),
          meaning: "Time a kept-alive connection may be idle." },
    Key { path: "limits.request_budget_ms", kind: Integer { min: 10, max: DAY_MS }, unit: "milliseconds", presence: Default("600000"),
          meaning: "Time of one request, from its last body byte to its last answer byte; then its generation is ended." },
    Key { path: "limits.connections", kind: Integer { min: 1, max: 65_536 }, unit: "connections", presence: Default("256"),
          meaning: "Open connections; one more is closed at once." },
    Key { path: "limits.queue_requests", kind: Integer { min: 0, max: 65_536 }, unit: "requests", presence: Default("64"),
          meaning: "Requests that wait for a sequence; one more is answered 429 with Retry-After." },
    Key { path: "limits.max_tokens", kind: Integer { min: 1, max: 1 << 20 }, unit: "tokens", presence: Default("4096"),
          meaning: "Most tokens of one answer, and the number where a request names none; the context ends it too." },
    Key { path: "limits.max_temperature", kind: Number { min: 0.0, max: 10.0 }, unit: "", presence: Default("2.0"),
          meaning: "Highest temperature a request may ask for." },
    Key { path: "limits.max_stop", kind: Integer { min: 0, max: 64 }, unit: "texts", presence: Default("4"),
          meaning: "Most stop texts of a request." },
    Key { path: "limits.max_top_logprobs", kind: Integer { min: 0, max: 100 }, unit: "alternatives", presence: Default("20"),
          meaning: "Highest top_logprobs a request may ask for." },

    Key { path: "keys.epoch_seconds", kind: Integer { min: 10, max: 604_800 }, unit: "seconds", presence: Default("3600"),
          meaning: "Length of an epoch; each has keys of its own, and the next one's are published before it begins." },
    Key { path: "keys.epoch_requests", kind: Integer { min: 16, max: 1 << 22 }, unit: "requests", presence: Default("1048576"),
          meaning: "Sealed requests of an epoch (an envelope is two), each remembered in 19 to 39 bytes so that it counts once; then the next epoch \
                    begins early, at most once a minute." },
    Key { path: "keys.grace_seconds", kind: Integer { min: 0, max: 3600 }, unit: "seconds", presence: Default("300"),
          meaning: "Time after an epoch in which its keys still open requests, at most epoch_seconds; then they are wiped." },

    Key { path: "secrets.operator_keys", kind: List { item: Rule::OperatorKey, max: 8 }, unit: "", presence: Default("[]"),
          meaning: "Public keys of operators (lethe secrets keygen), each of whom may set and forget tokens and install a certificate while the \
                    appliance runs; none: nobody may." },
    Key { path: "secrets.required", kind: Switch, unit: "", presence: Default("false"),
          meaning: "Serve nobody until an operator has brought secrets; then clients.tokens and clients.enrolments may be empty here." },

    Key { path: "wires.ohttp", kind: Switch, unit: "", presence: Default("true"),
          meaning: "Serve OHTTP and chunked OHTTP at /.well-known/ohttp-gateway: method, path, headers and body are sealed, answers stream." },
    Key { path: "wires.post_quantum", kind: Switch, unit: "", presence: Default("true"),
          meaning: "Offer an X-Wing key (ML-KEM-768 with X25519) beside the X25519 key of OHTTP." },
    Key { path: "wires.ehbp", kind: Switch, unit: "", presence: Default("false"),
          meaning: "Serve EHBP on the routes with bodies, for its existing clients: its headers are clear and it marks no end, so that \
                    whoever carries an answer can cut it off unseen." },
    Key { path: "wires.envelope", kind: Switch, unit: "", presence: Default("false"),
          meaning: "Serve the envelope at /api/pubkey and /api/chat, for apps without an OHTTP library." },
    Key { path: "wires.envelope_streaming", kind: Switch, unit: "", presence: Default("true"),
          meaning: "Answer envelopes with a stream of sealed events; otherwise with one sealed body." },
    Key { path: "wires.dates", kind: Switch, unit: "", presence: Default("true"),
          meaning: "Refuse sealed requests whose date is too far from the machine's clock; an early filter only, since the clock is the \
                    host's: that a request counts once never depends on it." },
    Key { path: "wires.age_seconds", kind: Integer { min: 1, max: 3600 }, unit: "seconds", presence: Default("60"),
          meaning: "How old such a request may be." },
    Key { path: "wires.skew_seconds", kind: Integer { min: 0, max: 3600 }, unit: "seconds", presence: Default("60"),
          meaning: "How far ahead of the machine's clock such a request may be." },
    Key { path: "wires.shape", kind: Choice(&["off", "padded", "paced"]), unit: "", presence: Default("\"padded\""),
          meaning: "What sizes and times of sealed answers show: of each token, of buckets of 512 bytes and more, or of nothing but equal \
                    frames on a fixed tick. Padding alone does not hide topics; \"paced\" is for where that matters, and for streams: an answer in \
                    one piece is padded." },
    Key { path: "wires.paced_bytes", kind: Integer { min: 512, max: 16_000 }, unit: "bytes", presence: Default("2048"),
          meaning: "Size of a frame where shape = \"paced\"." },
    Key { path: "wires.paced_ms", kind: Integer { min: 5, max: 1000 }, unit: "milliseconds", presence: Default("50"),
          meaning: "Time between two frames; with the size it bounds the speed of an answer." },

    Key { path: "receipts.seconds", kind: Integer { min: 10, max: 86_400 }, unit: "seconds", presence: Default("1200"),
          meaning: "Time a receipt can be fetched, and the evidence of a past epoch with it." },
    Key { path: "receipts.count", kind: Integer { min: 16, max: 65_536 }, unit: "receipts", presence: Default("4096"),
          meaning: "Most receipts of answers that are kept, about 3 KiB each, and a sixteenth as many of refusals beside them; the oldest go first." },

    Key { path: "network.mode", kind: Choice(&["dhcp", "static"]), unit: "", presence: Default("\"dhcp\""),
          meaning: "\"dhcp\" asks the network (IPv4), \"static\" takes the address below." },
    Key { path: "network.address", kind: Text(Rule::Address), unit: "", presence: fixed(true),
          meaning: "Address of the first network device." },
    Key { path: "network.prefix_bits", kind: Integer { min: 1, max: 128 }, unit: "bits", presence: fixed(true),
          meaning: "Length of the address's prefix, at most 32 for IPv4." },
    Key { path: "network.gateway", kind: Text(Rule::Address), unit: "", presence: fixed(false),
          meaning: "Default gateway, of the same family; it may lie outside the prefix." },

    Key { path: "template.date", kind: Text(Rule::Date), unit: "", presence: Default("\"2026-01-01\""),
          meaning: "The day that a chat template sees as today; never a clock's, so that answers can be reproduced." },
];
