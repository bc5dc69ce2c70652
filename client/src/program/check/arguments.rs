//! The command line of `lethe check`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use evidence::{Time, tpm::Firmware};

/// `lethe check …`
#[derive(Debug, Subcommand)]
pub enum CheckCommand {
    /// Check an AMD SEV-SNP report
    #[command(after_help = "\
Example: lethe check sev-snp --report report.bin --vek vcek.der --crl milan.crl --expect vmpl=00")]
    SevSnp(SevSnpArguments),
    /// Check an Intel TDX quote
    #[command(after_help = "Example: lethe check tdx --quote quote.bin --collateral collateral.json --json")]
    Tdx(TdxArguments),
    /// Check a TPM 2.0 quote
    #[command(after_help = "\
The attestation key is either pinned (--ak) or certified by a chain to a root of yours (--ak-cert).

Example:
  lethe check tpm2 --quote quote.msg --signature quote.sig --ak ak.der --pcrs pcrs.json --nonce 9009")]
    Tpm2(Tpm2Arguments),
    /// Check the evidence of an Azure confidential virtual machine
    #[command(after_help = "\
With --td-quote the hardware is taken to be TDX, without it SEV-SNP.

Example:
  lethe check azure --hcl-report hcl.bin --vek vcek.der --quote q.msg --signature q.sig --pcrs pcrs.json")]
    Azure(AzureArguments),
    /// Check the report of an NVIDIA GPU or switch
    #[command(after_help = "\
Without --rim what the device measured is shown, not judged. A GPU has a manifest for its VBIOS and one for its driver, a
switch one for its BIOS; whether their certificates have been revoked is not asked.

Example:
  lethe check nvidia --report report.bin --chain chain.pem --nonce 931d… --rim vbios.swidtag --rim driver.swidtag")]
    Nvidia(NvidiaArguments),
}

/// When, what is expected, and in which form to answer.
#[derive(Debug, Args)]
pub struct Conditions {
    /// Time at which the evidence is judged, for example 2026-11-21T00:00:00Z; without it, now
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub at: Option<Time>,

    /// Demand this value of a claim, in hexadecimal. Repeatable: several values of one field mean any of them
    #[arg(long, value_name = "FIELD=HEX")]
    pub expect: Vec<String>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What to ask.
#[derive(Debug, Args)]
pub struct PolicyArgument {
    /// What to ask: hardware, standard, strict, dev, or a file (see `lethe policy`)
    #[arg(long, value_name = "NAME|FILE", default_value = "standard")]
    pub policy: String,
}

/// `lethe check sev-snp`
#[derive(Debug, Args)]
pub struct SevSnpArguments {
    /// The report
    #[arg(long, value_name = "FILE")]
    pub report: PathBuf,

    /// VCEK or VLEK certificate, PEM or DER
    #[arg(long, value_name = "FILE")]
    pub vek: Option<PathBuf>,

    /// AMD's revocation list, PEM or DER. Repeatable
    #[arg(long, value_name = "FILE")]
    pub crl: Vec<PathBuf>,

    /// The policy.
    #[command(flatten)]
    pub policy: PolicyArgument,
    /// The rest.
    #[command(flatten)]
    pub conditions: Conditions,
}

/// `lethe check tdx`
#[derive(Debug, Args)]
pub struct TdxArguments {
    /// The quote
    #[arg(long, value_name = "FILE")]
    pub quote: PathBuf,

    /// Intel's collateral for the platform, JSON
    #[arg(long, value_name = "FILE")]
    pub collateral: Option<PathBuf>,

    /// The firmware's event log (CCEL), to be replayed against the runtime registers
    #[arg(long, value_name = "FILE")]
    pub event_log: Option<PathBuf>,

    /// The policy.
    #[command(flatten)]
    pub policy: PolicyArgument,
    /// The rest.
    #[command(flatten)]
    pub conditions: Conditions,
}

/// Whose habits the firmware has.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum FirmwareKind {
    /// As the TCG's profile says
    #[default]
    Standard,
    /// Google's virtual machines
    Google,
}

impl From<FirmwareKind> for Firmware {
    fn from(kind: FirmwareKind) -> Self {
        match kind {
            FirmwareKind::Standard => Self::Standard,
            FirmwareKind::Google => Self::Google,
        }
    }
}

/// `lethe check tpm2`
#[derive(Debug, Args)]
pub struct Tpm2Arguments {
    /// The quote, a TPMS_ATTEST
    #[arg(long, value_name = "FILE")]
    pub quote: PathBuf,

    /// Its signature, a TPMT_SIGNATURE or bare RSASSA
    #[arg(long, value_name = "FILE")]
    pub signature: PathBuf,

    /// The attestation key, known to be good: its SubjectPublicKeyInfo, PEM or DER
    #[arg(long, value_name = "FILE", required_unless_present = "ak_cert", conflicts_with = "ak_cert")]
    pub ak: Option<PathBuf>,

    /// Certificate of the attestation key, PEM or DER
    #[arg(long, value_name = "FILE", requires = "ak_root")]
    pub ak_cert: Option<PathBuf>,

    /// Certificates between that and the root, PEM or DER. Repeatable
    #[arg(long, value_name = "FILE", requires = "ak_cert")]
    pub ak_issuer: Vec<PathBuf>,

