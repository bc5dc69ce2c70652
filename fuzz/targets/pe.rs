//! A PE file: its digest covers every byte but those it must leave out, or it is refused. Disks and kernels beside it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use measurements::authenticode::{self, Digests};
use measurements::pe::Layout;
use measurements::{bzimage, partition_table};

fuzz_target!(|data: &[u8]| {
    match (Layout::parse(data), authenticode::digests(data)) {
        (Ok(layout), Ok(digests)) => {
            let measured: usize = layout.measured(data).into_iter().flatten().map(<[u8]>::len).sum();
            assert!(measured <= data.len() - 4);
            assert_eq!(authenticode::sha384(data), Ok(digests.sha384));
        }
        (Err(error), Err(other)) => {
            assert_eq!(error, other);
            assert!(error.to_string().len() < 300);
        }
        (layout, digests) => panic!("{layout:?} {digests:?}"),
    }
    let _ = partition_table::event::<Digests>(data);
    for initrd in [None, Some((4096, 1 << 30)), Some((u64::MAX, 1 << 30))] {
        if let Ok(changed) = bzimage::changed_by_qemu(data, initrd) {
            assert_eq!(changed.len(), data.len());
        }
    }
});
