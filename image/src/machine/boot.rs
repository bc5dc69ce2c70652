//! `lethe-image boot`: from arguments to a machine that runs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use super::accel::Choice;
use super::description::{Bus, QuoteService};
use super::detach;
use super::events::Show;
use super::inputs::MemoryMib;
use super::name::Name;
use super::plan::Plan;
use super::supervise::{Ending, supervise};
use super::tee;
use crate::progress::Progress;

const EXAMPLES: &str = "\
Examples:
  lethe-image boot --model m.gguf --config lethe.toml                  console here, Ctrl-C ends it
  lethe-image boot --model m.gguf --config lethe.toml --name demo --detach
  lethe-image boot --model m.gguf --config lethe.toml --firmware ovmf --tee tpm2
  lethe-image boot --model m.gguf --config lethe.toml --tee sev-snp --firmware OVMF.amdsev.fd
  lethe-image boot --model m.gguf --disk out/lethe.raw --disk-bus nvme  a disk of `lethe-image disk`, document and all
  lethe-image boot --model m.gguf --config lethe.toml --tee tpm2 --name demo --sealed demo.sealed
                                              demo once more, with what `lethe secrets seal` gave: its TPM is the same
  lethe-image boot --model m.gguf --config lethe.toml --print-command  show QEMU's command line

When the machine is ready, its name, address and TLS key digest are printed on stdout:
  name lethe-1
  url  https://127.0.0.1:40123
  pin  sha256:...
and with --tee tpm2 the file with the attestation key, for `lethe verify --ak`. The TPM is emulated and its seeds are
this user's: it proves the path from firmware to verifier, not the hardware. They and the firmware's variables stay
with the machine's name until `lethe-image delete`; a machine of another name has another TPM.

Exit status: 0 done, 1 failure, 2 wrong command line or input, 3 the machine refused to boot,
4 it was not ready in time.";

/// Arguments of `boot`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Model file (GGUF); the machine sees it as a read-only disk
    #[arg(long, value_name = "FILE")]
    pub(super) model: PathBuf,
    /// Deployment document (TOML); leave it out only if one is baked into the image
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// What vendors say about the platform (endorsements.json of `lethe collateral`), for the machine to hand on to clients
    #[arg(long, value_name = "FILE")]
    pub(super) endorsements: Option<PathBuf>,
    /// Secrets of an earlier boot (the file of `lethe secrets seal`), for the machine to open without its operator
    #[arg(long, value_name = "FILE")]
    pub(super) sealed: Option<PathBuf>,
    /// Image to boot
    #[arg(long, value_name = "FILE", default_value = "out/lethe.efi")]
    pub(super) image: PathBuf,
    /// Raw disk to boot in the place of an image, through UEFI firmware, as `lethe-image disk` writes it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["image", "load", "esp"])]
    pub(super) disk: Option<PathBuf>,
    /// How the machine sees that disk
    #[arg(long, value_enum, default_value = "virtio", requires = "disk")]
    pub(super) disk_bus: Bus,
    /// Name of the machine; with a name its logs are kept when it ends
    #[arg(long)]
    pub(super) name: Option<Name>,
    /// Return when the machine is ready and let it run on
    #[arg(long)]
    pub(super) detach: bool,
    /// What runs before the image: `none` (QEMU's -kernel), `ovmf` (UEFI, from a system partition) or a firmware file
    #[arg(long, value_name = "none|ovmf|PATH")]
    pub(super) firmware: Option<FirmwareChoice>,
    /// What proves to others what runs in the machine
    #[arg(long, value_enum, default_value = "none")]
    pub(super) tee: tee::Choice,
    /// QEMU's name of the processor of an SEV-SNP machine; its signature is measured
    #[arg(long, value_name = "NAME", default_value = "EPYC-v4")]
    pub(super) cpu_model: String,
    /// Where the host turns TDX reports into quotes: unix:PATH or vsock:CID:PORT
    #[arg(long, value_name = "ADDRESS", default_value = "vsock:2:4050")]
    pub(super) quotes: QuoteService,
    /// How instructions are executed; `auto` boots a tiny guest to see whether KVM really works
    #[arg(long, value_enum, default_value = "auto")]
    pub(super) accel: Choice,
    /// Virtual processors
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255))]
    pub(super) cpus: Option<u32>,
    /// Memory, such as 2G [default: from the size of the model]
    #[arg(long, value_name = "SIZE")]
    pub(super) memory: Option<MemoryMib>,
    /// Port on 127.0.0.1 that leads to the server [default: a free one]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) port: Option<u16>,
    /// Seconds the machine may take to become ready [default: from the size of the model]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(super) ready_timeout: Option<u64>,
    /// Do not check document and model here first; the machine checks them in any case
    #[arg(long)]
    pub(super) no_check: bool,
    /// Do not show the guest's console
    #[arg(long, short)]
    pub(super) quiet: bool,
    /// Print the machine as one line of JSON when it is ready
    #[arg(long)]
    pub(super) json: bool,
    /// Print QEMU's command line and do nothing
    #[arg(long)]
    pub(super) print_command: bool,
    /// Attack tests: a foreign initial RAM disk
    #[arg(long, value_name = "FILE", hide = true)]
    pub(super) initrd: Option<PathBuf>,
    /// Attack tests: a foreign kernel command line
    #[arg(long, value_name = "TEXT", hide = true)]
    pub(super) cmdline: Option<String>,
    /// Attack tests: how the image gets in, whatever the firmware
    #[arg(long, value_enum, hide = true)]
    pub(super) load: Option<LoadChoice>,
    /// Attack tests: a directory to show as EFI system partition instead of the one with the image
    #[arg(long, value_name = "DIR", hide = true)]
    pub(super) esp: Option<PathBuf>,
    /// This process supervises a detached machine
    #[arg(long, hide = true)]
    pub(super) supervised: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum FirmwareChoice {
    None,
    Ovmf,
    Path(PathBuf),
}

