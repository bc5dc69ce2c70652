//! A deployment document, bare or on a disk: read or refused, and every refusal has one short line.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for fault in deployment::faults(data) {
        let line = fault.to_string();
        assert!(!line.contains('\n') && line.len() < 4096, "{line:?}");
    }
    assert_eq!(deployment::parse(data).is_ok(), deployment::faults(data).is_empty());
    if let Ok(wrapped) = deployment::unwrap_disk(data) {
        let disk = deployment::wrap_disk(wrapped);
        assert_eq!(deployment::unwrap_disk(&disk), Ok(wrapped));
        let same = data.len().min(disk.len());
        assert_eq!(disk.get(..same), data.get(..same));
    }
    if data.len() <= deployment::MAX_BYTES {
        let wrapped = deployment::Wrapped { toml: data, endorsements: None };
        assert_eq!(deployment::unwrap_disk(&deployment::wrap_disk(wrapped)), Ok(wrapped));
    }
});
