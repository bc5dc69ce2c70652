//! Launch digests of the corpus: one that hardware signed, published ones, and ones of other implementations.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use measurements::firmware::sev::{Layout, Section, SectionKind};
use measurements::firmware::{Firmware, FirmwareError};
use measurements::sev_snp::{
    CpuSignature, Guest, GuestFeatures, KernelHashes, LaunchDigest, SnpError, Vcpus, Vmm, firmware_digest,
    launch_digest,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap()).unwrap()
}

fn digest(value: &Value) -> LaunchDigest {
    LaunchDigest(hex::decode(value.as_str().unwrap()).unwrap().try_into().unwrap())
}

fn guest(vector: &Value) -> Guest {
    let vmm = match vector["vmm_type"].as_str() {
        Some("ec2") => Vmm::Ec2,
        Some("gce") => Vmm::Gce,
        _ => Vmm::Qemu,
    };
    let cpu = vector["vcpu_type"].as_str().map_or(CpuSignature::from_eax(0), |name| name.parse().unwrap());
    Guest {
        vcpus: Vcpus::new(number(&vector["vcpus"])).unwrap(),
        cpu,
        features: GuestFeatures::new(vector["guest_features"].as_u64().unwrap()).unwrap(),
        vmm,
    }
}

/// Computes the vector's digest from the files it names.
fn computed(folder: &Path, vector: &Value) -> Result<LaunchDigest, SnpError> {
    let image = support::corpus_firmware(folder, vector["firmware"].as_str().unwrap()).unwrap();
    let firmware = Firmware::parse(&image).unwrap();
    let input = |key: &str| vector[key].as_str().map(|name| std::fs::read(folder.join("inputs").join(name)).unwrap());
    let hashes = input("kernel")
        .map(|kernel| KernelHashes::of(&kernel, input("initrd").as_deref(), vector["cmdline"].as_str()).unwrap());
    let seed = match &vector["ovmf_hash_override"] {
        Value::String(_) => digest(&vector["ovmf_hash_override"]),
        _ => firmware_digest(&firmware),
    };
    launch_digest(seed, &Layout::read(&firmware).unwrap(), hashes.as_ref(), &guest(vector))
}

#[test]
fn every_vector_comes_out() {
    let Some(folder) = support::corpus("vectors/measurement", "launch digests of the corpus were") else { return };
    let vectors = support::json(&folder.join("snp/vectors.json"));
    let mut compared = 0;
    for vector in vectors["vectors"].as_array().unwrap() {
        if vector["kind"] == "hardware" {
            continue;
        }
        let expected = match &vector["expected"]["launch_digest"] {
            Value::Null => Err(SnpError::KernelNotMeasured),
            value => Ok(digest(value)),
        };
        assert_eq!(computed(&folder, vector), expected, "{}", vector["id"]);
        compared += 1;
    }
    assert!(compared >= 35, "{compared}");
    eprintln!("{compared} vectors");
}

#[test]
fn report_signed_by_hardware_carries_the_computed_digest() {
    let Some(folder) = support::corpus("vectors/measurement", "the digest that hardware signed was") else { return };
    let vectors = support::json(&folder.join("snp/vectors.json"));
    let vector = vectors["vectors"].as_array().unwrap().iter().find(|vector| vector["id"] == "snp-hw-milan-qemu");
    let vector = vector.unwrap();
    let inputs = &vector["inputs"];
    let sections = inputs["ovmf_sections"].as_array().unwrap().iter().map(|section| Section {
        address: number(&section["gpa"]),
        size: number(&section["size"]),
        kind: match section["section_type"].as_u64().unwrap() {
            1 => SectionKind::Memory,
            2 => SectionKind::Secrets,
            3 => SectionKind::Cpuid,
            4 => SectionKind::SvsmCallingArea,
            16 => SectionKind::KernelHashes,
            other => panic!("{other}"),
        },
    });
    let table = number(&inputs["sev_hashes_table_gpa"]);
    let layout = Layout::new(sections.collect(), Some(table), number(&inputs["sev_es_reset_eip"])).unwrap();
    let hash = |key: &str| hex::decode(inputs[key].as_str().unwrap()).unwrap().try_into().unwrap();
    let cmdline = format!("{}\0", inputs["base_cmdline"].as_str().unwrap());
    let kernel = KernelHashes {
        kernel: hash("kernel_hash"),
        initrd: hash("initrd_hash"),
        cmdline: Sha256::digest(&cmdline).into(),
    };
    let firmware = digest(&inputs["ovmf_hash"]);
    let ours = launch_digest(firmware, &layout, Some(&kernel), &guest(inputs)).unwrap();
    assert_eq!(ours, digest(&vector["expected"]["launch_digest"]));

    let other = KernelHashes { cmdline: [0; 32], ..kernel };
    assert_ne!(launch_digest(firmware, &layout, Some(&other), &guest(inputs)).unwrap(), ours);
}

#[test]
fn debian_12_firmware_is_refused_with_a_kernel() {
    let Ok(image) = std::fs::read("/usr/share/ovmf/OVMF.fd") else {
        eprintln!("SKIPPED: no /usr/share/ovmf/OVMF.fd, the refusal of real firmware was not checked");
        return;
    };
    let firmware = Firmware::parse(&image).unwrap();
    let layout = Layout::read(&firmware).unwrap();
    if layout.hash_table().is_some() {
        eprintln!("SKIPPED: this OVMF.fd measures kernel hashes, it is not Debian 12's");
        return;
    }
    let guest = Guest {
        vcpus: Vcpus::new(1).unwrap(),
        cpu: "EPYC-Milan".parse().unwrap(),
        features: GuestFeatures::SNP,
        vmm: Vmm::Qemu,
    };
    let kernel = KernelHashes::of(b"kernel", None, None).unwrap();
    let digest = firmware_digest(&firmware);
    assert_eq!(launch_digest(digest, &layout, Some(&kernel), &guest), Err(SnpError::KernelNotMeasured));
    assert!(launch_digest(digest, &layout, None, &guest).is_ok());
}

#[test]
fn firmware_without_sev_metadata_is_refused() {
    let Ok(image) = std::fs::read("/usr/share/OVMF/OVMF_CODE_4M.fd") else {
        eprintln!("SKIPPED: no OVMF_CODE_4M.fd, the refusal of real firmware was not checked");
        return;
    };
    let refusal = match Firmware::parse(&image) {
        Ok(firmware) => Layout::read(&firmware).unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(refusal, FirmwareError::Missing { .. } | FirmwareError::NoTable { .. }), "{refusal}");
}
