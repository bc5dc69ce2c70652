//! Attestation reports as a client reads them: refused, or with a keyset whose digest is that of its canonical form.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::{Report, Sha256Digest};

fuzz_target!(|data: &[u8]| {
    let Ok(report) = serde_json::from_slice::<Report>(data) else { return };
    let keyset = &report.attestation.workload_keyset;
    if let (Ok(digest), Ok(text)) = (keyset.digest(), keyset.canonical()) {
        assert_eq!(digest, Sha256Digest::of(text.as_bytes()));
        let again = serde_json::from_str(&text).expect("a canonical keyset is one");
        assert_eq!(*keyset, again);
    }
    let _ = keyset.check(0);
});
