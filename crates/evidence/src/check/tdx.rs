//! `lethe check tdx`.

use super::Verdict;
use crate::{
    Expected, Policy, Time,
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
    Verdict::of((|| {
        let collateral = input.collateral.map(Collateral::from_json).transpose()?;
        let evidence = platform::Evidence { quote: input.quote, collateral: collateral.as_ref() };
        Ok(platform::verify(evidence, input.policy, input.expected, input.at)?.claims())
    })())
}
