//! The machine as a source of evidence: one trait, and what it is on SEV-SNP, TDX, TPM 2.0, and on any other machine.
//!
//! [`open`] finds the kind and opens every device that is ever needed, so that serving opens nothing by a path. [`Tee::bind`]
//! judges the deployment document against the platform's register, or measures it there, before anything parses it.
//! [`Tee::evidence`] then binds 64 bytes to all of it, as often as it is asked; requests queue behind one lock.
//!
//! Nothing here verifies evidence: that is the business of whoever receives it.

mod binding;
mod error;
mod evidence;
mod ioctl;
mod none;
mod open;
pub mod sev_snp;
pub mod tdx;
pub mod tpm2;
pub mod tsm;

pub use binding::{Binding, Origin};
pub use error::TeeError;
pub use evidence::{Bank, Evidence, SevSnpEvidence, TdxEvidence, Tpm2Evidence};
pub use none::NoTee;
pub use open::{EVENT_LOG_MAX_BYTES, Places, open};

use std::os::fd::BorrowedFd;

use zeroize::Zeroizing;

/// What a caller binds: 64 bytes, of which a TPM takes the SHA-256.
pub type ReportData = [u8; 64];

/// A secret that only this measured guest on this processor, or with this TPM, gets.
pub type Secret = Zeroizing<[u8; 32]>;

/// The kind of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// AMD SEV-SNP.
    SevSnp,
    /// Intel TDX.
    Tdx,
    /// A TPM 2.0, whoever made it.
    Tpm2,
    /// Nothing that vouches.
    None,
}

impl Platform {
    /// Name on the console: `sev-snp`, `tdx`, `tpm2`, `none`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SevSnp => "sev-snp",
            Self::Tdx => "tdx",
            Self::Tpm2 => "tpm2",
            Self::None => "none",
        }
    }
}

/// A machine that gives evidence, or says that it has none.
pub trait Tee: Send + Sync {
    /// Its kind.
    fn platform(&self) -> Platform;

    /// Binds the document to the machine before anything parses it: compares its digest with the platform's register, or
    /// extends the register with it. To be called once. `origin` says whether the image measurement covers the document.
    ///
    /// # Errors
    /// [`TeeError`] where a register names another document, and where the machine cannot be trusted at all.
    fn bind(&self, document: &[u8], origin: Origin) -> Result<Binding, TeeError>;

    /// Evidence over 64 bytes. One request at a time; others wait.
    ///
    /// # Errors
    /// [`TeeError`] where the machine gives none.
    fn evidence(&self, report_data: &ReportData) -> Result<Evidence, TeeError>;

    /// The secret that the platform derives from the measurement, where there is such a thing. It is read when the document is
    /// bound and is the same at every boot of the same image: material for a key, never a key.
    fn derived_secret(&self) -> Option<&Secret> {
        None
    }

    /// Why there is no such secret although machines of this kind can have one; nothing before the document is bound.
    fn withheld_secret(&self) -> Option<&TeeError> {
        None
    }

    /// The directory in which serving opens files, if it does. Nothing else needs to stay reachable.
    fn directory(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Makes the files of [`Tee::directory`] usable for a user without privileges.
    ///
    /// # Errors
    /// [`TeeError::Reports`].
    fn hand_over(&self, _user: u32, _group: u32) -> Result<(), TeeError> {
        Ok(())
    }
}
