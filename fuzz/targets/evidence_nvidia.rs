//! A report and a chain of NVIDIA's: read without a slip, never accepted.

#![no_main]

use evidence::{Expected, Time, Verdict};
use libfuzzer_sys::fuzz_target;

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
    let (report, chain) = (part(&mut rest), rest);
    let (expected, at) = (Expected::nothing(), Time::from_unix(1_795_219_200));
    refused(&evidence::check::nvidia(evidence::check::Nvidia { report, chain, nonce: None, rims: &[], expected: &expected, at }));
});
