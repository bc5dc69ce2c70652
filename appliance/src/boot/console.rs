//! The console: every line the appliance prints, as types. What has no type here cannot be printed.
//!
//! `lethe-image boot` and the boot tests read these lines; docs/operations.md lists them.

use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::Refused;

/// The steps of a boot, in order. In host mode those without meaning there are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Output works.
    Console,
    /// The kernel's file systems are there.
    Mounts,
    /// The kind of machine is known.
    Platform,
    /// The deployment document is found, hashed and parsed.
    Document,
    /// Memory stays in RAM and leaves no core.
    Memory,
    /// This boot's keys are made.
    Keys,
    /// The model is copied, hashed, checked, loaded.
    Model,
    /// The network device has its address.
    Network,
    /// The statement about keys and machine is made.
    Evidence,
    /// The process gave up what serving does not need.
    Lockdown,
    /// The port is open.
    Serving,
}

impl Stage {
    /// Name on the console.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::Mounts => "mounts",
            Self::Platform => "platform",
            Self::Document => "document",
            Self::Memory => "memory",
            Self::Keys => "keys",
            Self::Model => "model",
            Self::Network => "network",
            Self::Evidence => "evidence",
            Self::Lockdown => "lockdown",
            Self::Serving => "serving",
        }
    }
}

