//! `lethe receipt verify`: which machine gave exactly this answer to exactly this request.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use evidence::Time;
use protocol::{
    Sha256Digest,
    receipt::{
        self, ReceiptError,
        event::{Launch, Model, Place, Usage},
    },
};
use serde_json::{Map, Value, json};

use super::{
    check::time,
    files,
    look::Look,
    report::{Report, verdict_line},
    speak, trust,
    trust::TrustArguments,
};
use crate::{
    appliance::now,
    attestation::{Bundle, Examination, Outcome, Subject, Verified, examine, parse, pinned_model},
    error::{Error, Refusal, UsageError},
    receipts::ReceiptFault,
    terminal,
};

/// `lethe receipt …`
#[derive(Debug, Subcommand)]
pub enum ReceiptCommand {
    /// Say what a receipt proves about a request and its answer
    #[command(after_help = "\
Six labels are those of `lethe verify --bundle`; six more are about the receipt: signature, request,
answer, launch, weights, epoch. Exit status 0 if nothing is refused, 3 otherwise.

Example, with the files that `lethe chat --save DIR` writes:
  lethe receipt verify DIR/rcpt-0123.receipt --bundle DIR/keyset-4567.bundle \\
    --request DIR/rcpt-0123.request --response DIR/rcpt-0123.response --measurements 0.2.0.note --release-key …")]
    Verify(ReceiptVerifyArguments),
}

/// `lethe receipt verify`
#[derive(Debug, Args)]
pub struct ReceiptVerifyArguments {
    /// The receipt
    pub receipt: PathBuf,

    /// The report about the keyset of the receipt, as `lethe verify --save` and `--save` of chat and proxy write it
    #[arg(long, value_name = "FILE")]
    pub bundle: PathBuf,

    /// The body of the request, byte for byte
    #[arg(long, value_name = "FILE")]
    pub request: PathBuf,

    /// The body of the answer, byte for byte
    #[arg(long, value_name = "FILE")]
    pub response: PathBuf,

    /// What is trusted.
    #[command(flatten)]
    pub trust: TrustArguments,

    /// Time at which the report is judged, for example 2026-11-21T00:00:00Z; without it, now
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub at: Option<Time>,

    /// Print the labels as JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// The refusal, or why a file is not read.
pub fn run(command: ReceiptCommand) -> Result<(), Error> {
    match command {
        ReceiptCommand::Verify(arguments) => verify(&arguments),
    }
}

fn verify(arguments: &ReceiptVerifyArguments) -> Result<(), Error> {
    let name = arguments.bundle.display().to_string();
    let not_a_bundle = |source| UsageError::Bundle { path: name.clone(), source };
    let bundle = Bundle::parse(&files::read(&arguments.bundle)?).map_err(not_a_bundle)?;
    let (trust, given) = trust::load(&arguments.trust)?;
    let expected = bundle.expectation(None, None, arguments.at.unwrap_or_else(now)).map_err(not_a_bundle)?;
    let document = files::read(&arguments.receipt)?;
    let request = Sha256Digest::of(&files::read_long(&arguments.request)?);
    let response = Sha256Digest::of(&files::read_long(&arguments.response)?);

    let examination = examine(bundle.report(), &expected, &trust, &given.or(bundle.endorsements()));
    let report = Report::of(name.clone(), &trust.policy_name, &examination, &expected);
    let findings = Findings::of(&document, &examination, bundle.report(), request, response);
    let verdict = findings.verdict(&examination);
    if arguments.json {
        speak::answer_json(&findings.json(&report, verdict.as_ref().err()))?;
    } else {
        speak::answer_bytes(findings.text(&report, verdict.as_ref().err(), Look::of_output()).as_bytes())?;
    }
    verdict.map_err(Error::from)
}

/// One finding about a receipt.
struct Finding {
    name: &'static str,
    outcome: Outcome,
    reason: String,
}

/// Everything found about a receipt, whatever the verdict.
struct Findings {
    list: Vec<Finding>,
    refusal: Option<ReceiptFault>,
    facts: Map<String, Value>,
}

impl Findings {
    fn of(
        document: &[u8],
        examination: &Examination,
        report: &[u8],
        request: Sha256Digest,
        response: Sha256Digest,
    ) -> Self {
        let mut findings = Self { list: Vec::new(), refusal: None, facts: Map::new() };
        let Ok(read) = parse(report) else {
            findings.refuse("signature", ReceiptError::Keyset.into());
            return findings;
        };
        let checked = match receipt::Verified::check(document, &read.attestation.workload_keyset) {
            Ok(checked) => checked,
            Err(error) => {
                findings.refuse("signature", error.into());
                return findings;
            }
        };
        let proven = examination.verdict.as_ref().is_ok_and(Verified::is_proven_by_hardware);
        let signed = "signed by a receipt key of the report's keyset";
        if proven {
            findings.accept("signature", format!("{signed}, which the hardware vouches for"));
        } else {
            findings.leave("signature", format!("{signed}, which nothing vouches for"));
        }
        findings.exchange(&checked, request, response);
        findings.launch(&checked, examination);
        findings.weights(&checked, examination, report);
        findings.epoch(&checked);
        findings.note(&checked);
        findings
    }

