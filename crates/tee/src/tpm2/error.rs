//! Why a TPM is of no use.

use std::io;

/// Why a TPM is of no use.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// It cannot be reached.
    #[error("cannot reach the TPM for {command}")]
    Transport {
        /// Which command was sent.
        command: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It refused a command.
    #[error("the TPM answers {command} with code {code:#x}")]
    Refused {
        /// Which.
        command: &'static str,
        /// `TPM_RC`.
        code: u32,
    },
    /// A command cannot be put into bytes, or an answer is not one.
    #[error("the TPM's {command} is malformed: {what}")]
    Malformed {
        /// Which.
        command: &'static str,
        /// The marshaller's word for it.
        what: String,
    },
    /// No bank with SHA-256 has the registers that are quoted.
    #[error("the TPM has no bank of SHA-256 registers")]
    NoBank,
    /// The register of the document is not zero: something was measured into it before this program ran.
    #[error("PCR 12 of the bank {bank} was extended before the deployment document")]
    Measured {
        /// Which.
        bank: &'static str,
    },
    /// After the document was measured, the register is not what it has to be.
    #[error("PCR 12 of the bank {bank} is not the measurement of the deployment document")]
    NotMeasured {
        /// Which.
        bank: &'static str,
    },
    /// The registers changed while they were read, again and again.
    #[error("the registers do not hash to the quote's digest")]
    Registers,
    /// The quote answers another request.
    #[error("the quote is not over the bytes that were asked for")]
    OtherRequest,
    /// The key is not one that signs the TPM's own structures only.
    #[error("the attestation key is not a restricted signing key of a known kind")]
    Key,
}

impl TpmError {
    /// A marshaller's error.
    pub(super) fn malformed(command: &'static str, error: impl std::fmt::Display) -> Self {
        Self::Malformed { command, what: error.to_string() }
    }
}
