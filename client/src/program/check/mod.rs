//! `lethe check`: captured evidence, judged without a network.

mod arguments;
mod platforms;
mod text;

use evidence::{Expected, Time, Verdict};

use arguments::Conditions;
pub use arguments::{CheckCommand, FirmwareKind, time};

use super::speak;
use crate::{
    appliance::now,
    error::{Error, Refusal, UsageError},
};

/// A verdict and what it is about.
struct Judgement {
    /// The command's name.
    platform: &'static str,
    /// Which policy, where one is asked.
    policy: Option<String>,
    at: Time,
    verdict: Verdict,
}

/// Checks, and prints the verdict.
///
/// # Errors
/// [`Refusal::Evidence`] for evidence that does not hold; [`UsageError`] for files that cannot be read.
pub fn run(command: CheckCommand) -> Result<(), Error> {
    match command {
        CheckCommand::SevSnp(arguments) => platforms::sev_snp(&arguments),
        CheckCommand::Tdx(arguments) => platforms::tdx(&arguments),
        CheckCommand::Tpm2(arguments) => platforms::tpm2(&arguments),
        CheckCommand::Azure(arguments) => platforms::azure(&arguments),
        CheckCommand::Nvidia(arguments) => platforms::nvidia(&arguments),
    }
}

/// Prints a verdict; a refusal becomes the error that decides the exit status.
fn answer(judgement: Judgement, json: bool) -> Result<(), Error> {
    if json {
        speak::answer_json(&judgement.verdict.to_json())?;
    } else {
        speak::answer(&text::report(&judgement))?;
    }
    match judgement.verdict {
        Verdict::Accepted { .. } => Ok(()),
        Verdict::Refused(refusal) => Err(Refusal::Evidence(refusal).into()),
    }
}

impl Conditions {
    /// The time given, or this machine's.
    fn time(&self) -> Time {
        self.at.unwrap_or_else(now)
    }

    fn expected(&self) -> Result<Expected, UsageError> {
        let add = |expected: Expected, text: &String| expected.with_text(text);
        self.expect.iter().try_fold(Expected::nothing(), add).map_err(UsageError::Expectation)
    }
}
