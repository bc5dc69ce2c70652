//! What each platform's evidence proves, label by label.

mod document;
mod none;
mod sev_snp;
mod tdx;
mod tpm2;

pub(super) use document::pinned_model;

use evidence::Time;
use protocol::TeeType;
use serde_json::{Map, Value};

use super::{
    evidence::Members,
    examine::Channel,
    findings::Findings,
    labels::Subject,
    trust::{Endorsements, Trust},
};
use crate::error::Refusal;

/// What is judged, and by which measure.
pub(super) struct Case<'a> {
    pub(super) members: &'a Members,
    /// The 64 bytes that the report says the hardware signed.
    pub(super) stated: [u8; 64],
    pub(super) trust: &'a Trust,
    pub(super) endorsements: &'a Endorsements,
    pub(super) at: Time,
}

/// Whether the hardware signed what the report says it did.
pub(super) enum Bound {
    /// It did.
    Holds,
    /// It signed something else.
    Broken(evidence::Refusal),
    /// There is no authentic evidence.
    Unknown,
}

/// What became of the evidence as a whole.
pub(super) struct Judged {
    pub(super) bound: Bound,
    pub(super) claims: Map<String, Value>,
}

impl Judged {
    fn nothing() -> Self {
        Self { bound: Bound::Unknown, claims: Map::new() }
    }
}

/// Judges the evidence of a platform: hardware, image, configuration, model. `None` labels the other two as well.
pub(super) fn platform(platform: TeeType, case: &Case<'_>, channel: &Channel, findings: &mut Findings) -> Judged {
    let members = case.members;
    let missing = |findings: &mut Findings, what| {
        findings.refuse(Subject::Hardware, Refusal::NoEvidence(what));
        Judged::nothing()
    };
    match platform {
        TeeType::None => {
            none::judge(case, channel, findings);
            Judged::nothing()
        }
        TeeType::Tpm2 => match &members.tpm2 {
            Some(evidence) => tpm2::judge(evidence, case, findings),
            None => missing(findings, "tpm2"),
        },
        TeeType::SevSnp => match &members.sev_snp {
            Some(evidence) => sev_snp::judge(evidence, case, findings),
            None => missing(findings, "sev_snp"),
        },
        TeeType::Tdx => match &members.tdx {
            Some(evidence) => tdx::judge(evidence, case, findings),
            None => missing(findings, "tdx"),
        },
    }
}

/// Why an image is not proven when the user named none.
const NO_REFERENCES: &str =
    "no reference values were given: name a signed release or your own image with --measurements";
