//! The program `lethe`: arguments in, answers on standard output, everything else on standard error, one exit status.

mod arguments;
mod chat;
mod check;
mod collateral;
mod files;
mod look;
mod policy;
mod proxy;
mod receipt;
mod report;
mod secrets;
mod session;
mod speak;
mod status;
mod tls;
mod token;
mod trust;
mod verify;
mod wires;

use clap::{CommandFactory, Parser};

use crate::{
    error::{Error, UsageError},
    exit::{self, ExitStatus},
};
use arguments::{Arguments, Command, TokenCommand};

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitStatus {
    let arguments = Arguments::parse();
    match run(arguments.command) {
        Ok(()) => ExitStatus::Done,
        Err(error) if is_closed_output(&error) => ExitStatus::Done,
        Err(error) => {
            speak::error(&error, exit::help(&error));
            ExitStatus::from(&error)
        }
    }
}

/// Whoever read our output has read enough (`lethe … | head`).
fn is_closed_output(error: &Error) -> bool {
    matches!(error, Error::Usage(UsageError::Terminal(cause)) if cause.kind() == std::io::ErrorKind::BrokenPipe)
}

fn run(command: Command) -> Result<(), Error> {
    let work = async {
        match command {
            Command::Chat(arguments) => chat::run(arguments).await,
            Command::Verify(arguments) => verify::run(arguments).await,
            Command::Proxy(arguments) => proxy::run(arguments).await,
            Command::Status(arguments) => status::run(arguments).await,
            Command::Collateral(command) => collateral::run(command).await,
            Command::Check(command) => check::run(command),
            Command::Receipt(command) => receipt::run(command),
            Command::Policy(command) => policy::run(&command),
            Command::Secrets(command) => secrets::run(command).await,
            Command::Tls(command) => tls::run(command).await,
            Command::Token(TokenCommand::New(arguments)) => token::run(&arguments),
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Arguments::command(), "lethe", &mut script);
                speak::answer_bytes(&script)
            }
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(UsageError::Terminal)?;
    let result = runtime.block_on(work);
    // A thread may sit in a read of standard input, which nothing ends.
    runtime.shutdown_background();
    result
}
