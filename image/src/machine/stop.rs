//! `lethe-image stop`: ends machines and keeps their logs.

use std::time::Duration;

use super::Error;
use super::name::Name;
use super::process::ProcessId;
use super::record::{Record, State};
use super::store::Store;

/// How long a killed process may take to be gone.
const KILL_GRACE: Duration = Duration::from_secs(5);

/// Arguments of `stop`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lethe-image stop demo --timeout 5")]
pub struct Args {
    /// The machines
    #[arg(required = true)]
    names: Vec<Name>,
    /// Seconds after which a machine that does not stop is killed
    #[arg(long, value_name = "S", default_value_t = 10)]
    timeout: u64,
}

/// Stops machines; one that does not run is fine.
///
/// # Errors
/// If there is no such machine, or it cannot be stopped.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let store = Store::of_user()?;
    for name in &args.names {
        if stop(&store, name, Duration::from_secs(args.timeout))? {
            println!("stopped {name}");
        } else {
            println!("{name} was not running");
        }
    }
    Ok(())
}

/// Stops one machine. False if it was not running.
///
/// # Errors
/// If there is no such machine, or it cannot be stopped.
pub fn stop(store: &Store, name: &Name, grace: Duration) -> Result<bool, Error> {
    let record = store.record(name)?;
    if !store.is_running(name) {
        return Ok(false);
    }
    if let Some(supervisor) = record.supervisor.as_ref().and_then(ProcessId::open) {
        supervisor.terminate();
        if !supervisor.ends_within(grace) {
            // The kernel then kills its children too.
            supervisor.kill();
            if !supervisor.ends_within(KILL_GRACE) {
                return Err(Error::Unstoppable { name: name.clone() });
            }
        }
    }
    if let Some(qemu) = record.qemu.as_ref().and_then(ProcessId::open)
        && !qemu.ends_within(KILL_GRACE)
    {
        qemu.kill();
    }
    write_last_word(store, name)?;
    Ok(true)
}

/// A supervisor that was killed has not written how its machine ended.
fn write_last_word(store: &Store, name: &Name) -> Result<(), Error> {
    if !store.directory(name).is_dir() {
        // It was a foreground machine without a name, and took its directory with it.
        return Ok(());
    }
    let claim = store.claim_existing(name).map_err(|error| match error {
        Error::Running { name } => Error::Unstoppable { name },
        error => error,
    })?;
    let record = Record::load(claim.directory(), name)?;
    if record.state.judged(false) == State::Died {
        Record { state: State::Stopped, ..record }.save(claim.directory())?;
    }
    Ok(())
}
