//! A quote and Intel's collateral: read without a slip, never accepted. What follows the quote is judged as the log of a boot
//! too, against the registers that it leads to.

#![no_main]

use evidence::{Expected, Policy, Time, Verdict};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::embedded("hardware").expect("an embedded policy"));

/// Nobody can forge a vendor's signature, a fuzzer neither; and a refusal says little however much it was given.
fn refused(verdict: &Verdict) {
    assert!(!verdict.is_accepted());
    assert!(verdict.to_json().to_string().len() < 4096);
}

/// The next part: its length in two bytes, then as many bytes as there are.
fn part<'a>(data: &mut &'a [u8]) -> &'a [u8] {
    let Some((length, rest)) = data.split_first_chunk::<2>() else { return &[] };
    let (part, rest) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes(*length))));
    *data = rest;
    part
}

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    let (quote, collateral) = (part(&mut rest), rest);
    let (expected, at) = (Expected::nothing(), Time::from_unix(1_795_219_200));
    let input = evidence::check::Tdx { quote, collateral: Some(collateral), policy: &POLICY, expected: &expected, at };
    refused(&evidence::check::tdx(input));
    refused(&evidence::check::tdx_with_event_log(evidence::check::Tdx { collateral: None, ..input }, collateral));
    evidence::fuzz::quote(quote);
    evidence::fuzz::collateral_text(collateral);
    evidence::fuzz::tdx_boot(collateral);
    evidence::fuzz::tdx_boot(data);
});
