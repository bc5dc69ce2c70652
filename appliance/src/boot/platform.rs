//! What kind of machine this is, and so what evidence it can give.

use super::mounts::Mounted;

/// The machine's kind. There is no pretended one: a test that needs a hardware signer brings its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// No evidence: any machine, and every start in host mode. Clients refuse it unless told otherwise.
    None,
}

impl Platform {
    /// Name on the console, in `/health` and in evidence.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
        }
    }
}

/// Finds the machine's kind. No driver for a TEE is asked yet, so the answer is always [`Platform::None`].
#[must_use]
pub fn open(_: &Mounted) -> Platform {
    Platform::None
}
