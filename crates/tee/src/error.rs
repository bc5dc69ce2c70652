//! Why a machine gives no evidence, or is not one to serve on.

use std::io;

use crate::tpm2::TpmError;
use crate::tsm::ReportError;

/// Why a machine gives no evidence, or is not one to serve on.
#[derive(Debug, thiserror::Error)]
pub enum TeeError {
    /// A device is there and cannot be used.
    #[error("cannot use {path}")]
    Device {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A table of firmware, or the event log, is longer than any that is honest.
    #[error("{path} is longer than {limit} bytes")]
    TooLong {
        /// Which.
        path: String,
        /// What is allowed.
        limit: usize,
    },
    /// The TPM.
    #[error("the TPM failed")]
    Tpm(#[from] TpmError),
    /// Reports through configfs.
    #[error("the kernel gives no report")]
    Reports(#[from] ReportError),
    /// The report is not one.
    #[error("the platform's report is malformed: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// The host may read the guest's memory.
    #[error("the guest was launched debuggable: the host can read its memory")]
    Debug,
    /// The guest may be moved by an agent that no evidence names.
    #[error("the guest was launched with a migration agent: its memory may leave this machine")]
    Migration,
    /// Something runs at a higher privilege than the guest.
    #[error("the guest runs at VMPL {level}: something else is above it")]
    Vmpl {
        /// Which level, not 0.
        level: u32,
    },
    /// The register holds another document's digest, or nothing.
    #[error("{register} is not the digest of the deployment document")]
    Binding {
        /// Which.
        register: &'static str,
    },
    /// The machine is of another boot, or its report of another request.
    #[error("the platform's report answers another request")]
    OtherRequest,
}

impl TeeError {
    /// Stable code of a refusal, lower case with dashes.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Device { .. } => "tee-device",
            Self::TooLong { .. } => "tee-event-log",
            Self::Tpm(TpmError::Measured { .. }) | Self::Binding { .. } => "document-binding",
            Self::Tpm(_) => "tee-tpm",
            Self::Reports(_) | Self::Malformed { .. } | Self::OtherRequest => "tee-report",
            Self::Debug => "tee-debug",
            Self::Migration => "tee-migration",
            Self::Vmpl { .. } => "tee-vmpl",
        }
    }
}
