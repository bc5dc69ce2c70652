//! Launch digests and ID blocks against the answers of sev-snp-measure: recorded ones everywhere, live ones where the
//! environment `sev-snp-measure` is in the cache (`scripts/test` puts it there).
//!
//! `LETHE_RECORD=1` writes the recorded answers anew.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use measurements::firmware::{Firmware, sev::Layout};
use measurements::sev_snp::{
    Guest, GuestFeatures, IdBlock, KernelHashes, LaunchDigest, SnpError, Vcpus, Vmm, firmware_digest, key_digest,
    launch_digest,
};
use serde_json::{Value, json};
use support::{Image, corpus, corpus_firmware, sha256};

const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/sev-snp-measure.json");
const DRIVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/sev_snp_measure.py");
/// Every name the tool knows.
const CPUS: [&str; 16] = [
    "EPYC",
    "EPYC-v1",
    "EPYC-v2",
    "EPYC-IBPB",
    "EPYC-v3",
    "EPYC-v4",
    "EPYC-Rome",
    "EPYC-Rome-v1",
    "EPYC-Rome-v2",
    "EPYC-Rome-v3",
    "EPYC-Milan",
    "EPYC-Milan-v1",
    "EPYC-Milan-v2",
    "EPYC-Genoa",
    "EPYC-Genoa-v1",
    "EPYC-Turin",
];
const KEYS: [u64; 3] = [1, 2, 0x1234_5678_9abc_def0];
const KERNEL: &[u8] = &[0x4d; 5000];
const INITRD: &[u8] = &[0x71; 3001];

#[derive(Clone)]
struct Case {
    firmware: &'static str,
    kernel: bool,
    initrd: bool,
    cmdline: Option<&'static str>,
    vcpus: u32,
    cpu: &'static str,
    features: u64,
    vmm: &'static str,
}

impl Case {
    fn id(&self) -> String {
        let Self { firmware, kernel, initrd, cmdline, vcpus, cpu, features, vmm } = self;
        format!("{firmware} {vmm} {cpu} x{vcpus} {features:#x} kernel={kernel} initrd={initrd} cmdline={cmdline:?}")
    }

    /// Our answer, in the form of the recorded ones.
    fn ours(&self, image: &[u8]) -> String {
        let firmware = Firmware::parse(image).unwrap();
        let hashes = KernelHashes::of(KERNEL, self.initrd.then_some(INITRD), self.cmdline).unwrap();
        let guest = Guest {
            vcpus: Vcpus::new(self.vcpus).unwrap(),
            cpu: self.cpu.parse().unwrap(),
            features: GuestFeatures::new(self.features).unwrap(),
            vmm: match self.vmm {
                "ec2" => Vmm::Ec2,
                "gce" => Vmm::Gce,
                _ => Vmm::Qemu,
            },
        };
        let layout = Layout::read(&firmware).unwrap();
        match launch_digest(firmware_digest(&firmware), &layout, self.kernel.then_some(&hashes), &guest) {
            Ok(digest) => digest.to_string(),
            Err(error) => {
                assert_eq!(error, SnpError::KernelNotMeasured);
                "error: Kernel specified but OVMF metadata doesn't include SNP_KERNEL_HASHES section".to_owned()
            }
        }
    }
}

fn case(firmware: &'static str) -> Case {
    Case { firmware, kernel: false, initrd: false, cmdline: None, vcpus: 1, cpu: "EPYC-v4", features: 1, vmm: "qemu" }
}

