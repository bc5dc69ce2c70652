//! A policy from anywhere: read as a whole or not at all, and never looser for what it does not say.

#![no_main]

use evidence::Policy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(policy) = Policy::from_toml(text) {
        assert!(!policy.name.is_empty() || text.contains("name"));
        assert!(!policy.sev_snp.debug_allowed.because.trim().is_empty());
    }
});
