//! The command line: what can be asked, and where each request goes.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::{build, config, disk, firmware, host_check, machine, measure, release, report, reproduce};

const EXAMPLES: &str = "\
Examples:
  lethe-image build                                             make out/lethe.efi
  lethe-image config new --model model.gguf > lethe.toml        write a deployment document for a model
  lethe-image firmware sev-snp                                  make out/OVMF.amdsev.fd from Debian's source
  lethe-image measure tpm2 --efi out/lethe.efi                  what a TPM will report for it
  lethe-image boot --model model.gguf --config lethe.toml       boot it here, console in this terminal
  lethe-image boot --model model.gguf --config lethe.toml --name demo --detach
  lethe-image logs demo --follow                                its console
  lethe-image stop demo && lethe-image delete demo

Exit status: 0 done, 1 failure, 2 wrong command line, 3 the machine refused to boot,
4 the machine was not ready in time.";

/// Builds, boots, measures and releases Lethe images.
#[derive(Debug, Parser)]
#[command(name = "lethe-image", version, after_help = EXAMPLES, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    // What these say stands at their `Args`.
    Build(build::Args),
    Reproduce(reproduce::Args),
    Config(config::Args),
    Firmware(firmware::Args),
    Measure(measure::Args),
    Events(measure::EventsArgs),
    Release(release::Args),
    Cosign(release::CosignArgs),
    Disk(disk::Args),
    HostCheck(host_check::Args),
    /// Boot the image in a virtual machine on this computer
    Boot(Box<machine::boot::Args>),
    /// List the machines of this user
    List(machine::list::Args),
    /// Print the console of a machine
    Logs(machine::logs::Args),
    /// Stop machines, keeping their logs
    Stop(machine::stop::Args),
    /// Delete stopped machines and their logs
    Delete(machine::delete::Args),
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  lethe-image completions bash > ~/.local/share/bash-completion/completions/lethe-image"
    )]
    Completions {
        /// The shell the script is for
        shell: Shell,
    },
    #[command(name = "cargo", hide = true)]
    Cargo(build::places::Args),
    /// Run a program that dies with its parent (used by `boot`)
    #[command(name = machine::process::BOUND_COMMAND, hide = true)]
    Bound {
        /// Process id of the parent that must still be there
        parent: i32,
        /// Program and arguments
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
}

/// Parses the command line of this process, does what it asks, and gives the exit status.
#[must_use]
pub fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(status) => status,
        Err(error) => report::explain(&error),
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Build(args) => build::run(&args)?,
        Command::Cargo(args) => return build::places::run(&args),
        Command::Reproduce(args) => return reproduce::run(&args),
        Command::Config(args) => config::run(args)?,
        Command::Firmware(args) => firmware::run(&args)?,
        Command::Measure(args) => measure::run(&args)?,
        Command::Events(args) => measure::run_events(&args)?,
        Command::Release(args) => release::run(&args)?,
        Command::Cosign(args) => release::run_cosign(&args)?,
        Command::Disk(args) => disk::run(&args)?,
        Command::HostCheck(args) => return host_check::run(&args),
        Command::Boot(args) => return machine::boot::run(&args),
        Command::List(args) => machine::list::run(&args)?,
        Command::Logs(args) => machine::logs::run(&args)?,
        Command::Stop(args) => machine::stop::run(&args)?,
        Command::Delete(args) => machine::delete::run(&args)?,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "lethe-image", &mut std::io::stdout());
        }
        Command::Bound { parent, program } => machine::process::run_bound(parent, &program)?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_visible_command_teaches_with_an_example() {
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{} has no example", command.get_name());
        }
    }

    #[test]
    fn a_machine_name_with_a_slash_is_a_usage_error() {
        let error = Cli::try_parse_from(["lethe-image", "stop", "../etc"]).unwrap_err();
        assert_eq!(error.exit_code(), i32::from(report::USAGE));
    }
}
