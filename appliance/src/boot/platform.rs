//! What kind of machine this is, and so what evidence it can give.

use std::sync::Arc;

use tee::{NoTee, Places, Tee, TeeError};

use super::Refused;
use super::mounts::Mounted;

/// The machine as a source of evidence. There is no pretended one: a test that needs a hardware signer brings its own.
pub type Machine = Arc<dyn Tee>;

/// Finds the machine's kind and opens its devices.
///
/// # Errors
/// A refusal where a device is there and cannot be used: such a machine is not one without a TEE.
pub fn open(_: &Mounted) -> Result<Machine, Refused> {
    Ok(tee::open(&Places::default()).map(Arc::from)?)
}

/// Host mode: an ordinary program on somebody's machine, whose devices are not its own.
#[must_use]
pub fn none() -> Machine {
    Arc::new(NoTee)
}

impl From<TeeError> for Refused {
    fn from(error: TeeError) -> Self {
        Self::new(error.code(), &error)
    }
}
