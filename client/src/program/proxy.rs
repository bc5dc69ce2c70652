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
///
/// # Errors
/// [`UsageError`]; a relay for several appliances is one that nobody means.
fn options(arguments: &ProxyArguments) -> Result<Vec<Options>, Error> {
    let token = session::read_token(&arguments.token)?;
    let mut all = session::reach_all(&arguments.appliances)?;
    // it has one gateway, which would get what is sealed to the others' keys
    if all.len() > 1 && arguments.wires.ohttp_relay.is_some() {
        return Err(UsageError::RelayForSeveral.into());
    }
    for options in &mut all {
        options.token.clone_from(&token);
        arguments.wires.apply(options)?;
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{
        program::arguments::{Arguments, Command},
        proxy::Balance,
    };

    const A: &str = "https://127.0.0.1:1";
    const B: &str = "https://127.0.0.1:2";
    const RELAY: [&str; 2] = ["--ohttp-relay", "https://relay.example/lethe"];

    fn parse(arguments: &[&str]) -> ProxyArguments {
        match Arguments::try_parse_from([&["lethe", "proxy"], arguments].concat()).unwrap().command {
            Command::Proxy(arguments) => arguments,
            other => panic!("another command: {other:?}"),
        }
    }

    fn asked(arguments: &[&str]) -> NodeSettings {
        let arguments = parse(arguments);
        settings(&arguments.nodes, arguments.appliances.urls.len() > 1)
    }

    #[test]
    fn without_options_a_node_has_the_documented_times_and_counts() {
        let settings = asked(&[A]);
        assert_eq!(settings.breaker, BreakerSettings { failures: 5, pause: Duration::from_secs(30) });
        assert_eq!(settings.budget, Duration::from_secs(600));
        assert_eq!(settings.health_interval, Duration::from_secs(10));
        assert_eq!(settings.verify_interval, Duration::from_secs(3600));
        assert_eq!((settings.balance, settings.all), (Balance::LeastBusy, false));
        assert!(settings.notice.is_none() && asked(&[A, B]).notice.is_some(), "one node needs no name");
    }

    #[test]
    fn each_option_sets_its_own_value() {
        let settings = asked(&[
            A,
            "--breaker-failures",
            "2",
            "--breaker-pause",
            "3",
            "--budget",
            "4",
            "--health-interval",
            "6",
            "--verify-interval",
            "7",
            "--balance",
            "round-robin",
            "--all",
        ]);
        assert_eq!(settings.breaker, BreakerSettings { failures: 2, pause: Duration::from_secs(3) });
        assert_eq!(settings.budget, Duration::from_secs(4));
        assert_eq!(settings.health_interval, Duration::from_secs(6));
        assert_eq!(settings.verify_interval, Duration::from_secs(7));
        assert_eq!((settings.balance, settings.all), (Balance::RoundRobin, true));
    }

    #[test]
    fn a_relay_is_for_one_appliance() {
        let one = options(&parse(&[&[A], &RELAY[..]].concat())).unwrap();
        assert!(one.iter().all(|options| options.relay.is_some()) && one.len() == 1);
        let several = options(&parse(&[&[A, B], &RELAY[..]].concat()));
        assert!(matches!(several, Err(Error::Usage(UsageError::RelayForSeveral))));
        assert_eq!(options(&parse(&[A, B])).unwrap().len(), 2);
    }
}
