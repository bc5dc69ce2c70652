//! A deployment document, bare or on a disk: read or refused, and every refusal has one short line.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for fault in deployment::faults(data) {
        let line = fault.to_string();
        assert!(!line.contains('\n') && line.len() < 4096, "{line:?}");
    }
    assert_eq!(deployment::parse(data).is_ok(), deployment::faults(data).is_empty());
    if let Ok(toml) = deployment::unwrap_disk(data) {
        assert_eq!(deployment::wrap_disk(toml).get(..12 + toml.len()), data.get(..12 + toml.len()));
    }
    if data.len() <= deployment::MAX_BYTES {
        let disk = deployment::wrap_disk(data);
        assert_eq!(deployment::unwrap_disk(&disk).ok(), Some(data));
    }
});
