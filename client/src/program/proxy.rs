//! `lethe proxy`

use std::{sync::Arc, time::Duration};

use tokio::signal::unix::{SignalKind, signal};

use super::{
    arguments::{NodeArguments, ProxyArguments},
    session, speak, wires,
};
use crate::{
    address::Address,
    appliance::Options,
    error::{Error, UsageError},
    exit,
    proxy::{BreakerSettings, Door, Guard, Missing, NodeSettings, NodeState, Nodes, Proxy, Settings},
};

/// Verifies, listens, and forwards until Ctrl-C or SIGTERM.
///
/// # Errors
/// The refusal, or why it cannot listen.
pub async fn run(arguments: ProxyArguments) -> Result<(), Error> {
    let options = options(&arguments)?;
    let settings = settings(&arguments.nodes, options.len() > 1);
    let mut interrupted = signal(SignalKind::interrupt()).map_err(UsageError::Terminal)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(UsageError::Terminal)?;

    let serving = async {
        // Taken before an appliance is asked, listened on only afterwards: a wrong address should not wait for --wait.
        let door = Door::bind(arguments.listen, arguments.allow_remote)?;
        let nodes = open(options, settings).await?;
        let listener = door.open()?;
        let address = listener.local_addr().map_err(UsageError::Terminal)?;
        let names: Vec<_> = nodes.iter().map(|node| node.gate().address().to_string()).collect();
        speak::note(&format!("http://{address}/v1 forwards to {}", names.join(", ")));
        let settings = Settings { guard: Guard { hosts: arguments.allow_host, origins: arguments.allow_origin } };
        match Arc::new(Proxy::new(nodes, settings)).serve(listener).await {}
    };
    tokio::select! {
        result = serving => result,
        _ = interrupted.recv() => Ok(()),
        _ = terminated.recv() => Ok(()),
    }
}

/// What the arguments ask of each node.
fn options(arguments: &ProxyArguments) -> Result<Vec<Options>, Error> {
    if arguments.urls.len() > 1 && arguments.connection.pin.is_some() {
        return Err(UsageError::PinForSeveral.into());
    }
    let token = session::read_token(&arguments.token)?;
    let mut all: Vec<Options> = Vec::new();
    for url in &arguments.urls {
        let options = session::reach(url, &arguments.connection, &arguments.trust)?;
        if all.iter().any(|other| other.address == options.address) {
            return Err(UsageError::NamedTwice { address: options.address.to_string() }.into());
        }
        let mut options = Options { token: token.clone(), ..options };
        arguments.wires.apply(&mut options)?;
        all.push(options);
    }
    Ok(all)
}

fn settings(arguments: &NodeArguments, several: bool) -> NodeSettings {
    let seconds = |number: u32| Duration::from_secs(number.into());
    NodeSettings {
        balance: arguments.balance,
        breaker: BreakerSettings { failures: arguments.breaker_failures, pause: seconds(arguments.breaker_pause) },
        budget: seconds(arguments.budget),
        health_interval: seconds(arguments.health_interval),
        verify_interval: seconds(arguments.verify_interval),
        all: arguments.all,
        notice: several.then(|| Arc::new(tell) as _),
        ..NodeSettings::default()
    }
}

/// Says what became of a node.
fn tell(address: &Address, state: NodeState, reason: Option<&str>) {
    let reason = reason.filter(|_| state >= NodeState::Unverified).map(|reason| format!(": {reason}"));
    let line = format!("{address} {state}{}", reason.unwrap_or_default());
    if state == NodeState::InRotation { speak::note(&line) } else { speak::warning(&line) }
}

/// Verifies the nodes, and says which are not used.
async fn open(options: Vec<Options>, settings: NodeSettings) -> Result<Nodes, Error> {
    let several = options.len() > 1;
    let (nodes, missing) = match Nodes::open(options, settings).await {
        Ok(opened) => opened,
        Err(missing) => return Err(not_opened(missing, several)),
    };
    for node in nodes.iter() {
        if let Some(appliance) = node.gate().appliance() {
            if several {
                speak::note(&format!("{} is verified", node.gate().address()));
            }
            session::announce(node.gate().options(), appliance.verified());
            wires::announce(&appliance);
        }
    }
    for missing in &missing {
        speak::error(&missing.error, exit::help(&missing.error));
        speak::warning(&format!(
            "{} is NOT verified and gets no request; it is tried again in the background (with --all this proxy would not \
             have started)",
            missing.address
        ));
    }
    Ok(nodes)
}

/// Names those that are not verified; the first one's error is the program's.
fn not_opened(missing: Vec<Missing>, several: bool) -> Error {
    for missing in missing.iter().filter(|_| several) {
        speak::warning(&format!("{} is not verified: {}", missing.address, missing.error));
    }
    let none = || UsageError::NothingToVerify.into();
    missing.into_iter().next().map_or_else(none, |missing| missing.error)
}
