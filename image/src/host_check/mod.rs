//! `lethe-image host-check`: what this computer has and lacks for each kind of machine, and what to do about it.

mod facts;
mod platforms;
mod requirement;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::json;

pub use facts::Facts;
pub use platforms::requirements;
pub use requirement::{Requirement, Status, complete};

use crate::machine::description::Tee;
use crate::machine::plan::processors;
use crate::measure;

/// Exit status when something is missing.
const INCOMPLETE: u8 = 1;

/// Say what this computer has and lacks for confidential machines, and what to do about it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lethe-image host-check                       all kinds of machines
  lethe-image host-check sev-snp --json        one kind, for programs
  lethe-image host-check sev-snp --firmware OVMF.amdsev.fd --cpus 4 --config lethe.toml
                                               and the measurement to expect of the machine

Exit status: 0 nothing is known to be missing (of one kind at least), 1 something is, 2 wrong command line.
Firmware settings show only through what Linux makes of them; what cannot be seen is `unknown`.")]
pub struct Args {
    /// Kind of machine [default: all]
    #[arg(value_enum)]
    pub tee: Option<Kind>,
    /// Firmware of the machine, to compute its measurement
    #[arg(long, value_name = "FILE", requires = "tee")]
    pub firmware: Option<PathBuf>,
    /// Image of the machine
    #[arg(long, value_name = "FILE", default_value = "out/lethe.efi", requires = "firmware")]
    pub image: PathBuf,
    /// Its deployment document
    #[arg(long, value_name = "FILE", requires = "firmware")]
    pub config: Option<PathBuf>,
    /// Its processors [default: as many as this computer has, as `boot` does]
    #[arg(long, value_name = "N", requires = "firmware", value_parser = clap::value_parser!(u32).range(1..=255))]
    pub cpus: Option<u32>,
    /// QEMU's name of its processor, measured on SEV-SNP
    #[arg(long, value_name = "NAME", default_value = "EPYC-v4", requires = "firmware")]
    pub cpu_model: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Kinds of machines that need something of their host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// AMD SEV-SNP
    SevSnp,
    /// Intel TDX
    Tdx,
    /// An emulated TPM 2.0
    Tpm2,
}

impl From<Kind> for Tee {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::SevSnp => Self::SevSnp,
            Kind::Tdx => Self::Tdx,
            Kind::Tpm2 => Self::Tpm2,
        }
    }
}

/// Prints the report.
///
/// # Errors
/// If a measurement is asked for and cannot be computed.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let facts = Facts::gather();
    let kinds = args.tee.map_or_else(|| Kind::value_variants().to_vec(), |kind| vec![kind]);
    let reports: Vec<_> = kinds.iter().map(|kind| (Tee::from(*kind), requirements((*kind).into(), &facts))).collect();
    let measured = match (&args.firmware, args.tee) {
        (Some(_), Some(kind)) => Some(measure_command(args, kind)),
        _ => None,
    };
    let measurement = measured.as_deref().map(measure::of_words).transpose()?;
    if args.json {
        println!("{:#}", as_json(&reports, measurement.as_deref()));
    } else {
        print!("{}", as_text(&reports));
        if let (Some(words), Some(measurement)) = (&measured, &measurement) {
            print!("\n$ lethe-image measure {}\n{measurement}", words.join(" "));
        }
    }
    let any = reports.iter().any(|(_, requirements)| complete(requirements));
    Ok(if any { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) })
}

/// The words after `lethe-image measure` for the machine that `boot` would start.
fn measure_command(args: &Args, kind: Kind) -> Vec<String> {
    let path = |path: &PathBuf| path.display().to_string();
    let firmware = args.firmware.as_ref().map(path).unwrap_or_default();
    let image = path(&args.image);
    let mut words: Vec<String> = match kind {
        Kind::SevSnp => {
            let cpus = args.cpus.unwrap_or_else(processors).to_string();
            let words =
                ["sev-snp", "--firmware", &firmware, "--kernel", &image, "--vcpus", &cpus, "--cpu", &args.cpu_model];
            words.map(str::to_owned).to_vec()
        }
        Kind::Tdx => ["tdx", "--firmware", &firmware, "--efi", &image].map(str::to_owned).to_vec(),
        Kind::Tpm2 => ["tpm2", "--firmware", &firmware, "--efi", &image].map(str::to_owned).to_vec(),
    };
    if let Some(config) = &args.config {
        words.extend(["--config".to_owned(), path(config)]);
    }
    if args.json {
        words.push("--json".to_owned());
    }
    words
}

fn as_text(reports: &[(Tee, Vec<Requirement>)]) -> String {
    let mut text = String::new();
    for (tee, requirements) in reports {
        if !text.is_empty() {
            text.push('\n');
        }
        let verdict = if complete(requirements) { "nothing is known to be missing" } else { "not here" };
        text.push_str(&format!("{}: {verdict}\n", tee.as_str()));
        for Requirement { what, status, found, advice } in requirements {
            let mark = match status {
                Status::Ok => "ok     ",
                Status::Missing => "MISSING",
                Status::Unknown => "unknown",
            };
            text.push_str(&format!("  {mark}  {what}: {found}\n"));
            if *status != Status::Ok {
                text.push_str(&format!("           {advice}\n"));
            }
        }
    }
    text
}

fn as_json(reports: &[(Tee, Vec<Requirement>)], measurement: Option<&str>) -> serde_json::Value {
    let platforms: serde_json::Map<_, _> = reports
        .iter()
        .map(|(tee, requirements)| {
            let report = json!({ "complete": complete(requirements), "requirements": requirements });
            (tee.as_str().to_owned(), report)
        })
        .collect();
    let mut all = json!({ "platforms": platforms });
    if let (Some(members), Some(text)) = (all.as_object_mut(), measurement) {
        let parsed = serde_json::from_str(text).unwrap_or_else(|_| text.into());
        members.insert("measurement".to_owned(), parsed);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_to_do_about_what_is_missing_and_nothing_about_the_rest() {
        let list = vec![
            Requirement::new("a thing", Some(true), "there", "never shown"),
            Requirement::new("another", Some(false), "nowhere", "buy it"),
        ];
        let text = as_text(&[(Tee::SevSnp, list.clone())]);
        assert_eq!(
            text,
            "sev-snp: not here\n  ok       a thing: there\n  MISSING  another: nowhere\n           buy it\n"
        );
        let json = as_json(&[(Tee::SevSnp, list)], Some("{\"launch_digest\": \"00\"}"));
        assert_eq!(json["platforms"]["sev-snp"]["requirements"][1]["status"], "missing");
        assert_eq!(json["measurement"]["launch_digest"], "00");
    }

    #[test]
    fn the_measurement_is_that_of_the_machine_that_would_start() {
        let args = Args {
            tee: Some(Kind::SevSnp),
            firmware: Some("fw".into()),
            image: "image".into(),
            config: Some("c".into()),
            cpus: Some(3),
            cpu_model: "EPYC-Milan".to_owned(),
            json: false,
        };
        let words = measure_command(&args, Kind::SevSnp).join(" ");
        assert_eq!(words, "sev-snp --firmware fw --kernel image --vcpus 3 --cpu EPYC-Milan --config c");
        assert_eq!(measure_command(&args, Kind::Tdx).join(" "), "tdx --firmware fw --efi image --config c");
    }
}
