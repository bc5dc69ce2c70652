//! `lethe secrets …`

use std::{collections::BTreeSet, path::Path, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use protocol::secrets::{Change, MAX_VALUE, OperatorKey};
use zeroize::Zeroizing;

use super::{
    arguments::{ApplianceArguments, AppliancesArguments},
    files, session, speak,
};
use crate::{
    appliance::{Appliance, Options},
    error::{Error, NetworkError, Refusal, UsageError},
    operator::{self, Standing},
    pin::SpkiPin,
    sealed::Wire,
    tls::PinMismatch,
};

/// `lethe secrets …`
#[derive(Debug, Subcommand)]
pub enum SecretsCommand {
    /// Make an operator's key; the document gets its public half
    #[command(after_help = "Example: lethe secrets keygen --out operator.key")]
    Keygen(KeygenArguments),
    /// Set secrets of a running appliance
    #[command(after_help = VALUES)]
    Set(SetArguments),
    /// List the names of its secrets
    List(OperatorArguments),
    /// Make it forget secrets: their tokens stop working at once
    #[command(
        after_help = "Example: lethe secrets unset https://lethe.example:8443 --operator-key operator.key TOKEN_CI"
    )]
    Unset(UnsetArguments),
    /// Save its secrets in a file that a restart of this very machine reads, where the platform can seal
    #[command(after_help = "\
The file is opaque to everyone but this machine with this image and document. Give it to the next
boot as fw_cfg file opt/lethe/sealed (`lethe-image boot --sealed FILE`). A host can give an older file
instead: then older tokens live.")]
    Seal(SealArguments),
    /// Bring secrets to appliances that wait for them, now and after each restart
    #[command(after_help = VALUES)]
    Watch(WatchArguments),
}

const VALUES: &str = "\
Names: TOKEN and TOKEN_… are bearer tokens, ENROLMENT and ENROLMENT_… enrol devices; `lethe token new`
makes them. The appliance is verified before anything is sent, with the same options as `lethe verify`.

Other users of this machine see NAME=VALUE in the list of processes: prefer NAME or NAME=@FILE.

Example: TOKEN=lth_… lethe secrets set https://lethe.example:8443 --operator-key operator.key \\
           --measurements 0.2.0.note --release-key 'example.org/lethe+1c6c4a56+AZ…' -e TOKEN -e TOKEN_CI=@ci.token";