fn with_kernel(firmware: &'static str) -> Case {
    Case { kernel: true, initrd: true, cmdline: Some("console=ttyS0 ro"), ..case(firmware) }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let booted = [(false, false, None), (true, false, None), (true, true, None), (true, false, Some("a"))];
    let booted = booted.into_iter().chain([(true, true, Some("")), (true, true, Some("naïve=ünïcode"))]);
    for (kernel, initrd, cmdline) in booted {
        for (vmm, cpu) in [("qemu", "EPYC-Milan"), ("qemu", "EPYC-Genoa"), ("ec2", "EPYC-v4"), ("gce", "EPYC-v4")] {
            cases.push(Case { kernel, initrd, cmdline, vmm, cpu, vcpus: 2, ..case("built") });
        }
    }
    for features in [1, 5, 0x21, 0x81] {
        for vcpus in [1, 3, 16, 64] {
            cases.push(Case { features, vcpus, ..with_kernel("built") });
        }
    }
    for vmm in ["ec2", "gce"] {
        cases.extend([1, 8].map(|vcpus| Case { vcpus, vmm, ..with_kernel("built") }));
    }
    cases.extend(CPUS.map(|cpu| Case { cpu, vcpus: 2, ..with_kernel("built") }));
    for firmware in ["built-plain", "OVMF.fd-2022.11", "OVMF.inteltdx.ms.fd", "ovmf_OvmfX64_suffix.bin"] {
        cases.push(with_kernel(firmware));
        cases.push(Case { vcpus: 4, features: 0x21, ..case(firmware) });
        cases.push(Case { vcpus: 2, vmm: "ec2", ..case(firmware) });
        cases.push(Case { vmm: "gce", ..case(firmware) });
    }
    for firmware in ["OVMF.amdsev.fd", "ovmf_AmdSev_suffix.bin"] {
        for vcpus in [1, 2, 16, 255] {
            cases.push(Case { vcpus, cpu: "EPYC-Milan", ..with_kernel(firmware) });
            cases.push(Case { vcpus, cpu: "EPYC-Turin", features: 5, cmdline: None, ..with_kernel(firmware) });
        }
        cases.push(Case { vcpus: 2, vmm: "ec2", ..with_kernel(firmware) });
        cases.push(Case { vcpus: 2, vmm: "gce", ..with_kernel(firmware) });
    }
    cases
}

/// The images that are there: two always, others with the corpus and with Debian's package.
fn images() -> BTreeMap<&'static str, Vec<u8>> {
    let mut images = BTreeMap::from([
        ("built", Image::with_kernel_hashes().build()),
        ("built-plain", Image::without_kernel_hashes().build()),
    ]);
    if let Some(folder) = corpus("vectors/measurement", "launch digests of real firmware were") {
        for name in [
            "OVMF.amdsev.fd",
            "OVMF.inteltdx.ms.fd",
            "OVMF.fd-2022.11",
            "ovmf_AmdSev_suffix.bin",
            "ovmf_OvmfX64_suffix.bin",
        ] {
            match corpus_firmware(&folder, name) {
                Some(image) => drop(images.insert(name, image)),
                None => eprintln!("SKIPPED: {name} is not on this machine in the version of the vectors"),
            }
        }
    }
    images
}

/// Our answers for every case whose image is there.
fn ours() -> BTreeMap<String, String> {
    let images = images();
    let possible = cases().into_iter().filter_map(|case| Some((case.id(), case.ours(images.get(case.firmware)?))));
    possible.collect()
}

#[test]
fn at_least_sixty_cases_run_without_any_other_file() {
    let ids: BTreeSet<_> = cases().iter().map(Case::id).collect();
    assert_eq!(ids.len(), cases().len(), "a case stands there twice");
    let built = ids.iter().filter(|id| id.starts_with("built")).count();
    assert!(built >= 60, "{built}");
}

#[test]
fn recorded_answers_of_sev_snp_measure_are_ours() {
    let recorded = support::json(RECORD.as_ref());
    let ours = ours();
    let recorded_digests = recorded["digests"].as_object().unwrap();
    assert_eq!(recorded_digests.len(), cases().len(), "record anew with LETHE_RECORD=1");
    for (id, answer) in &ours {
        assert_eq!(Some(answer.as_str()), recorded["digests"][id].as_str(), "{id}");
    }
    eprintln!("{} of {} recorded cases compared", ours.len(), recorded_digests.len());
    compare_keys(&recorded["keys"]);
}