    fn accept(&mut self, name: &'static str, reason: String) {
        self.list.push(Finding { name, outcome: Outcome::Accepted, reason });
    }

    fn leave(&mut self, name: &'static str, reason: String) {
        self.list.push(Finding { name, outcome: Outcome::NotProven, reason });
    }

    fn refuse(&mut self, name: &'static str, fault: ReceiptFault) {
        self.refuse_because(name, fault, fault.to_string());
    }

    fn refuse_because(&mut self, name: &'static str, fault: ReceiptFault, reason: String) {
        self.list.push(Finding { name, outcome: Outcome::Refused, reason });
        self.refusal.get_or_insert(fault);
    }

    /// Whether the receipt is of these bytes: each is looked at for itself.
    fn exchange(&mut self, checked: &receipt::Verified, request: Sha256Digest, response: Sha256Digest) {
        let (asked, answered) = match checked.check_exchange(request, response) {
            Ok(()) => (true, true),
            Err(ReceiptError::OtherResponse) => (true, false),
            Err(_) => (false, checked.response() == Some(response)),
        };
        for (name, holds, digest, fault) in [
            ("request", asked, request, ReceiptError::OtherRequest),
            ("answer", answered, response, ReceiptError::OtherResponse),
        ] {
            if holds {
                self.accept(name, format!("the receipt is of exactly these bytes, {digest}"));
            } else {
                self.refuse(name, fault.into());
            }
        }
    }

    /// Whether the machine that signed says it was launched as the evidence says.
    fn launch(&mut self, checked: &receipt::Verified, examination: &Examination) {
        let launch = match checked.event::<Launch>() {
            Ok(Some(launch)) => launch,
            Ok(None) => return self.leave("launch", "the receipt does not say which launch it is of".to_owned()),
            Err(error) => return self.refuse("launch", error.into()),
        };
        if Some(launch.tee_type.as_str()) != examination.platform {
            return self.refuse("launch", ReceiptFault::OtherPlatform);
        }
        match (&launch.measurement, measured(&examination.claims)) {
            (Some(stated), Some(measured)) if *stated == measured => {
                self.accept("launch", format!("measurement {stated}, as the hardware says"));
            }
            (Some(stated), Some(measured)) => {
                let reason = format!("the receipt says measurement {}, the hardware {measured}", short(stated));
                self.refuse_because("launch", ReceiptFault::OtherLaunch, reason);
            }
            _ => self.leave("launch", "no authentic evidence says what was launched".to_owned()),
        }
    }

    /// Whether the weights are those that the document pins.
    fn weights(&mut self, checked: &receipt::Verified, examination: &Examination, report: &[u8]) {
        let model = match checked.event::<Model>() {
            Ok(Some(model)) => model,
            Ok(None) => return self.leave("weights", "the receipt names no model: nothing was generated".to_owned()),
            Err(error) => return self.refuse("weights", error.into()),
        };
        let (name, digest) = (terminal::one_line(&model.name, 80), model.gguf_sha256);
        match pinned_model(report) {
            Some(pinned) if pinned != digest.0 => {
                let reason = format!("the receipt says {name}, {digest}, and the document pins another model");
                self.refuse_because("weights", ReceiptFault::OtherModel, reason);
            }
            Some(_) if examination.labels.outcome(Subject::Model) == Some(Outcome::Accepted) => {
                self.accept("weights", format!("{name}, {digest}: the model that the document pins"));
            }
            Some(_) => self.leave("weights", format!("{name}, {digest}: as the document says, which is not proven")),
            None => self.leave("weights", format!("{name}, {digest}: the report has no document to compare with")),
        }
    }

