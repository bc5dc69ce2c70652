//! What kind of machine this is, and so what evidence it can give.

use protocol::TeeType;

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
    pub const fn name(self) -> &'static str {
        self.tee_type().name()
    }

    /// The kind as evidence names it.
    #[must_use]
    pub const fn tee_type(self) -> TeeType {
        match self {
            Self::None => TeeType::None,
        }
    }
}

/// Finds the machine's kind. No driver for a TEE is asked yet, so the answer is always [`Platform::None`].
#[must_use]
pub fn open(_: &Mounted) -> Platform {
    Platform::None
}
