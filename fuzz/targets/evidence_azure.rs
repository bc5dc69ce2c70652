//! Azure's report and the quote of its virtual TPM: read without a slip, never accepted. The quote is judged by the key that
//! the report names, too, whoever made the report.

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
    let (hcl_report, vek, td_quote) = (part(&mut rest), part(&mut rest), part(&mut rest));
    let (quote, signature, pcrs, event_log) = (part(&mut rest), part(&mut rest), part(&mut rest), rest);
    let (expected, at) = (Expected::nothing(), Time::from_unix(1_795_219_200));
    let input = evidence::check::Azure {
        hcl_report,
        vek: Some(vek),
        crls: &[],
        td_quote: (!td_quote.is_empty()).then_some(td_quote),
        collateral: None,
        quote: (!quote.is_empty()).then_some((quote, signature)),
        pcrs: (!pcrs.is_empty()).then_some(pcrs),
        nonce: None,
        event_log: (!event_log.is_empty()).then_some(event_log),
        policy: &POLICY,
        expected: &expected,
        at,
    };
    refused(&evidence::check::azure(input));
    evidence::fuzz::hcl_report(hcl_report);
    let registers = evidence::tpm::Registers::from_json(pcrs).ok();
    let quote = evidence::tpm::Evidence { quote, signature, registers: registers.as_ref(), event_log: Some(event_log) };
    evidence::fuzz::azure_quote(hcl_report, quote, &POLICY);
});