    /// Whether a proven key signed the receipt.
    fn is_signed(&self) -> bool {
        self.list.iter().any(|finding| finding.name == "signature" && finding.outcome == Outcome::Accepted)
    }

    fn epoch(&mut self, checked: &receipt::Verified) {
        match (checked.event::<Launch>(), checked.event::<Place>()) {
            (Ok(Some(launch)), Ok(place)) => {
                let place = place.map_or_else(
                    || "of a sender without a token: no chain".to_owned(),
                    |place| format!("receipt {} of its sender in this epoch", place.counter),
                );
                let boot = short(&launch.boot_id);
                let reason = format!("the report's keyset: epoch {} of boot {boot}; {place}", launch.epoch);
                if self.is_signed() { self.accept("epoch", reason) } else { self.leave("epoch", reason) }
            }
            (Ok(None), Ok(_)) => self.leave("epoch", "the receipt does not say which epoch it is of".to_owned()),
            (Err(error), _) | (_, Err(error)) => self.refuse("epoch", error.into()),
        }
    }

    /// What the receipt says besides.
    fn note(&mut self, checked: &receipt::Verified) {
        let head = checked.head();
        let usage = checked.event::<Usage>().ok().flatten();
        let mut put = |name: &str, value: Value| drop(self.facts.insert(name.to_owned(), value));
        put("receipt_id", head.receipt_id.clone().into());
        put("chat_id", head.chat_id.clone().into());
        put("endpoint", format!("{} {}", head.method, head.endpoint).into());
        put("served_at", Time::from_unix(i64::try_from(head.served_at).unwrap_or(i64::MAX)).to_string().into());
        put("inference", checked.forwarded().is_some().into());
        put("usage", usage.map_or(Value::Null, |usage| json!(usage)));
        put("digest", checked.digest().to_string().into());
    }

    fn verdict(&self, examination: &Examination) -> Result<(), Refusal> {
        examination.verdict.as_ref().map_err(Clone::clone)?;
        self.refusal.map_or(Ok(()), |fault| Err(Refusal::Receipt(fault)))
    }

    fn json(&self, report: &Report, refusal: Option<&Refusal>) -> Value {
        let label =
            |finding: &Finding| json!({"subject": finding.name, "outcome": finding.outcome, "reason": finding.reason});
        let labels: Vec<Value> = self.list.iter().map(label).collect();
        json!({
            "verdict": if refusal.is_none() { "accepted" } else { "refused" },
            "reason": refusal.map(ToString::to_string),
            "receipt": {"labels": labels, "facts": self.facts},
            "bundle": report.json(),
        })
    }

    fn text(&self, report: &Report, refusal: Option<&Refusal>, look: Look) -> String {
        let mut lines = report.text_without_verdict(look);
        lines.extend(self.list.iter().map(|Finding { name, outcome, reason }| look.label(name, *outcome, reason)));
        lines.push('\n');
        for (name, value) in &self.facts {
            let value = value.as_str().map_or_else(|| value.to_string(), |text| terminal::one_line(text, 200));
            lines += &look.fact(name, &value);
        }
        lines + &verdict_line(look, refusal.is_none())
    }
}

/// What the hardware measured of the launch: of the evidence's claims, the one that receipts repeat.
fn measured(claims: &Map<String, Value>) -> Option<String> {
    let claim = claims
        .get("measurement")
        .or_else(|| claims.get("mrtd"))
        .or_else(|| claims.get("pcrs").and_then(|banks| banks.get("sha256")?.get("4")));
    claim?.as_str().map(str::to_owned)
}

fn short(text: &str) -> String {
    terminal::one_line(text, 100)
}
