//! `lethe-image events`: a firmware's event log, explained and replayed.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;
use measurements::event_log::{Algorithm, Event, Format, Log, Proof, Registers, explain, proof};
use serde_json::{Map, Value, json};

use super::{inputs, output};
use crate::report::advise;

const HELP: &str = "\
Examples:
  lethe-image events /sys/kernel/security/tpm0/binary_bios_measurements
  lethe-image events /sys/firmware/acpi/tables/data/CCEL
  lethe-image events eventlog.bin --json | jq '.replay.sha256[\"PCR 4\"]'

Each line has the register, the kind, the start of the digest and what the event says. The mark in front of that says what
the digest proves: = the text, v the value of the variable, ~ nothing of it (the digest is that of a file, the text a note).
A log proves nothing by itself: the registers at the end have to equal those of a quote.";

/// Explain and replay the event log of a TPM or a TDX guest
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The log: TCG 1.2, crypto-agile, or CCEL
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What the register numbers mean; without it a log of SHA-384 alone is one of TDX
    #[arg(long, value_enum)]
    registers: Option<RegisterNames>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RegisterNames {
    /// PCRs of a TPM
    Pcr,
    /// MRTD and RTMRs of TDX
    Rtmr,
}

/// Prints the log.
///
/// # Errors
/// If the file cannot be read, or is no log from its first to its last byte.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let bytes = inputs::small("event log", &args.file)?;
    let log = Log::parse(&bytes).with_context(|| {
        advise(
            format!("{} cannot be read as an event log", args.file.display()),
            "give the whole binary log: binary_bios_measurements of a TPM, or the CCEL data of a TDX guest",
        )
    })?;
    let names = match args.registers {
        None => log.registers(),
        Some(RegisterNames::Pcr) => Registers::Pcr,
        Some(RegisterNames::Rtmr) => Registers::Rtmr,
    };
    print!("{}", if args.json { json(&log, names) } else { text(&log, names) });
    Ok(())
}

fn text(log: &Log<'_>, names: Registers) -> String {
    let mut text: String = log.events.iter().map(|event| line(event, names)).collect();
    for algorithm in &log.algorithms {
        for register in log.replay(*algorithm) {
            let (name, value) = (names.name(register.index), hex::encode(register.value));
            text.push_str(&format!("{name:7} {algorithm} {value}  after {} event(s)\n", register.events));
        }
    }
    text
}

fn line(event: &Event<'_>, names: Registers) -> String {
    let mark = match proof(event) {
        Proof::Data => '=',
        Proof::Value => 'v',
        Proof::Nothing => '~',
    };
    // The last algorithm of a log is its strongest.
    let digest = event.digests.last().map(|digest| digest.bytes.get(..8).unwrap_or(digest.bytes)).unwrap_or_default();
    let kind = event.kind.to_string();
    let name = names.name(event.register);
    format!("{name:7} {kind:33} {} {mark} {}\n", hex::encode(digest), explain(event))
}

fn json(log: &Log<'_>, names: Registers) -> String {
    let format = match log.format {
        Format::Sha1 => "sha1",
        Format::CryptoAgile => "crypto-agile",
    };
    let replay: Map<_, _> = log.algorithms.iter().map(|one| (one.to_string(), replayed(log, *one, names))).collect();
    output::document([
        ("format", format.into()),
        ("algorithms", log.algorithms.iter().map(Algorithm::to_string).collect()),
        ("events", log.events.iter().map(|event| event_json(event, names)).collect()),
        ("replay", Value::Object(replay)),
    ])
}

fn replayed(log: &Log<'_>, algorithm: Algorithm, names: Registers) -> Value {
    let registers = log.replay(algorithm).into_iter();
    registers.map(|register| (names.name(register.index), Value::from(hex::encode(register.value)))).collect()
}

fn event_json(event: &Event<'_>, names: Registers) -> Value {
    let digests: Map<_, _> = (event.digests.iter())
        .map(|digest| (digest.algorithm.to_string(), Value::from(hex::encode(digest.bytes))))
        .collect();
    let proven = match proof(event) {
        Proof::Data => "data",
        Proof::Value => "value",
        Proof::Nothing => "nothing",
    };
    json!({
        "offset": event.offset,
        "register": names.name(event.register),
        "type": event.kind.to_string(),
        "digests": digests,
        "explanation": explain(event),
        "proven": proven,
    })
}