#[test]
fn live_answers_of_sev_snp_measure_are_ours() {
    let Some(python) = support::python("sev-snp-measure") else {
        eprintln!("SKIPPED: no environment sev-snp-measure in the cache, only its recorded answers were compared");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let (kernel, initrd) = (file("kernel", KERNEL), file("initrd", INITRD));
    let paths: BTreeMap<_, _> = images().iter().map(|(name, image)| (*name, file(name, image))).collect();
    let present = cases().into_iter().filter(|case| paths.contains_key(case.firmware));
    let request: Vec<Value> = present
        .map(|case| {
            json!({
                "id": case.id(), "firmware": paths[case.firmware], "vcpus": case.vcpus, "cpu": case.cpu,
                "kernel": case.kernel.then_some(&kernel), "initrd": (case.kernel && case.initrd).then_some(&initrd),
                "cmdline": case.cmdline.filter(|_| case.kernel), "features": case.features, "vmm": case.vmm,
            })
        })
        .collect();
    let answers = ask(&python, &json!({"digests": request, "keys": KEYS}));
    if std::env::var_os("LETHE_RECORD").is_some() {
        record(&answers);
    }
    let ours = ours();
    assert_eq!(answers["digests"].as_object().unwrap().len(), ours.len());
    for (id, answer) in &ours {
        assert_eq!(Some(answer.as_str()), answers["digests"][id].as_str(), "{id}");
    }
    compare_keys(&answers["keys"]);
    eprintln!("{} live cases compared", ours.len());
}

fn ask(python: &std::path::Path, request: &Value) -> Value {
    let mut child = Command::new(python).arg(DRIVER).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn record(answers: &Value) {
    let mut sorted: BTreeMap<&str, Value> = BTreeMap::from([("tool", json!("sev-snp-measure 0.0.13"))]);
    for part in ["digests", "keys"] {
        let entries: BTreeMap<_, _> = answers[part].as_object().unwrap().iter().collect();
        sorted.insert(part, json!(entries));
    }
    std::fs::write(RECORD, serde_json::to_string_pretty(&sorted).unwrap() + "\n").unwrap();
}

fn compare_keys(answers: &Value) {
    assert_eq!(answers.as_object().unwrap().len(), KEYS.len());
    for answer in answers.as_object().unwrap().values() {
        let public = hex::decode(answer["public"].as_str().unwrap()).unwrap();
        assert_eq!(hex::encode(key_digest(&public).unwrap()), answer["digest"].as_str().unwrap());
        let block = IdBlock {
            launch_digest: LaunchDigest(std::array::from_fn(|index| u8::try_from(index).unwrap())),
            family_id: [0; 16],
            image_id: [0; 16],
            guest_svn: 0,
            policy: 0x3_0000,
        };
        assert_eq!(hex::encode(block.to_bytes()), answer["id_block"].as_str().unwrap());
    }
}

#[test]
fn keys_of_other_curves_and_lengths_are_refused() {
    let recorded = support::json(RECORD.as_ref());
    let public = hex::decode(recorded["keys"]["1"]["public"].as_str().unwrap()).unwrap();
    assert!(key_digest(&public).is_ok());
    for length in 0..public.len() {
        assert!(key_digest(&public[..length]).is_err(), "{length}");
    }
    assert!(key_digest(&[public.as_slice(), &[0]].concat()).is_err());
    let mut other = public;
    other[19] ^= 1;
    assert!(key_digest(&other).is_err());
}

#[test]
fn one_changed_byte_anywhere_in_the_firmware_changes_the_digest() {
    let image = Image::with_kernel_hashes().build();
    let reference = with_kernel("built").ours(&image);
    for at in (0..support::METADATA).step_by(611) {
        let mut changed = image.clone();
        changed[at] ^= 1;
        assert_ne!(with_kernel("built").ours(&changed), reference, "{at:#x}");
    }
    assert_eq!(sha256(&image).len(), 64);
}

#[test]
fn impossible_guests_are_refused() {
    assert_eq!(Vcpus::new(0), Err(SnpError::Vcpus { count: 0 }));
    assert_eq!(Vcpus::new(4097), Err(SnpError::Vcpus { count: 4097 }));
    assert!(Vcpus::new(4096).is_ok());
    assert_eq!(GuestFeatures::new(0x20), Err(SnpError::Features { bits: 0x20 }));
    assert_eq!(KernelHashes::of(b"kernel", None, Some("a\0b")), Err(SnpError::CommandLine));
}
