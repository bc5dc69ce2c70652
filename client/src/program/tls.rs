//! `lethe tls …`

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use deployment::Rule;
use protocol::secrets::Change;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use zeroize::Zeroizing;

use super::{
    arguments::ApplianceArguments,
    files,
    secrets::{self, OperatorArguments},
    session, speak,
};
use crate::{
    appliance::Appliance,
    error::{Error, Refusal, UsageError},
    operator,
    pin::SpkiPin,
    tls::PinMismatch,
};

/// The secret that a chain of certificates is.
const CHAIN: &str = "TLS_CHAIN";

/// `lethe tls …`
#[derive(Debug, Subcommand)]
pub enum TlsCommand {
    /// Draw a request for a certificate of the attested TLS key, which never leaves the appliance
    #[command(after_help = "\
The request is for the names in the document's listen.names, or those of --name.

Example: lethe tls csr https://lethe.example:8443 --measurements 0.2.0.note --release-key '…' --out lethe.csr")]
    Csr(CsrArguments),
    /// Install the certificate that an authority made of it, without a restart
    #[command(after_help = "\
The chain is PEM, the appliance's certificate first. New connections are shown it at once; pins hold, because
the key is the same. It ends with the boot, as the key does. `lethe secrets unset … TLS_CHAIN` takes it back.

Example: lethe tls install https://lethe.example:8443 --operator-key operator.key --chain lethe.pem")]
    Install(InstallArguments),
}

/// `lethe tls csr`
#[derive(Debug, Args)]
pub struct CsrArguments {
    /// The appliance.
    #[command(flatten)]
    pub appliance: ApplianceArguments,
    /// DNS name or IP address for the certificate, instead of the document's. Repeatable
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    /// Where the request goes; without it, standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `lethe tls install`
#[derive(Debug, Args)]
pub struct InstallArguments {
    /// Appliance and key.
    #[command(flatten)]
    pub operator: OperatorArguments,
    /// The chain of certificates, PEM
    #[arg(long, value_name = "FILE")]
    pub chain: PathBuf,
}

/// Does what the command line says.
///
/// # Errors
/// As for [`secrets::run`].
pub async fn run(command: TlsCommand) -> Result<(), Error> {
    match command {
        TlsCommand::Csr(arguments) => csr(&arguments).await,
        TlsCommand::Install(arguments) => install(&arguments).await,
    }
}

async fn csr(arguments: &CsrArguments) -> Result<(), Error> {
    if !arguments.name.iter().all(|name| Rule::HostName.accepts(name)) {
        return Err(UsageError::CertificateName(Rule::HostName.allowed()).into());
    }
    let options = secrets::over_tls(session::options(&arguments.appliance, None)?);
    let appliance = Appliance::open(&options).await?;
    session::announce(&options, appliance.verified());
    let request = operator::certificate_request(&appliance, &arguments.name).await?;
    match &arguments.out {
        Some(path) => Ok(files::write(path, request.as_bytes())?),
        None => speak::answer(&request),
    }
}

async fn install(arguments: &InstallArguments) -> Result<(), Error> {
    let (text, leaf) = read_chain(&arguments.chain)?;
    let (appliance, key) = secrets::open(&arguments.operator).await?;
    // the appliance would say so too; this says it before anything is sent
    if let Some(expected) = appliance.verified().pin()
        && expected != leaf
    {
        return Err(Refusal::Pin(PinMismatch { expected, seen: leaf }).into());
    }
    let set = [(CHAIN.to_owned(), text)].into();
    operator::change(&appliance, &key, &Change { set, ..Change::default() }).await?;
    speak::note("new connections are shown the chain");
    Ok(())
}

/// The chain's text and the key of its first certificate.
fn read_chain(path: &Path) -> Result<(Zeroizing<String>, SpkiPin), UsageError> {
    let refused = |reason| UsageError::Chain { path: path.display().to_string(), reason };
    let bytes = Zeroizing::new(files::read(path)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| refused("it is no text"))?;
    if text.contains("PRIVATE KEY-----") {
        return Err(refused("it holds a private key, which nobody needs here"));
    }
    let leaf =
        CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| refused("it holds no certificate in PEM form"))?;
    let leaf = SpkiPin::of_certificate(&leaf).map_err(|_| refused("its first certificate cannot be read"))?;
    Ok((Zeroizing::new(text.to_owned()), leaf))
}
