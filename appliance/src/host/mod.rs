//! Host mode: the same server as an ordinary program, without PID 1's duties and without evidence.

mod activation;
mod arguments;
mod signals;
mod socket;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use activation::ActivationError;
pub use activation::Announced;
use arguments::{Command, HELP, Listen, Serve};
use signals::Ends;
use socket::{SocketError, SocketFile};
use tee::Tee;

use crate::boot::console::{self, Console, Event, Fact, Stage};
use crate::boot::document::{self, Bound, Source};
use crate::boot::platform;
use crate::boot::serving::{BoundSocket, Server, bind_tcp};
use crate::boot::{self, Linux, Refused};
use crate::identity::{Identity, TlsIdentity};
use crate::lockdown;
use crate::lockdown::files::{Confinement, Reachable};
use crate::lockdown::memory::MemoryLocked;
use crate::lockdown::policy::Profile;
use crate::process;

/// Exit status for a command line that cannot be followed.
const EXIT_USAGE: u8 = 2;
/// Exit status for a refusal.
const EXIT_REFUSED: i32 = 3;

/// Follows the command line. `announced` is what the environment said about sockets before it was cleared.
pub fn run(announced: &Announced) -> ExitCode {
    match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Ok(Command::Version) => {
            println!("lethe-appliance {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Ok(Command::Serve(arguments)) => {
            let console = console::of_process();
            match serve(&arguments, announced, console) {
                Ok(()) => process::end(0),
                Err(refused) => {
                    console.refused(&refused);
                    process::end(EXIT_REFUSED)
                }
            }
        }
        Err(error) => {
            eprintln!("lethe-appliance: {error}\ntry: lethe-appliance --help");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// The boot order of host mode: the image's, without mounts and network, and with files instead of disks.
fn serve(arguments: &Serve, announced: &Announced, console: Console) -> Result<(), Refused> {
    let machine = platform::none();
    console.stage(Stage::Platform, &[Fact::Platform(machine.platform().name())]);
    console
        .warning("host mode: nothing proves this server to its clients, and this machine's owner can read everything");
    let signals = signals::block().map_err(|error| Refused::new("signals", &error))?;
    let bound = read_document(&arguments.config, &*machine)?;
    boot::show_document(&bound, console);
    let memory = boot::lock_memory(&Linux::default(), arguments.insecure_host)?;
    let missing: Vec<_> = memory.missing().iter().map(|missing| Fact::Missing(missing.name())).collect();
    console.stage(Stage::Memory, &missing);
    if !missing.is_empty() {
        console.warning("insecure host: prompts and keys may be written to disk");
    }
    let identity = establish(arguments, &bound, &memory)?;
    console.stage(Stage::Keys, &[]);
    console.spki(identity.tls().spki_sha256());

    let model = File::open(&arguments.model).map_err(|error| refused_file("model-read", &arguments.model, &error))?;
    let (sockets, file) = open_sockets(arguments, announced, &bound)?;
    let reachable = Reachable {
        read: vec![PathBuf::from("/proc")],
        reports: None,
        socket_directory: file.as_ref().map(|file| file.directory().to_owned()),
        bind: None,
    };
    let ends = Ends::new(file);
    let served = serve_sockets(
        sockets,
        reachable,
        ends,
        signals,
        |console| {
            let loaded = boot::load_model(model, &bound.document, console, llama::Backend::print_and_exit)?;
            boot::show_evidence(&identity, console)?;
            Ok(Server::assemble(bound, identity, loaded)?)
        },
        console,
    );
    ends.remove_file();
    served
}

/// From the first half of the lockdown to the end of the server; whatever happens, the caller removes the socket.
fn serve_sockets(
    sockets: Vec<BoundSocket>,
    reachable: Reachable,
    ends: &'static Ends,
    signals: signals::Blocked,
    assemble: impl FnOnce(Console) -> Result<Server, Refused>,
    console: Console,
) -> Result<(), Refused> {
    let begun = lockdown::renounce(Profile::Host, &reachable)?;
    signals::wait(signals, ends, console).map_err(|error| Refused::new("signals", &error))?;
    let server = assemble(console)?;
    let confined = lockdown::confine(Profile::Host, begun)?;
    let mut facts = vec![Fact::Count("threads", confined.threads), Fact::Count("rules", confined.rules)];
    if confined.files != Confinement::Full {
        facts.push(Fact::Missing("landlock"));
    }
    console.stage(Stage::Lockdown, &facts);
    let stopped = ends.stop_first();
    let opened = |port: Option<u16>| {
        console.stage(Stage::Serving, &[]);
        match port {
            Some(port) => console.ready(port),
            None => console.ready_unix(),
        }
    };
    let stop = async {
        let _ = stopped.await;
    };
    server.serve(sockets, &confined, opened, stop)?;
    console.event(Event::Ended);
    Ok(())
}

fn read_document(path: &Path, machine: &dyn Tee) -> Result<Bound, Refused> {
    let refused = |error: io::Error| refused_file("document-read", path, &error);
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(refused)?
        .take(deployment::MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(refused)?;
    Ok(document::bind(Source::File, bytes, machine)?)
}

fn establish(arguments: &Serve, bound: &Bound, memory: &MemoryLocked) -> Result<Identity, Refused> {
    let origin = boot::origin(bound, true, memory);
    match &arguments.certificate {
        None => Identity::establish(&bound.document, origin),
        Some((certificate, key)) => TlsIdentity::from_pem_files(certificate, key)
            .and_then(|tls| Identity::with_tls(&bound.document, origin, tls)),
    }
    .map_err(boot::refused_keys)
}

/// The service manager's sockets, or the command line's, or the document's.
fn open_sockets(
    arguments: &Serve,
    announced: &Announced,
    bound: &Bound,
) -> Result<(Vec<BoundSocket>, Option<SocketFile>), Refused> {
    let count = activation::count(announced, std::process::id())?;
    match (&arguments.listen, count) {
        (None, 0) => Ok((vec![bind_tcp(bound.document.listen.address)?], None)),
        (None, count) => Ok((activation::take(count)?, None)),
        (Some(_), 1..) => Err(Refused::because("listen", "both --listen and sockets of a service manager: which?")),
        (Some(Listen::Tcp(address)), _) => Ok((vec![bind_tcp(*address)?], None)),
        (Some(Listen::Unix(path)), _) => {
            let (socket, file) = socket::create(path, arguments.socket_group.as_deref())?;
            Ok((vec![socket], Some(file)))
        }
    }
}

fn refused_file(code: &'static str, path: &Path, error: &io::Error) -> Refused {
    Refused::because(code, &format!("cannot read {}: {error}", path.display()))
}

impl From<ActivationError> for Refused {
    fn from(error: ActivationError) -> Self {
        Self::new("listen-fds", &error)
    }
}

impl From<SocketError> for Refused {
    fn from(error: SocketError) -> Self {
        let code = match &error {
            SocketError::Busy { .. } => "socket-busy",
            SocketError::NotASocket { .. } => "socket-path",
            SocketError::Group { .. } => "socket-group",
            SocketError::File { .. } | SocketError::Bind(_) => "socket",
        };
        Self::new(code, &error)
    }
}