/// `lethe secrets keygen`
#[derive(Debug, Args)]
pub struct KeygenArguments {
    /// File for the key; it must not exist yet
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// What every command to an appliance has.
#[derive(Debug, Args)]
pub struct OperatorArguments {
    /// The appliance.
    #[command(flatten)]
    pub appliance: ApplianceArguments,
    /// The operator's key, a file that `lethe secrets keygen` wrote and nobody else may read
    #[arg(long, value_name = "FILE")]
    pub operator_key: PathBuf,
}

/// `lethe secrets set`
#[derive(Debug, Args)]
pub struct SetArguments {
    /// Appliance and key.
    #[command(flatten)]
    pub operator: OperatorArguments,
    /// A secret: NAME (its value is in the environment), NAME=@FILE or NAME=VALUE. Repeatable
    #[arg(short = 'e', long = "env", value_name = "NAME[=VALUE]", required = true)]
    pub values: Vec<String>,
}

/// `lethe secrets unset`
#[derive(Debug, Args)]
pub struct UnsetArguments {
    /// Appliance and key.
    #[command(flatten)]
    pub operator: OperatorArguments,
    /// Names of secrets
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
}

/// `lethe secrets seal`
#[derive(Debug, Args)]
pub struct SealArguments {
    /// Appliance and key.
    #[command(flatten)]
    pub operator: OperatorArguments,
    /// Where the file goes
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// `lethe secrets watch`
#[derive(Debug, Args)]
pub struct WatchArguments {
    /// The appliances.
    #[command(flatten)]
    pub appliances: AppliancesArguments,
    /// The operator's key, a file that `lethe secrets keygen` wrote and nobody else may read
    #[arg(long, value_name = "FILE")]
    pub operator_key: PathBuf,
    /// A secret: NAME (its value is in the environment), NAME=@FILE or NAME=VALUE. Repeatable
    #[arg(short = 'e', long = "env", value_name = "NAME[=VALUE]", required = true)]
    pub values: Vec<String>,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub interval: u32,
    /// End when no appliance waits
    #[arg(long)]
    pub once: bool,
}

/// Does what the command line says.
///
/// # Errors
/// The refusal of an appliance that is not verified, before anything is sent to it; the appliance's; [`UsageError`].
pub async fn run(command: SecretsCommand) -> Result<(), Error> {
    match command {
        SecretsCommand::Keygen(arguments) => keygen(&arguments.out),
        SecretsCommand::Set(arguments) => {
            let change = Change { set: read_values(arguments.values)?, unset: BTreeSet::new() };
            tell(&send(&arguments.operator, &change).await?)
        }
        SecretsCommand::List(arguments) => tell(&send(&arguments, &Change::default()).await?),
        SecretsCommand::Unset(arguments) => {
            let unset = arguments.names.into_iter().collect();
            tell(&send(&arguments.operator, &Change { unset, ..Change::default() }).await?)
        }
        SecretsCommand::Seal(arguments) => {
            let (appliance, key) = open(&arguments.operator).await?;
            files::write_private(&arguments.out, &operator::sealed(&appliance, &key).await?)?;
            speak::note(&format!("{} is for the next boot of this machine alone", arguments.out.display()));
            Ok(())
        }
        SecretsCommand::Watch(arguments) => watch(arguments).await,
    }
}

fn keygen(path: &Path) -> Result<(), Error> {
    let public = hex::encode(operator::new_key(path)?);
    speak::answer(&format!("# for the deployment document:\n[secrets]\noperator_keys = [\"{public}\"]\n"))?;
    speak::note(&format!("the key is in {}; whoever has it may let anyone ask", path.display()));
    Ok(())
}

/// The key is read, and the change judged, before anybody is connected to.
async fn send(arguments: &OperatorArguments, change: &Change) -> Result<Standing, Error> {
    change.check().map_err(UsageError::Secret)?;
    let (appliance, key) = open(arguments).await?;
    operator::change(&appliance, &key, change).await
}

/// Reads the key and verifies the appliance.
///
/// # Errors
/// [`UsageError`], the refusal.
pub async fn open(arguments: &OperatorArguments) -> Result<(Appliance, OperatorKey), Error> {
    let key = operator::read_key(&arguments.operator_key)?;
    let options = over_tls(session::options(&arguments.appliance, None)?);
    let appliance = Appliance::open(&options).await?;
    session::announce(&options, appliance.verified());
    Ok((appliance, key))
}

/// What operators send is sealed and signed by itself; it needs no place among the sealed requests of everyone.
pub fn over_tls(options: Options) -> Options {
    Options { wire: Wire::Tls, ..options }
}

/// Names, a line each.
fn tell(standing: &Standing) -> Result<(), Error> {
    speak::answer(&standing.names.iter().map(|name| format!("{name}\n")).collect::<String>())?;
    if standing.waiting {
        speak::note("the appliance waits for secrets, and serves nobody before they come");
    }
    Ok(())
}

type Values = std::collections::BTreeMap<String, Zeroizing<String>>;

/// Secrets as the command line names them. No error repeats a value.
fn read_values(items: Vec<String>) -> Result<Values, UsageError> {
    let mut values = Values::new();
    for item in items.into_iter().map(Zeroizing::new) {
        let (name, value) = match item.split_once('=') {
            None => (item.as_str(), std::env::var(item.as_str()).ok().map(Zeroizing::new)),
            Some((name, value)) => (name, Some(Zeroizing::new(value.to_owned()))),
        };
        let named = Change { unset: [name.to_owned()].into(), ..Change::default() };
        named.check().map_err(UsageError::Secret)?;
        let value = value.ok_or_else(|| UsageError::NoSuchVariable { name: name.to_owned() })?;
        let value = match value.strip_prefix('@').filter(|_| item.contains('=')) {
            Some(path) => read_value(Path::new(path))?,
            None => value,
        };
        if values.insert(name.to_owned(), value).is_some() {
            return Err(UsageError::SecretTwice { name: name.to_owned() });
        }
    }
    Change { set: values.clone(), unset: BTreeSet::new() }.check().map_err(UsageError::Secret)?;
    Ok(values)
}

/// A value in a file, without the line feed that editors put at its end.
fn read_value(path: &Path) -> Result<Zeroizing<String>, UsageError> {
    let mut text = files::read_secret(path, MAX_VALUE + 2)?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

/// An appliance that is looked after.
struct Watched {
    options: Options,
    appliance: Option<Appliance>,
    /// The TLS key that was verified first, where no hardware vouches for another.
    first: Option<SpkiPin>,
    told: String,
}

impl Watched {
    /// Verifies it anew. Where no hardware vouches for the new key it must be the old one, whatever the policy puts up with: what is
    /// sent without anybody looking goes to no other machine.
    async fn verify(&mut self) -> Result<Appliance, Error> {
        let appliance = Appliance::open(&self.options).await?;
        let verified = appliance.verified();
        if let (false, Some(expected), Some(seen)) = (verified.is_proven_by_hardware(), self.first, verified.pin())
            && expected != seen
        {
            return Err(Refusal::Pin(PinMismatch { expected, seen }).into());
        }
        if self.first.is_none() {
            session::announce(&self.options, verified);
        }
        self.first = self.first.or(verified.pin());
        Ok(appliance)
    }

    /// Brings the secrets if it waits; says whether it did.
    async fn visit(&mut self, key: &OperatorKey, change: &Change) -> Result<bool, Error> {
        let known = self.appliance.take().filter(|appliance| !appliance.is_outdated());
        let standing = match &known {
            Some(appliance) => operator::standing(appliance).await,
            None => Err(Refusal::KeysetChanged.into()),
        };
        let (appliance, standing) = match (known, standing) {
            (Some(appliance), Ok(standing)) => (appliance, standing),
            // other keys, or a restart: verify again
            (_, Err(Error::Refused(_) | Error::Network(NetworkError::NoAnswer(_)))) => {
                let appliance = self.verify().await?;
                let standing = operator::standing(&appliance).await?;
                (appliance, standing)
            }
            (_, Err(error)) => return Err(error),
            (None, Ok(_)) => return Ok(false),
        };
        if standing.waiting {
            operator::change(&appliance, key, change).await?;
        }
        self.appliance = Some(appliance);
        Ok(standing.waiting)
    }
}

async fn watch(arguments: WatchArguments) -> Result<(), Error> {
    let key = operator::read_key(&arguments.operator_key)?;
    let change = Change { set: read_values(arguments.values)?, unset: BTreeSet::new() };
    let mut nodes = Vec::new();
    for options in session::reach_all(&arguments.appliances)? {
        nodes.push(Watched { options: over_tls(options), appliance: None, first: None, told: String::new() });
    }
    loop {
        let mut failed = None;
        for node in &mut nodes {
            let address = node.options.address.to_string();
            let said = match node.visit(&key, &change).await {
                Ok(true) => format!("{address} has its secrets"),
                Ok(false) => String::new(),
                Err(error) => {
                    let said = format!("{address}: {error}");
                    // what no waiting changes is not forgotten for what it may
                    if !matches!(failed, Some(Error::Refused(_))) {
                        failed = Some(error);
                    }
                    said
                }
            };
            if !said.is_empty() && said != node.told {
                speak::note(&said);
            }
            node.told = said;
        }
        match failed {
            None if arguments.once => return Ok(()),
            // it will not do otherwise by itself, and somebody waits for the outcome
            Some(Error::Refused(refusal)) if arguments.once => return Err(refusal.into()),
            _ => tokio::time::sleep(Duration::from_secs(arguments.interval.into())).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(items: &[&str]) -> Result<Vec<(String, String)>, UsageError> {
        let values = read_values(items.iter().map(|item| (*item).to_owned()).collect())?;
        Ok(values.into_iter().map(|(name, value)| (name, value.to_string())).collect())
    }

    #[test]
    fn a_value_is_written_or_in_a_file_or_in_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "a=b\n").unwrap();
        let in_file = format!("B=@{}", path.display());
        let found = read(&["A=x=@y", &in_file]).unwrap();
        assert_eq!(found, [("A".to_owned(), "x=@y".to_owned()), ("B".to_owned(), "a=b".to_owned())]);
        assert_eq!(read(&["PATH"]).unwrap().first().unwrap().1, std::env::var("PATH").unwrap());
    }

    #[test]
    fn an_error_repeats_no_value() {
        for items in
            [&["a b=MARK"][..], &["A=MARK", "A=MARK"], &["=MARK"], &["A=MARK\0"], &["A="], &["A=@/no/such/file"]]
        {
            let error = read(items).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("MARK"), "{error}");
        }
        assert!(matches!(read(&["LETHE_NO_SUCH_VARIABLE"]), Err(UsageError::NoSuchVariable { .. })));
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("long");
        std::fs::write(&long, "x".repeat(MAX_VALUE + 1)).unwrap();
        assert!(matches!(read(&[&format!("A=@{}", long.display())]), Err(UsageError::Secret(_))));
    }
}
