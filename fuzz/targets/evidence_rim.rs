//! A reference manifest of NVIDIA's: signed XML. Read without a slip, canonical form stays as it is, never NVIDIA's.

#![no_main]

use evidence::{Time, nvidia::Rim};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // Within the certificates of the seed; under the root that a manifest brings, nothing under NVIDIA's.
    let at = Time::from_unix(1_767_225_600);
    evidence::fuzz::rim(data, at);
    let refusal = Rim::verify(data, at).expect_err("nobody can forge a vendor's signature");
    assert!(refusal.reason().len() <= 400);
});