    /// Root certificate that you trust for attestation keys, PEM or DER. Repeatable
    #[arg(long, value_name = "FILE", requires = "ak_cert")]
    pub ak_root: Vec<PathBuf>,

    /// The nonce that the quote must hold
    #[arg(long, value_name = "HEX")]
    pub nonce: Option<HexBytes>,

    /// Values of the quoted registers, JSON
    #[arg(long, value_name = "FILE")]
    pub pcrs: Option<PathBuf>,

    /// The firmware's event log, to be replayed against the quoted registers
    #[arg(long, value_name = "FILE")]
    pub event_log: Option<PathBuf>,

    /// Demand that exactly this image was booted: its Authenticode digest of the quoted bank's algorithm. Repeatable: any
    /// of them
    #[arg(long, value_name = "HEX", requires = "document")]
    pub image: Vec<HexBytes>,

    /// Demand that the image was booted with this deployment document
    #[arg(long, value_name = "FILE", requires = "image")]
    pub document: Option<PathBuf>,

    /// Whose habits the firmware has
    #[arg(long, value_name = "KIND", default_value = "standard", requires = "image")]
    pub firmware: FirmwareKind,

    /// The policy.
    #[command(flatten)]
    pub policy: PolicyArgument,
    /// The rest.
    #[command(flatten)]
    pub conditions: Conditions,
}

/// `lethe check azure`
#[derive(Debug, Args)]
pub struct AzureArguments {
    /// Report of the host compatibility layer
    #[arg(long, value_name = "FILE")]
    pub hcl_report: PathBuf,

    /// SEV-SNP: VCEK certificate, PEM or DER
    #[arg(long, value_name = "FILE")]
    pub vek: Option<PathBuf>,

    /// SEV-SNP: AMD's revocation list, PEM or DER. Repeatable
    #[arg(long, value_name = "FILE")]
    pub crl: Vec<PathBuf>,

    /// TDX: the TD quote
    #[arg(long, value_name = "FILE", conflicts_with_all = ["vek", "crl"])]
    pub td_quote: Option<PathBuf>,

    /// TDX: Intel's collateral for the platform, JSON
    #[arg(long, value_name = "FILE", requires = "td_quote")]
    pub collateral: Option<PathBuf>,

    /// Quote of the virtual TPM
    #[arg(long, value_name = "FILE", requires = "signature")]
    pub quote: Option<PathBuf>,

    /// Signature of that quote
    #[arg(long, value_name = "FILE", requires = "quote")]
    pub signature: Option<PathBuf>,

    /// Values of the quoted registers, JSON
    #[arg(long, value_name = "FILE", requires = "quote")]
    pub pcrs: Option<PathBuf>,

    /// The nonce that the quote must hold
    #[arg(long, value_name = "HEX", requires = "quote")]
    pub nonce: Option<HexBytes>,

    /// The firmware's event log, to be replayed against the quoted registers
    #[arg(long, value_name = "FILE", requires = "quote")]
    pub event_log: Option<PathBuf>,

    /// The policy.
    #[command(flatten)]
    pub policy: PolicyArgument,
    /// The rest.
    #[command(flatten)]
    pub conditions: Conditions,
}

/// `lethe check nvidia`
#[derive(Debug, Args)]
pub struct NvidiaArguments {
    /// SPDM request and response
    #[arg(long, value_name = "FILE")]
    pub report: PathBuf,

    /// Certificate chain of the device, PEM, leaf first
    #[arg(long, value_name = "FILE")]
    pub chain: PathBuf,

    /// The nonce that the request must hold
    #[arg(long, value_name = "HEX")]
    pub nonce: Option<HexBytes>,

    /// NVIDIA's reference manifest (RIM) for the device's VBIOS or driver: demand what it says was measured. Repeatable
    #[arg(long, value_name = "FILE")]
    pub rim: Vec<PathBuf>,

    /// The rest.
    #[command(flatten)]
    pub conditions: Conditions,
}

/// Bytes that the command line writes in hexadecimal; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HexBytes(Vec<u8>);

impl HexBytes {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::str::FromStr for HexBytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match hex::decode(text) {
            Ok(bytes) if !bytes.is_empty() => Ok(Self(bytes)),
            _ => Err("hexadecimal digits are expected, two for each byte".to_owned()),
        }
    }
}

/// A time as the command line writes it.
///
/// # Errors
/// What is expected instead.
pub fn time(text: &str) -> Result<Time, String> {
    Time::parse(text).ok_or_else(|| "a time of the form 2026-11-21T00:00:00Z is expected".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_whole_and_not_none() {
        assert_eq!("0Aff".parse(), Ok(HexBytes(vec![10, 255])));
        for text in ["", "0", "0x00", "zz", "00 "] {
            assert!(text.parse::<HexBytes>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_time_has_one_form() {
        assert_eq!(time("1970-01-02T00:00:00Z").map(Time::unix), Ok(86_400));
        for text in ["", "now", "2026-11-21", "2026-11-21T00:00:00+01:00", "1795219200"] {
            assert!(time(text).is_err(), "{text:?}");
        }
    }
}
