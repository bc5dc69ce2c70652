//! `lethe-image delete`: forgets stopped machines.

use std::time::Duration;

use super::Error;
use super::name::Name;
use super::stop::stop;
use super::store::Store;

/// How long a running machine has to stop under `--force`.
const GRACE: Duration = Duration::from_secs(10);

/// Arguments of `delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  lethe-image delete demo\n  lethe-image delete demo --force    stop it first")]
pub struct Args {
    /// The machines
    #[arg(required = true)]
    names: Vec<Name>,
    /// Stop a machine that runs, and delete one whose record is damaged
    #[arg(long, short)]
    force: bool,
}

/// Deletes machines with their logs, firmware variables and TPM state.
///
/// # Errors
/// If there is no such machine, or it runs.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let store = Store::of_user()?;
    for name in &args.names {
        if args.force {
            match stop(&store, name, GRACE) {
                // Deleting is what a damaged record or a machine that left by itself is asked for.
                Ok(_) | Err(Error::Record { .. } | Error::File { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if store.directory(name).is_dir() || !args.force {
            store.claim_existing(name)?.delete()?;
        }
        println!("deleted {name}");
    }
    Ok(())
}