/// One `key=value` behind a stage. Each kind of value is listed: there is none for text of a client.
#[derive(Debug, Clone, Copy)]
pub enum Fact<'a> {
    /// What the machine is: `none`, `sev-snp`, `tdx`, `tpm2`.
    Platform(&'a str),
    /// Where the document came from: `fw_cfg`, `disk`, `image`, `file`.
    Source(&'a str),
    /// What ties it to the machine: `host-data`, `mrconfigid`, `pcr12`, `image`, `none`.
    Binding(&'a str),
    /// SHA-256 of the document's bytes.
    Sha256(&'a [u8; 32]),
    /// Bytes that are copied, and how many there are.
    Copied {
        /// So far.
        copied: u64,
        /// In all.
        of: u64,
    },
    /// Architecture of the model, as its checked header says.
    Architecture(&'a str),
    /// The compilation of ggml that computes: `baseline`, `avx2`, `avx512`.
    Kernels(&'a str),
    /// An address of the machine.
    Address(IpAddr),
    /// How many of something there are: mounts, rules.
    Count(&'static str, usize),
    /// A part of the stage with its duration.
    Took(&'static str, Duration),
    /// Something that is off and should be on.
    Missing(&'static str),
    /// Whether the machine has a secret to seal with.
    Seals(bool),
}

impl fmt::Display for Fact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform(name) => write!(f, "platform={name}"),
            Self::Source(name) => write!(f, "source={name}"),
            Self::Binding(name) => write!(f, "binding={name}"),
            Self::Sha256(digest) => write!(f, "sha256={}", hex::encode(digest)),
            Self::Copied { copied, of } => write!(f, "copied={copied} of={of}"),
            // A header's text is the model publisher's: shown as far as it is a plain name.
            Self::Architecture(name) => {
                write!(f, "architecture=")?;
                name.chars()
                    .filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
                    .take(32)
                    .try_for_each(|c| write!(f, "{c}"))
            }
            Self::Kernels(name) => write!(f, "kernels={name}"),
            Self::Address(address) => write!(f, "address={address}"),
            Self::Count(name, count) => write!(f, "{name}={count}"),
            Self::Took(name, time) => write!(f, "{name}_ms={}", time.as_millis()),
            Self::Missing(name) => write!(f, "missing={name}"),
            Self::Seals(seals) => write!(f, "seals={}", if *seals { "yes" } else { "no" }),
        }
    }
}

/// Where lines go, and since when the milliseconds behind them count.
///
/// Only [`attach`] makes one, so holding it proves that output works.
#[derive(Debug, Clone, Copy)]
pub struct Console {
    /// Reading of the boot clock that is called zero.
    zero: Duration,
}

/// As PID 1: the kernel opened /dev/console for standard input, output and error. Milliseconds count from boot.
///
/// # Errors
/// If it did not (no console device, or no node for it in the initramfs): nothing could be reported, so nothing may run.
pub fn attach() -> io::Result<Console> {
    let console = Console { zero: Duration::ZERO };
    console.line(format_args!("stage {} ms={}", Stage::Console.name(), console.milliseconds()))?;
    Ok(console)
}

/// In host mode: standard error, which the caller owns. Milliseconds count from now.
#[must_use]
pub fn of_process() -> Console {
    Console { zero: since_boot() }
}

impl Console {
    /// A stage is done.
    pub fn stage(&self, stage: Stage, facts: &[Fact<'_>]) {
        self.try_line(format_args!("stage {}{} ms={}", stage.name(), Facts(facts), self.milliseconds()));
    }

    /// A stage goes on: the same line, without the time that marks its end.
    pub fn progress(&self, stage: Stage, facts: &[Fact<'_>]) {
        self.try_line(format_args!("stage {}{}", stage.name(), Facts(facts)));
    }

    /// The digest of the TLS key's SubjectPublicKeyInfo, which a client can pin.
    pub fn spki(&self, digest: &[u8; 32]) {
        self.try_line(format_args!("spki sha256:{}", hex::encode(digest)));
    }

    /// The port is open.
    pub fn ready(&self, port: u16) {
        self.try_line(format_args!("ready port={port} ms={}", self.milliseconds()));
    }

    /// The UNIX socket is open (host mode).
    pub fn ready_unix(&self) {
        self.try_line(format_args!("ready port=unix ms={}", self.milliseconds()));
    }

    /// Nothing will be served, and why.
    pub fn refused(&self, refused: &Refused) {
        self.try_line(format_args!("refused: {refused}"));
    }

    /// The machine could have a secret to seal with and has none, and why.
    pub fn cannot_seal(&self, reason: &Refused) {
        self.try_line(format_args!("warning: this machine cannot seal secrets: {}", reason.reason()));
    }

    /// A warning of host mode that is part of its contract with the user; fixed text only.
    pub fn warning(&self, text: &'static str) {
        self.try_line(format_args!("warning: {text}"));
    }

    /// Something worth a line happened while serving.
    pub fn event(&self, event: Event) {
        self.try_line(format_args!("event {}", event.name()));
    }

    /// Milliseconds since boot, or since the start in host mode.
    #[must_use]
    pub fn milliseconds(&self) -> u128 {
        since_boot().saturating_sub(self.zero).as_millis()
    }

    /// A console that takes no more lines is no reason to stop an appliance that serves.
    fn try_line(&self, line: fmt::Arguments<'_>) {
        let _ = self.line(line);
    }

    /// One write a line, so that lines of two threads do not mix.
    fn line(&self, line: fmt::Arguments<'_>) -> io::Result<()> {
        io::stderr().lock().write_all(format!("lethe: {line}\n").as_bytes())
    }
}

/// What may be reported while serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The network's lease ended or names another address; the machine restarts.
    LeaseLost,
    /// Work waited and the engine did not move; the process ends.
    EngineStalled,
    /// The engine failed for good; the process ends.
    EngineFailed,
    /// A signal asked the process to end (host mode).
    Ending,
    /// The server ended (host mode).
    Ended,
}

impl Event {
    fn name(self) -> &'static str {
        match self {
            Self::LeaseLost => "network-lease-lost",
            Self::EngineStalled => "engine-stalled",
            Self::EngineFailed => "engine-failed",
            Self::Ending => "ending",
            Self::Ended => "ended",
        }
    }
}

struct Facts<'a>(&'a [Fact<'a>]);

impl fmt::Display for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|fact| write!(f, " {fact}"))
    }
}

/// The boot clock, which counts from power-on in a virtual machine. It orders lines; no decision rests on it.
fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_read_as_the_boot_tools_expect() {
        let digest = [0xAB; 32];
        let facts = [
            Fact::Source("fw_cfg"),
            Fact::Sha256(&digest),
            Fact::Copied { copied: 1, of: 2 },
            Fact::Took("hash", Duration::from_millis(12)),
            Fact::Seals(true),
        ];
        assert_eq!(
            Facts(&facts).to_string(),
            format!(" source=fw_cfg sha256={} copied=1 of=2 hash_ms=12 seals=yes", "ab".repeat(32))
        );
    }

    #[test]
    fn an_architecture_name_cannot_forge_a_line() {
        assert_eq!(Fact::Architecture("llama\nlethe: ready").to_string(), "architecture=llamaletheready");
        assert_eq!(Fact::Architecture(&"a".repeat(500)).to_string().len(), "architecture=".len() + 32);
    }
}
