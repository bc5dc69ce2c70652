//! PID 1: the steps of a boot, in order. Each takes the proof of the one it needs, so that swapping two does not
//! compile.

pub mod available;
pub mod console;
pub mod disks;
pub mod document;
#[cfg(test)]
mod fake;
pub mod loading;
pub mod model;
pub mod mounts;
pub mod network;
pub mod platform;
mod refused;
pub mod serving;
mod system;

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use available::Available;
use console::{Console, Fact, Stage};
use deployment::Document;
use disks::Content;
use document::Bound;
use model::{ModelError, Once};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::termios::tcdrain;
use platform::Machine;

pub use refused::Refused;
pub use system::{Disk, Linux, System};

use crate::identity::{Ground, Identity, IdentityError, Origin};
use crate::lockdown;
use crate::lockdown::files::Reachable;
use crate::lockdown::memory::{self, MemoryError, MemoryLocked};
use crate::lockdown::policy::Profile;
use crate::lockdown::privileges::SERVER_ID;

/// Runs as PID 1 and never returns: it serves, or prints one refusal and powers the machine off.
pub fn run() -> ! {
    let refused = match console::attach() {
        Ok(console) => match boot(&Linux::default(), console) {
            Ok(never) => match never {},
            Err(refused) => {
                console.refused(&refused);
                refused
            }
        },
        Err(error) => Refused::new("console", &error),
    };
    power_off(&refused)
}

/// Everything before the first byte of a request, in order.
fn boot(system: &Linux, console: Console) -> Result<Infallible, Refused> {
    let mounted = mounts::mount_all(system)?;
    console.stage(Stage::Mounts, &[Fact::Count("mounts", mounts::MOUNTS.len())]);
    let machine = platform::open(&mounted)?;
    console.stage(Stage::Platform, &[Fact::Platform(machine.platform().name())]);
    let bound = document::find(system, &mounted, &*machine)?;
    show_document(&bound, console);
    if let Some(reason) = machine.withheld_secret() {
        console.cannot_seal(&Refused::new(reason.code(), reason));
    }
    let memory = lock_memory(system, false)?;
    console.stage(Stage::Memory, &[]);
    let identity = establish(&bound, Arc::clone(&machine), &memory)?;
    console.stage(Stage::Keys, &[Fact::Seals(identity.sealing_secret().is_some())]);
    console.spki(identity.tls().spki_sha256());

    // Nothing on the disks or in sysfs is needed once the model's disk is open; nothing but /proc can be opened after.
    let (_, disk) = disks::wait_for(system, Content::Model).map_err(ModelError::Disks)?.ok_or(ModelError::Missing)?;
    mounts::unmount_unneeded(system, mounted)?;
    let port = bound.document.listen.address.port();
    let (profile, reports) = match machine.directory() {
        Some(directory) => (Profile::ImageWithReports, Some(directory)),
        None => (Profile::Image, None),
    };
    let read = vec![PathBuf::from("/proc")];
    let reachable = Reachable { read, reports, socket_directory: None, bind: Some(port) };
    let begun = lockdown::renounce(profile, &reachable)?;
    let loaded = load_model(disk, &bound.document, console, engine_gave_up)?;

    let network = network::bring_up(&bound.document.network, console)?;
    console.stage(Stage::Network, &[Fact::Address(network.address)]);
    let socket = serving::bind_tcp(bound.document.listen.address)?;
    show_evidence(&identity, console)?;
    let server = serving::Server::assemble(bound, identity, loaded)?;
    machine.hand_over(SERVER_ID, SERVER_ID)?;
    let confined = lockdown::confine(profile, begun)?;
    console.stage(Stage::Lockdown, &[Fact::Count("threads", confined.threads), Fact::Count("rules", confined.rules)]);
    let opened = |port: Option<u16>| {
        console.stage(Stage::Serving, &[]);
        console.ready(port.unwrap_or_default());
    };
    server.serve(vec![socket], &confined, opened, std::future::pending())?;
    Err(Refused::because("server-ended", "the server ended by itself"))
}

