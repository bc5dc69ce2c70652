//! `lethe collateral`: what vendors say about a platform, fetched into files, for operators and for machines without a
//! network.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{files, speak};
use crate::{
    attestation::Endorsements,
    collateral::{CollateralError, Library},
    error::{Error, UsageError},
};

/// `lethe collateral …`
#[derive(Debug, Subcommand)]
pub enum CollateralCommand {
    /// Fetch AMD's certificate for a report, and the revocation list
    #[command(after_help = "\
Writes vek.der and crl.der, for `lethe verify --vek … --crl …` and `lethe check sev-snp`, and both in endorsements.json, for
`lethe-image boot|disk --endorsements …`: the machine then hands them on to its clients. A VLEK certificate comes from the cloud
that loaded it, and not from AMD.

Example: lethe collateral sev-snp --report report.bin --out collateral")]
    SevSnp(SevSnpArguments),
    /// Fetch Intel's collateral for a quote
    #[command(after_help = "\
Writes collateral.json, for `lethe verify --collateral …` and `lethe check tdx`, and endorsements.json, for
`lethe-image boot|disk --endorsements …`: the machine then hands it on to its clients.

Example: lethe collateral tdx --quote quote.bin --out collateral")]
    Tdx(TdxArguments),
}

/// `lethe collateral sev-snp`
#[derive(Debug, Args)]
pub struct SevSnpArguments {
    /// A report of the platform
    #[arg(long, value_name = "FILE")]
    report: PathBuf,
    /// Directory for the files; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// `lethe collateral tdx`
#[derive(Debug, Args)]
pub struct TdxArguments {
    /// A quote of the platform
    #[arg(long, value_name = "FILE")]
    quote: PathBuf,
    /// Directory for the files; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Fetches, and writes what came.
///
/// # Errors
/// [`UsageError`] for files; why something could not be fetched, after the rest was written.
pub async fn run(command: CollateralCommand) -> Result<(), Error> {
    let library = Library::of_user(true)?;
    let mut problems = Vec::new();
    let given = Endorsements::default();
    let (found, out) = match &command {
        CollateralCommand::SevSnp(arguments) => {
            let report = files::read(&arguments.report)?;
            (library.sev_snp(&report, given, false, &mut problems).await, &arguments.out)
        }
        CollateralCommand::Tdx(arguments) => {
            let quote = files::read(&arguments.quote)?;
            (library.tdx(&quote, given, &mut problems).await, &arguments.out)
        }
    };
    write(&found, out)?;
    report(problems)
}

fn write(found: &Endorsements, directory: &Path) -> Result<(), Error> {
    let failed = |source| UsageError::File { what: "create", path: directory.display().to_string(), source };
    std::fs::create_dir_all(directory).map_err(failed)?;
    let found_any = *found != Endorsements::default();
    let (crl, all) = (found.crls.first().cloned(), found_any.then(|| found.to_json().into_bytes()));
    for (name, bytes) in
        [("vek.der", &found.vek), ("collateral.json", &found.tdx), ("crl.der", &crl), ("endorsements.json", &all)]
    {
        if let Some(bytes) = bytes {
            let path = directory.join(name);
            files::write(&path, bytes)?;
            speak::answer(&format!("{}\n", path.display()))?;
        }
    }
    Ok(())
}

/// The first problem is the error; the others are said.
fn report(problems: Vec<CollateralError>) -> Result<(), Error> {
    let mut problems = problems.into_iter();
    let Some(first) = problems.next() else { return Ok(()) };
    for problem in problems {
        speak::error(&problem.into(), None);
    }
    Err(first.into())
}
