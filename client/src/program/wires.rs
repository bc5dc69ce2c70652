//! Options about wires and receipts, and what is said about them.

use std::{path::PathBuf, sync::Arc};

use clap::Args;

use super::speak;
use crate::{
    appliance::{Appliance, Options},
    error::{Error, UsageError},
    receipts::{Archive, Demand},
    sealed::Wire,
};

/// What requests travel in, and what is asked of receipts.
#[derive(Debug, Args)]
#[command(next_help_heading = "Wires and receipts")]
pub struct WireArguments {
    /// How requests travel: sealed as chunked OHTTP to a key of the attested keyset (ohttp), over the pinned TLS connection alone
    /// (tls), or sealed where the appliance offers it (auto)
    #[arg(long, value_name = "auto|ohttp|tls", default_value = "auto")]
    pub wire: String,

    /// Send sealed requests through this relay, so that the appliance does not see this machine's address with them. Attestation (at the
    /// start, and after each change of its keys) goes there without it: --via hides the address there too. A relay leads to one
    /// appliance, so this goes with a single one
    #[arg(long, value_name = "URL")]
    pub ohttp_relay: Option<String>,

    /// What is asked of receipts: a receipt that was promised has to be good (check), every answer has to have one (require), or
    /// nothing (off)
    #[arg(long, value_name = "check|require|off", default_value = "check")]
    pub receipts: String,

    /// Save each answer with its request, receipt and evidence in this folder, for its owner alone. PROMPTS AND ANSWERS ARE
    /// WRITTEN IN THE CLEAR
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
}

impl WireArguments {
    /// Writes them into options.
    ///
    /// # Errors
    /// [`UsageError`].
    pub fn apply(&self, options: &mut Options) -> Result<(), Error> {
        options.wire = self.wire.parse().map_err(UsageError::Wire)?;
        options.relay = self.ohttp_relay.as_deref().map(str::parse).transpose().map_err(UsageError::Relay)?;
        if options.relay.is_some() && options.wire == Wire::Tls {
            return Err(UsageError::RelayWithoutOhttp.into());
        }
        options.receipts.demand = self.receipts.parse().map_err(UsageError::Receipts)?;
        options.receipts.archive = self.save.as_deref().map(Archive::open).transpose()?.map(Arc::new);
        Ok(())
    }
}

/// Says what a user may not expect.
pub fn announce(appliance: &Appliance) {
    if let Some(archive) = &appliance.receipts().archive {
        speak::warning(&format!("prompts and answers are saved in the clear in {}", archive.folder().display()));
    }
}

/// Says once that answers have no receipts.
pub fn tell_missing(appliance: &Appliance) {
    let receipts = appliance.receipts();
    if receipts.demand == Demand::Check && receipts.missing() == 1 && receipts.verified() == 0 {
        speak::note("the answer has no receipt: what gave it cannot be proved later");
    }
}
