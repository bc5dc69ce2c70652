//! The command line of host mode. Written by hand: the measured binary carries no argument parser, because as PID 1 it
//! has no arguments.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What `--help` prints.
pub const HELP: &str = "\
lethe-appliance: the Lethe server as an ordinary program

The same server as in the measured image, on any Linux machine, without evidence: it proves nothing about itself, says
so in its log, its /health and its attestation, and clients refuse it unless told --allow-no-tee. For development, and
for a machine whose owner you are.

usage: lethe-appliance serve --config FILE --model FILE [options]

  --config FILE         deployment document (TOML; `lethe-image config new` writes one)
  --model FILE          the GGUF file whose digest and size the document names
  --listen ADDR:PORT    TLS on this address instead of the document's listen.address
  --listen unix:PATH    HTTP without TLS on a UNIX socket of mode 660, removed at the end
  --socket-group GROUP  group of the UNIX socket, by name or number
  --cert FILE           TLS certificate chain (PEM) instead of one made at start; with --key
  --key FILE            its private key (PEM)
  --insecure-host       go on where swap is on or memory cannot be locked; shown in /health and in evidence
  --help, --version

Sockets handed over by a service manager (LISTEN_FDS), TCP or UNIX, are used instead of --listen.

exit status: 0 ended by a signal, 2 wrong usage, 3 refused (the reason is the last line), 75 the engine failed
";

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Print [`HELP`].
    Help,
    /// Print the version.
    Version,
    /// Serve.
    Serve(Box<Serve>),
}

/// `serve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serve {
    /// `--config`
    pub config: PathBuf,
    /// `--model`
    pub model: PathBuf,
    /// `--listen`
    pub listen: Option<Listen>,
    /// `--socket-group`
    pub socket_group: Option<String>,
    /// `--cert` and `--key`
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// `--insecure-host`
    pub insecure_host: bool,
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// TLS.
    Tcp(SocketAddr),
    /// A UNIX socket.
    Unix(PathBuf),
}