/// Swap absent, pages locked, no cores; the same in host mode.
///
/// # Errors
/// [`MemoryError`]
pub fn lock_memory(system: &impl System, tolerant: bool) -> Result<MemoryLocked, MemoryError> {
    const SWAPS_BYTES: u64 = 64 * 1024;
    let swaps = system.read("/proc/swaps", SWAPS_BYTES).map_err(MemoryError::Swaps)?;
    memory::lock(swaps.as_deref(), tolerant)
}

/// The keys of this boot, in locked memory.
///
/// # Errors
/// A refusal with the code `keys`.
fn establish(bound: &Bound, machine: Machine, memory: &MemoryLocked) -> Result<Identity, Refused> {
    let (document, endorsements) = (bound.bytes.clone(), bound.endorsements.clone());
    let ground = Ground { machine, binding: bound.binding, document, endorsements };
    Identity::on(&bound.document, origin(bound, false, memory), ground).map_err(refused_keys)
}

/// The document is found, judged and read.
pub fn show_document(bound: &Bound, console: Console) {
    let binding = Fact::Binding(bound.binding.name());
    console.stage(Stage::Document, &[Fact::Source(bound.source.name()), Fact::Sha256(&bound.sha256), binding]);
}

/// What evidence says about this boot beside its keys.
#[must_use]
pub fn origin(bound: &Bound, host_mode: bool, memory: &MemoryLocked) -> Origin {
    Origin { host_mode, insecure_host: !memory.missing().is_empty(), document_sha256: bound.sha256 }
}

/// A refusal for keys that could not be made or read.
#[must_use]
pub fn refused_keys(error: IdentityError) -> Refused {
    Refused::new("keys", &error)
}

/// Copies, hashes, checks and loads the model; the same in host mode.
///
/// # Errors
/// The refusals of [`model::store`] and [`loading::load`].
pub fn load_model(
    source: File,
    document: &Document,
    console: Console,
    end: llama::EndHook,
) -> Result<loading::Loaded, Refused> {
    let of = document.model.size_bytes;
    let progress = |copied| console.progress(Stage::Model, &[Fact::Copied { copied, of }]);
    let twice = document.engine.repack && loading::kernels(document.engine.kernels)?.repacks();
    Available::now().require_weights(&document.model, if twice { 2 } else { 1 })?;
    progress(0);
    let stored = model::store(Once::new(source), &document.model, progress)?;
    let copy = stored.took;
    let started = std::time::Instant::now();
    let loaded = loading::load(stored, document, end)?;
    console.stage(
        Stage::Model,
        &[
            Fact::Copied { copied: of, of },
            Fact::Architecture(loaded.architecture),
            Fact::Kernels(loaded.kernels.as_str()),
            Fact::Took("copy", copy),
            Fact::Took("check", loaded.checked_in),
            Fact::Took("load", started.elapsed().saturating_sub(loaded.checked_in)),
        ],
    );
    Ok(loaded)
}

/// Makes the statement about keys and machine once, so that a machine that cannot make it does not serve.
///
/// # Errors
/// A refusal with the code `evidence`.
pub fn show_evidence(identity: &Identity, console: Console) -> Result<(), Refused> {
    identity.report(None).map_err(|error| Refused::new("evidence", &error))?;
    console.stage(Stage::Evidence, &[Fact::Platform(identity.platform().name())]);
    Ok(())
}

/// llama.cpp gave up. While loading, that is a refusal like any other; once locked down, powering off is forbidden and
/// the attempt ends the machine by a reset.
fn engine_gave_up(code: &'static str) {
    let refused = Refused::because(code, "llama.cpp stopped");
    console::of_process().refused(&refused);
    power_off(&refused)
}

/// Powers the machine off. The refusal was printed; it is asked for so that no path comes here without one.
fn power_off(_: &Refused) -> ! {
    // The last line must leave the serial port before the power does.
    let _ = tcdrain(io::stderr());
    let _ = reboot(RebootMode::RB_POWER_OFF);
    // Only where that is not possible: the end of PID 1 is a kernel panic, and so a reset.
    std::process::abort()
}
