//! `lethe check tdx`.

use serde_json::json;

use super::Verdict;
use crate::{
    Expected, Policy, Refusal, Time,
    tdx::{self as platform, Collateral},
};

/// Input of [`tdx`].
#[derive(Debug, Clone, Copy)]
pub struct Tdx<'a> {
    /// The quote (`--quote`).
    pub quote: &'a [u8],
    /// Intel's collateral, JSON (`--collateral`).
    pub collateral: Option<&'a [u8]>,
    /// What to ask (`--policy`).
    pub policy: &'a Policy,
    /// Expected fields (`--expect field=hex`).
    pub expected: &'a Expected,
    /// When (`--at`).
    pub at: Time,
}

/// Checks an Intel TDX quote.
#[must_use]
pub fn tdx(input: Tdx<'_>) -> Verdict {
    Verdict::of(verified(input).map(|verified| verified.claims()))
}

/// Checks an Intel TDX quote and replays the firmware's event log (`--event-log`) against its runtime registers.
#[must_use]
pub fn tdx_with_event_log(input: Tdx<'_>, event_log: &[u8]) -> Verdict {
    Verdict::of(verified(input).and_then(|verified| {
        verified.replay(event_log)?;
        let mut claims = verified.claims();
        claims.insert("event_log".to_owned(), json!("replayed"));
        Ok(claims)
    }))
}

fn verified(input: Tdx<'_>) -> Result<platform::Verified, Refusal> {
    let collateral = input.collateral.map(Collateral::from_json).transpose()?;
    let evidence = platform::Evidence { quote: input.quote, collateral: collateral.as_ref() };
    platform::verify(evidence, input.policy, input.expected, input.at)
}