/// A command line that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// The first word.
    #[error("no such command: {0} (serve, --help, --version)")]
    Command(String),
    /// An option that does not exist.
    #[error("no such option: {0}")]
    Unknown(String),
    /// An option without its value.
    #[error("{0} needs a value")]
    NoValue(&'static str),
    /// A switch with a value.
    #[error("{0} takes no value")]
    Value(&'static str),
    /// An option given twice.
    #[error("{0} is given twice")]
    Twice(&'static str),
    /// An option that must be there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// An address that is none.
    #[error("--listen {0}: neither an address with a port (0.0.0.0:8443, [::]:8443) nor unix:/path")]
    Listen(String),
    /// Only one of the two.
    #[error("--cert and --key belong together")]
    CertificateAndKey,
    /// A group without a socket.
    #[error("--socket-group is for --listen unix:PATH")]
    Group,
}

/// Reads the words behind the program's name.
///
/// # Errors
/// [`UsageError`]
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut words = words.into_iter();
    match words.next().as_ref().map(|word| word.to_string_lossy()).as_deref() {
        Some("serve") => parse_serve(words),
        Some("--version" | "-V") => Ok(Command::Version),
        None | Some("--help" | "-h" | "help") => Ok(Command::Help),
        Some(other) => Err(UsageError::Command(other.to_owned())),
    }
}

fn parse_serve(words: impl Iterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut options = Options { words, inline: None };
    let (mut config, mut model, mut listen, mut group) = (None, None, None, None);
    let (mut certificate, mut key, mut insecure_host) = (None, None, None);
    while let Some(option) = options.next_option()? {
        match option.as_str() {
            "--config" => options.value("--config", &mut config)?,
            "--model" => options.value("--model", &mut model)?,
            "--listen" => options.value("--listen", &mut listen)?,
            "--socket-group" => options.value("--socket-group", &mut group)?,
            "--cert" => options.value("--cert", &mut certificate)?,
            "--key" => options.value("--key", &mut key)?,
            "--insecure-host" => options.switch("--insecure-host", &mut insecure_host)?,
            "--help" | "-h" => return Ok(Command::Help),
            _ => return Err(UsageError::Unknown(option)),
        }
    }
    let listen = listen.map(parse_listen).transpose()?;
    if group.is_some() && !matches!(listen, Some(Listen::Unix(_))) {
        return Err(UsageError::Group);
    }
    let certificate = match (certificate, key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
        _ => return Err(UsageError::CertificateAndKey),
    };
    Ok(Command::Serve(Box::new(Serve {
        config: config.ok_or(UsageError::Missing("--config"))?.into(),
        model: model.ok_or(UsageError::Missing("--model"))?.into(),
        listen,
        socket_group: group.map(|group| group.to_string_lossy().into_owned()),
        certificate,
        insecure_host: insecure_host.is_some(),
    })))
}

fn parse_listen(value: OsString) -> Result<Listen, UsageError> {
    let text = value.to_string_lossy();
    match text.strip_prefix("unix:") {
        Some("") => Err(UsageError::Listen(text.into_owned())),
        Some(path) => Ok(Listen::Unix(PathBuf::from(path))),
        None => text.parse().map(Listen::Tcp).map_err(|_| UsageError::Listen(text.into_owned())),
    }
}

/// `--name VALUE` and `--name=VALUE`.
struct Options<I> {
    words: I,
    /// The value behind the `=` of the last option.
    inline: Option<OsString>,
}

impl<I: Iterator<Item = OsString>> Options<I> {
    fn next_option(&mut self) -> Result<Option<String>, UsageError> {
        let Some(word) = self.words.next() else { return Ok(None) };
        let word = word.to_string_lossy().into_owned();
        match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => {
                self.inline = Some(value.into());
                Ok(Some(name.to_owned()))
            }
            _ => Ok(Some(word)),
        }
    }

    fn value(&mut self, name: &'static str, slot: &mut Option<OsString>) -> Result<(), UsageError> {
        let value = self.inline.take().or_else(|| self.words.next()).filter(|value| !value.is_empty());
        if slot.replace(value.ok_or(UsageError::NoValue(name))?).is_some() {
            return Err(UsageError::Twice(name));
        }
        Ok(())
    }

    fn switch(&mut self, name: &'static str, slot: &mut Option<()>) -> Result<(), UsageError> {
        if self.inline.take().is_some() {
            return Err(UsageError::Value(name));
        }
        if slot.replace(()).is_some() {
            return Err(UsageError::Twice(name));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, UsageError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn serve(line: &str) -> Serve {
        match read(line) {
            Ok(Command::Serve(serve)) => *serve,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn config_and_model_are_enough() {
        let serve = serve("serve --config c.toml --model m.gguf");
        assert_eq!((serve.config, serve.model), ("c.toml".into(), "m.gguf".into()));
        assert_eq!((serve.listen, serve.certificate, serve.insecure_host), (None, None, false));
    }

    #[test]
    fn values_stand_behind_a_space_or_an_equals_sign() {
        assert_eq!(serve("serve --config=c --model=m"), serve("serve --config c --model m"));
        let path = serve("serve --config=a=b --model m").config;
        assert_eq!(path, PathBuf::from("a=b"), "only the first one separates");
    }

    #[test]
    fn listen_takes_addresses_and_paths() {
        let listen = |value| serve(&format!("serve --config c --model m --listen {value}")).listen.unwrap();
        assert_eq!(listen("127.0.0.1:0"), Listen::Tcp("127.0.0.1:0".parse().unwrap()));
        assert_eq!(listen("[::1]:8443"), Listen::Tcp("[::1]:8443".parse().unwrap()));
        assert_eq!(listen("unix:/run/lethe/inference.sock"), Listen::Unix("/run/lethe/inference.sock".into()));
        for bad in ["8443", "localhost:8443", "127.0.0.1", "unix:"] {
            assert!(matches!(read(&format!("serve --config c --model m --listen {bad}")), Err(UsageError::Listen(_))));
        }
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            ("serve", UsageError::Missing("--config")),
            ("serve --config c", UsageError::Missing("--model")),
            ("serve --config", UsageError::NoValue("--config")),
            ("serve --config= --model m", UsageError::NoValue("--config")),
            ("serve --config a --config b", UsageError::Twice("--config")),
            ("serve --insecure-host=yes", UsageError::Value("--insecure-host")),
            ("serve --config c --model m --cert x", UsageError::CertificateAndKey),
            ("serve --config c --model m --socket-group g", UsageError::Group),
            ("serve --confg c", UsageError::Unknown("--confg".to_owned())),
            ("serve c.toml", UsageError::Unknown("c.toml".to_owned())),
            ("server", UsageError::Command("server".to_owned())),
        ];
        for (line, error) in cases {
            assert_eq!(read(line), Err(error), "{line}");
        }
    }

    #[test]
    fn help_is_the_answer_to_nothing_and_to_a_call_for_help() {
        for line in ["", "--help", "-h", "help", "serve --help"] {
            assert_eq!(read(line), Ok(Command::Help), "{line}");
        }
        for option in ["--config", "--model", "--listen", "--socket-group", "--cert", "--key", "--insecure-host"] {
            assert!(HELP.contains(option), "{option}");
        }
        assert!(HELP.lines().all(|line| line.len() <= 120));
    }
}
