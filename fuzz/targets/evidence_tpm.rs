//! A TPM quote with its signature, registers and event log: read without a slip, never accepted. The log is judged as a boot
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

/// The P-256 base point as a key: everybody knows its secret half is 1, so what it signs is not asserted on.
const KEY: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6,
    0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98,
    0xc2, 0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b,
    0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
];

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    let (quote, signature, pcrs, event_log) = (part(&mut rest), part(&mut rest), part(&mut rest), rest);
    let (expected, at) = (Expected::nothing(), Time::from_unix(1_795_219_200));
    let input = evidence::check::Tpm2 {
        quote,
        signature,
        ak: evidence::tpm::AttestationKey::Pinned(KEY),
        nonce: None,
        pcrs: Some(pcrs),
        event_log: Some(event_log),
        boot: None,
        policy: &POLICY,
        expected: &expected,
        at,
    };
    refused(&evidence::check::tpm2(input));
    evidence::fuzz::tpm(data);
    evidence::fuzz::tpm(quote);
    evidence::fuzz::tpm_boot(event_log);
    evidence::fuzz::tpm_boot(data);
});
