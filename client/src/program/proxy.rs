//! `lethe proxy`

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::{arguments::ProxyArguments, session, speak};
use crate::{
    error::{Error, UsageError},
    proxy::{Door, Gate, Guard, Proxy, Settings},
};

/// Verifies, listens, and forwards until Ctrl-C or SIGTERM.
///
/// # Errors
/// The refusal, or why it cannot listen.
pub async fn run(arguments: ProxyArguments) -> Result<(), Error> {
    let options = session::options(&arguments.appliance, Some(&arguments.token))?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(UsageError::Terminal)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(UsageError::Terminal)?;

    let serving = async {
        // Taken before the appliance is asked, listened on only afterwards: a wrong address should not wait for --wait.
        let door = Door::bind(arguments.listen, arguments.allow_remote)?;
        let gate = Gate::open(options.clone()).await?;
        session::announce(&options, gate.appliance().verified());
        let listener = door.open()?;
        let address = listener.local_addr().map_err(UsageError::Terminal)?;
        speak::note(&format!("http://{address}/v1 forwards to {}", options.address));
        let settings = Settings { guard: Guard { hosts: arguments.allow_host, origins: arguments.allow_origin } };
        match Arc::new(Proxy::new(gate, settings)).serve(listener).await {}
    };
    tokio::select! {
        result = serving => result,
        _ = interrupted.recv() => Ok(()),
        _ = terminated.recv() => Ok(()),
    }
}