impl std::str::FromStr for FirmwareChoice {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "none" => Self::None,
            "ovmf" => Self::Ovmf,
            path => Self::Path(path.into()),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LoadChoice {
    Kernel,
    Esp,
}

/// Boots a machine and stays with it, or with `--detach` leaves it to a supervisor.
///
/// # Errors
/// Whatever keeps the machine from running; see [`super::Error`].
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.detach && !args.supervised && !args.print_command {
        return detach::launch();
    }
    if args.supervised {
        detach::leave_terminal()?;
    }
    let progress = Progress::on_stderr();
    let plan = Plan::make(args, &progress)?;
    if args.print_command {
        print!("{}", plan.command(args)?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut show = Show::new(progress, !args.quiet && !args.supervised);
    let job = plan.into_job(args, &progress)?;
    match supervise(job, &mut show) {
        Ok(Ending::Stopped) => Ok(ExitCode::SUCCESS),
        Ok(Ending::Interrupted(signal)) => Ok(detach::interrupted(signal)),
        Err(error) => {
            show.explain(&error);
            Err(error.into())
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    pub(crate) fn args(extra: &[&str]) -> Args {
        let line = ["boot", "--model", "m.gguf"].iter().chain(extra);
        Line::try_parse_from(line).unwrap().args
    }

    #[test]
    fn impossible_numbers_are_usage_errors() {
        for extra in
            [["--cpus", "0"], ["--port", "0"], ["--port", "65536"], ["--memory", "1"], ["--ready-timeout", "0"]]
        {
            let line = ["boot", "--model", "m.gguf"].iter().chain(&extra);
            assert_eq!(Line::try_parse_from(line).unwrap_err().exit_code(), 2, "{extra:?}");
        }
    }

    #[test]
    fn a_machine_boots_an_image_or_a_disk() {
        assert_eq!(args(&["--disk", "d.raw", "--disk-bus", "nvme"]).disk_bus, Bus::Nvme);
        for extra in [&["--disk", "d.raw", "--image", "i.efi"][..], &["--disk-bus", "nvme"]] {
            let line = ["boot", "--model", "m.gguf"].iter().chain(extra);
            assert_eq!(Line::try_parse_from(line).unwrap_err().exit_code(), 2, "{extra:?}");
        }
    }

    #[test]
    fn a_boot_needs_no_more_than_a_model() {
        let args = args(&[]);
        assert_eq!((args.accel, args.tee, args.detach, args.no_check), (Choice::Auto, tee::Choice::None, false, false));
        assert!(Line::try_parse_from(["boot"]).is_err());
    }
}
