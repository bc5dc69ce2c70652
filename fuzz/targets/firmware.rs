//! A firmware image: its table and metadata are read or refused, and what was read is measured without surprise.

#![no_main]

use libfuzzer_sys::fuzz_target;
use measurements::firmware::variables::secure_boot_keys;
use measurements::firmware::{Firmware, FirmwareError, sev, tdx};
use measurements::sev_snp::{
    CpuSignature, Guest, GuestFeatures, KernelHashes, SnpError, Vcpus, Vmm, firmware_digest, launch_digest,
};
use measurements::tdx::{Memory, PageOrder, mrtd, td_hob_digest};

/// More memory than this takes too long to hash for a fuzzer; the bound of the readers is 4 GiB.
const MEASURED: u64 = 16 << 20;

fuzz_target!(|data: &[u8]| {
    let _ = secure_boot_keys(data).map_err(|error| check(error, data));
    // The readers take whole pages: what the fuzzer made is the end of an image.
    let pages = data.len().next_multiple_of(4096);
    let image = [vec![0; pages - data.len()], data.to_vec()].concat();
    let firmware = match Firmware::parse(&image) {
        Ok(firmware) => firmware,
        Err(error) => return check(error, &image),
    };
    match sev::Layout::read(&firmware) {
        Ok(layout) => sev_snp(&firmware, &layout),
        Err(error) => check(error, &image),
    }
    match tdx::Layout::read(&firmware) {
        Ok(layout) => tdx(&layout),
        Err(error) => check(error, &image),
    }
});

fn sev_snp(firmware: &Firmware<'_>, layout: &sev::Layout) {
    if layout.sections().iter().map(|section| u64::from(section.size)).sum::<u64>() > MEASURED {
        return;
    }
    let (Ok(vcpus), Ok(kernel)) = (Vcpus::new(2), KernelHashes::of(b"kernel", None, None)) else { unreachable!() };
    let seed = firmware_digest(firmware);
    for vmm in [Vmm::Qemu, Vmm::Ec2, Vmm::Gce] {
        let guest = Guest { vcpus, cpu: CpuSignature::from_eax(1), features: GuestFeatures::SNP, vmm };
        let plain = launch_digest(seed, layout, None, &guest);
        match launch_digest(seed, layout, Some(&kernel), &guest) {
            Ok(digest) => assert!(layout.hash_table().is_some() && plain.is_ok_and(|plain| plain != digest)),
            Err(error) => assert_eq!(error, SnpError::KernelNotMeasured),
        }
    }
}

fn tdx(layout: &tdx::Layout<'_>) {
    if let Ok(memory) = Memory::new(1 << 30) {
        let _ = td_hob_digest(layout, memory);
    }
    if layout.sections().iter().map(|section| section.size).sum::<u64>() <= MEASURED {
        let _ = PageOrder::ALL.map(|order| mrtd(layout, order));
    }
}

/// Every refusal is one short line.
fn check(error: FirmwareError, data: &[u8]) {
    let line = error.to_string();
    assert!(!line.contains('\n') && line.len() < 300, "{line:?} of {} bytes", data.len());
}
