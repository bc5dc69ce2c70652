//! Firmware's log of what it measured: read, replayed, explained.
//!
//! Source: TCG "PC Client Platform Firmware Profile", sections "TCG_PCR_EVENT" and "TCG_PCR_EVENT2" (the crypto-agile
//! form, which TDX's CCEL uses too), "Spec ID Event"; TCG 1.2 logs have SHA-1 only. The log is the host's to forge: it
//! means something only after its replay equals a quoted register.

mod algorithm;
mod error;
mod event_type;
mod explain;
mod parse;
mod replay;
mod text;

pub use algorithm::Algorithm;
pub use error::LogError;
pub use event_type::EventType;
pub use explain::{Proof, explain, proof};
pub use replay::Register;

/// Which of the two forms a log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// TCG 1.2: one SHA-1 digest an event, no header.
    Sha1,
    /// Several digests an event, announced by a header.
    CryptoAgile,
}

/// What the register numbers of a log mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registers {
    /// PCRs of a TPM.
    Pcr,
    /// Measurement registers of TDX: 0 is MRTD, 1 to 4 are RTMR0 to RTMR3.
    Rtmr,
}

impl Registers {
    /// The name of a register: `PCR 4`, `RTMR1`.
    #[must_use]
    pub fn name(self, index: u32) -> String {
        match (self, index) {
            (Self::Pcr, index) => format!("PCR {index}"),
            (Self::Rtmr, 0) => "MRTD".to_owned(),
            (Self::Rtmr, index) => format!("RTMR{}", index - 1),
        }
    }
}

/// One digest of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest<'a> {
    /// What it was made with.
    pub algorithm: Algorithm,
    /// The digest.
    pub bytes: &'a [u8],
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// Where it starts in the log.
    pub offset: u64,
    /// Number of the register it was extended into; see [`Registers`].
    pub register: u32,
    /// What kind of event it is.
    pub kind: EventType,
    /// One digest for each algorithm of the log.
    pub digests: Vec<Digest<'a>>,
    /// What firmware noted about it. Proven only as far as [`proof`] says.
    pub data: &'a [u8],
}

impl<'a> Event<'a> {
    /// The event's digest of that algorithm.
    #[must_use]
    pub fn digest(&self, algorithm: Algorithm) -> Option<&'a [u8]> {
        self.digests.iter().find(|digest| digest.algorithm == algorithm).map(|digest| digest.bytes)
    }
}

/// A log that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log<'a> {
    /// Its form.
    pub format: Format,
    /// The algorithms of which every event has a digest.
    pub algorithms: Vec<Algorithm>,
    /// The events after the header, in order.
    pub events: Vec<Event<'a>>,
    /// Where the last event ends; padding of zeros or ones may follow.
    pub end: u64,
}

impl<'a> Log<'a> {
    /// Reads a whole log.
    ///
    /// # Errors
    /// [`LogError`] with the offset of the first byte that makes no sense. A log is never read in part.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, LogError> {
        parse::log(bytes)
    }

    /// What the register numbers most likely mean: a log of SHA-384 alone is a CCEL.
    #[must_use]
    pub fn registers(&self) -> Registers {
        if self.algorithms == [Algorithm::Sha384] { Registers::Rtmr } else { Registers::Pcr }
    }

    /// The registers as the events leave them, in order of their numbers; none for an algorithm the log does not have or
    /// that cannot be computed here.
    #[must_use]
    pub fn replay(&self, algorithm: Algorithm) -> Vec<Register> {
        replay::replay(self, algorithm)
    }
}
