//! Every value of a release, from image and firmware.

use std::path::Path;

use anyhow::Context as _;
use measurements::firmware::{sev, tdx, variables};
use measurements::partition_table;
use measurements::register::{Bank, Candidate, Expected, Prediction};
use measurements::release::{
    Digest, Firmware, LaunchDigests, Pcrs, Platform, Register, SevSnp, Tdx, Tpm2, VCPUS, check_name,
};
use measurements::sev_snp::{
    CpuSignature, Guest, GuestFeatures, KernelHashes, Vcpus, Vmm, firmware_digest, launch_digest,
};
use measurements::tdx::{Boot, PageOrder, mrtd, rtmr0, rtmr1, rtmr2};
use measurements::tpm2;

use super::artifacts;
use crate::measure::inputs;
use crate::report::advise;

/// The image, and the disk it is published on.
pub(super) struct Booted<'a> {
    /// `lethe.efi`.
    pub(super) efi: &'a [u8],
    /// The first bytes of the disk image, where there is one.
    pub(super) disk: Option<&'a [u8]>,
}

impl Booted<'_> {
    fn partition_table<D: Bank>(&self) -> anyhow::Result<Option<Expected<D>>> {
        let event = self.disk.map(partition_table::event).transpose();
        event.with_context(|| {
            advise("the disk has no partition table that can be measured", "give a raw GPT disk image")
        })
    }
}

/// What platforms report for the image under one firmware image.
pub(super) fn firmware(path: &Path, booted: &Booted<'_>) -> anyhow::Result<Firmware> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    check_name(&name).with_context(|| {
        advise(format!("the firmware's file name cannot stand in a release: {}", path.display()), "rename the file")
    })?;
    let image = inputs::firmware(path)?;
    let parsed = inputs::parsed(&image)?;
    let pcr7 = tpm2::pcr7(variables::secure_boot_keys(&image).ok());
    Ok(Firmware {
        name,
        file: artifacts::part(&image),
        sev_snp: sev_snp(&parsed, booted.efi)?,
        tdx: tdx(&parsed, booted)?,
        pcr7: pcr7.into(),
    })
}

/// Launch digests for every processor and number of them. Firmware that boots any kernel under one digest gets none: a
/// verifier would take the digest for proof of the image.
fn sev_snp(firmware: &measurements::firmware::Firmware<'_>, efi: &[u8]) -> anyhow::Result<Platform<SevSnp>> {
    let unsupported = |reason: &str| Ok(Platform::Unsupported(reason.to_owned()));
    let layout = match sev::Layout::read(firmware) {
        Ok(layout) => layout,
        Err(error) => return unsupported(&format!("the firmware has no usable SEV metadata: {error}")),
    };
    if layout.hash_table().is_none() {
        return unsupported("the firmware does not measure the kernel: its launch digest is the same for every image");
    }
    let start = firmware_digest(firmware);
    let hashes = KernelHashes::of(efi, None, None)?;
    let features = GuestFeatures::SNP;
    let mut launch_digests: Vec<LaunchDigests> = Vec::new();
    for name in CpuSignature::names() {
        let cpu: CpuSignature = name.parse()?;
        if let Some(same) = launch_digests.iter_mut().find(|digests| digests.cpu_signature == cpu.to_string()) {
            same.cpu_types.push(name.to_owned());
            continue;
        }
        let digest = |count| -> anyhow::Result<_> {
            let guest = Guest { vcpus: Vcpus::new(count)?, cpu, features, vmm: Vmm::Qemu };
            Ok(Digest(launch_digest(start, &layout, Some(&hashes), &guest)?.0))
        };
        launch_digests.push(LaunchDigests {
            cpu_signature: cpu.to_string(),
            cpu_types: vec![name.to_owned()],
            by_vcpus: (1..=VCPUS).map(digest).collect::<anyhow::Result<_>>()?,
        });
    }
    Ok(Platform::Measured(SevSnp { guest_features: format!("{:#x}", features.bits()), launch_digests }))
}

fn tdx(firmware: &measurements::firmware::Firmware<'_>, booted: &Booted<'_>) -> anyhow::Result<Platform<Tdx>> {
    let layout = match tdx::Layout::read(firmware) {
        Ok(layout) => layout,
        Err(error) => return Ok(Platform::Unsupported(format!("the firmware has no usable TDX metadata: {error}"))),
    };
    let boot = Boot::Disk { efi: booted.efi, partition_table: booted.partition_table()? };
    let order =
        |order: PageOrder| Candidate { when: order.when().to_owned(), value: mrtd(&layout, order), events: Vec::new() };
    Ok(Platform::Measured(Tdx {
        mrtd: Prediction::Values(PageOrder::ALL.map(order).to_vec()).into(),
        rtmr0: rtmr0(&layout, None, None, Some(&boot), None)?.into(),
        rtmr1: rtmr1(&boot, None, None)?.into(),
        rtmr2: rtmr2(&boot, None)?.into(),
    }))
}

/// PCRs that do not depend on the firmware image.
pub(super) fn pcrs(booted: &Booted<'_>) -> anyhow::Result<Tpm2> {
    let of = |firmware| -> anyhow::Result<Pcrs> {
        let image = tpm2::image_event(firmware, booted.efi).context("the image is not a well-formed PE file")?;
        let register = |prediction: tpm2::Pcr| Register::from(prediction);
        Ok(Pcrs {
            pcr2: register(tpm2::pcr2(firmware, &image, booted.partition_table()?)),
            pcr4: register(tpm2::pcr4(firmware, &image)),
            pcr9: register(tpm2::pcr9()),
            pcr11: register(tpm2::pcr11()),
            image_pcr: image.pcr,
            image_event: image.event.digest.into(),
        })
    };
    Ok(Tpm2 { edk2: of(tpm2::Firmware::Edk2)?, google: of(tpm2::Firmware::Google)? })
}
