//! Registers of TDX guests: those that hardware signed come out, firmware that lies is refused.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod support;

use measurements::event_log::EventType;
use measurements::firmware::tdx::{Layout, SectionKind};
use measurements::firmware::variables::{SecureBootKeys, secure_boot_keys};
use measurements::firmware::{Firmware, FirmwareError};
use measurements::register::{Candidate, Prediction};
use measurements::tdx::{
    AcpiTables, Boot, Edk2, Memory, PageOrder, Rtmr, TdxError, list_digest, mrconfigid, mrtd, rtmr0, rtmr1, rtmr2,
};
use serde_json::Value;
use sha2::{Digest, Sha384};
use support::{put, put32, write_table};

fn bytes(value: &Value) -> Rtmr {
    hex::decode(value.as_str().unwrap()).unwrap().try_into().unwrap()
}

fn vectors(unchecked: &str) -> Option<(std::path::PathBuf, Vec<Value>)> {
    let folder = support::corpus("vectors/measurement", unchecked)?;
    let vectors = support::json(&folder.join("tdx/vectors.json"));
    Some((folder, vectors["vectors"].as_array().unwrap().clone()))
}

fn candidates(prediction: Prediction<Rtmr>) -> Vec<Candidate<Rtmr>> {
    match prediction {
        Prediction::Values(candidates) => candidates,
        Prediction::Unpredictable { reason, .. } => panic!("{reason}"),
    }
}

fn reason(prediction: Prediction<Rtmr>) -> String {
    match prediction {
        Prediction::Values(_) => panic!("predicted"),
        Prediction::Unpredictable { reason, judge, .. } => {
            assert!(!judge.is_empty());
            reason
        }
    }
}

#[test]
fn mrtd_comes_out_in_both_page_orders() {
    let Some((folder, vectors)) = vectors("MRTD of real firmware was") else { return };
    let mut compared = 0;
    for vector in vectors.iter().filter(|vector| vector["id"].as_str().unwrap().starts_with("mrtd-")) {
        let name = vector["firmware"].as_str().unwrap();
        let Some(image) = support::corpus_firmware(&folder, name) else {
            eprintln!("SKIPPED: {name} is not on this machine in the version of the vectors");
            continue;
        };
        let firmware = Firmware::parse(&image).unwrap();
        let layout = Layout::read(&firmware).unwrap();
        let expected = &vector["expected"];
        assert_eq!(mrtd(&layout, PageOrder::PageByPage), bytes(&expected["mrtd_page_by_page"]), "{name}");
        assert_eq!(mrtd(&layout, PageOrder::SectionBySection), bytes(&expected["mrtd_add_all_then_extend"]), "{name}");
        let variables = layout.section(SectionKind::Variables).unwrap().data;
        assert_eq!(Sha384::digest(variables)[..], bytes(&expected["cfv_sha384"]), "{name}");
        compared += 1;
    }
    assert!(compared >= 2, "{compared}");
}

#[test]
fn descriptions_of_memory_have_the_digests_that_hardware_logged() {
    let Some((_, vectors)) = vectors("TD HOB digests were") else { return };
    let mut compared = 0;
    for vector in vectors.iter().filter(|vector| vector["id"].as_str().unwrap().starts_with("tdhob-")) {
        let pair = |pair: &Value| (pair[0].as_u64().unwrap(), pair[1].as_u64().unwrap());
        let accepted: Vec<_> = vector["accepted"].as_array().unwrap().iter().map(pair).collect();
        let memory = Memory::new(vector["memory_bytes"].as_u64().unwrap()).unwrap();
        let digest = list_digest(vector["td_hob_base"].as_u64().unwrap(), &accepted, memory).unwrap();
        assert_eq!(digest, bytes(&vector["expected"]["td_hob_sha384"]), "{}", vector["id"]);
        compared += 1;
    }
    assert_eq!(compared, 5);
}

/// A TDX firmware image as a test wants it: variables, then one page of code with metadata and table in it.
struct Image {
    variables: Vec<u8>,
    /// Offset and length in the image, address and size in memory, kind, attributes.
    sections: Vec<(u32, u32, u64, u64, u32, u32)>,
}

const PAGE: usize = 4096;

impl Image {
    /// With the memory layout that Intel's firmware has.
    fn new(variables: Vec<u8>) -> Self {
        assert!(variables.len().is_multiple_of(PAGE));
        let length = u32::try_from(variables.len()).unwrap();
        let start = (1 << 32) - u64::from(length) - PAGE as u64;
        let sections = vec![
            (length, PAGE as u32, (1 << 32) - PAGE as u64, PAGE as u64, 0, 1),
            (0, length, start, length.into(), 1, 0),
            (0, 0, 0x81_0000, 0x1_0000, 3, 0),
            (0, 0, 0x80_b000, 0x2000, 3, 0),
            (0, 0, 0x80_9000, 0x2000, 2, 0),
            (0, 0, 0x80_0000, 0x6000, 3, 0),
        ];
        Self { variables, sections }
    }

    fn metadata(&self) -> usize {
        self.variables.len() + 0x400
    }

    fn build(&self) -> Vec<u8> {
        let mut image = self.variables.clone();
        image.extend((0..PAGE).map(|index| (index % 251) as u8));
        let (at, length) = (self.metadata(), image.len());
        let count = self.sections.len();
        put(&mut image, at, b"TDVF");
        put32(&mut image, at + 4, u32::try_from(16 + 32 * count).unwrap());
        put32(&mut image, at + 8, 1);
        put32(&mut image, at + 12, u32::try_from(count).unwrap());
        for (index, (offset, data, address, size, kind, attributes)) in self.sections.iter().enumerate() {
            let section = at + 16 + 32 * index;
            put32(&mut image, section, *offset);
            put32(&mut image, section + 4, *data);
            put(&mut image, section + 8, &address.to_le_bytes());
            put(&mut image, section + 16, &size.to_le_bytes());
            put32(&mut image, section + 24, *kind);
            put32(&mut image, section + 28, *attributes);
        }
        let distance = u32::try_from(length - at).unwrap().to_le_bytes().to_vec();
        write_table(&mut image, &[(0xe47a6535_984a_4798_865e_4685a7bf8ec2, distance)]);
        image
    }
}

/// A volume of variables with these in it, as (state, name).
fn store(variables: &[(u8, &str)]) -> Vec<u8> {
    let mut store = vec![0xff; 0x2000];
    put(&mut store, 0, &[0; 16]);
    put(&mut store, 16, &measurements::guid::Guid::from_u128(0xfff12b8d_7696_4c8b_a985_2747075b4f50).to_bytes());
    put(&mut store, 40, b"_FVH");
    put(&mut store, 48, &0x48_u16.to_le_bytes());
    put(&mut store, 0x48, &measurements::guid::Guid::from_u128(0xaaf32c78_947b_439a_a180_2e144ec37792).to_bytes());
    put32(&mut store, 0x58, 0x1000);
    let mut at = 0x64;
    for (state, name) in variables {
        let name: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        put(&mut store, at, &[0xaa, 0x55, *state, 0]);
        put32(&mut store, at + 36, u32::try_from(name.len()).unwrap());
        put32(&mut store, at + 40, 5);
        put(&mut store, at + 60, &name);
        at = (at + 60 + name.len() + 5 - 0x48).next_multiple_of(4) + 0x48;
    }
    store
}

/// A PE file that QEMU takes as a Linux kernel too.
fn kernel() -> Vec<u8> {
    let mut file = vec![0; 0x1000];
    put(&mut file, 0, b"MZ");
    put32(&mut file, 60, 0x40);
    put(&mut file, 0x40, b"PE\0\0");
    put(&mut file, 0x54, &[240, 0]);
    put(&mut file, 0x58, &[0x0b, 0x02]);
    put32(&mut file, 0x58 + 60, 0x400);
    put32(&mut file, 0x58 + 108, 16);
    put(&mut file, 0x202, b"HdrS");
    put(&mut file, 0x206, &[0x0f, 0x02]);
    put(&mut file, 0x211, &[1]);
    put(&mut file, 0x236, &[3, 0]);
    file
}

/// The candidates with other digests in place of those of kernel, command line and initial RAM disk.
fn with_digests(candidates: Vec<Candidate<Rtmr>>, kind: EventType, digests: &[Rtmr]) -> Vec<Rtmr> {
    let replaced = candidates.into_iter().map(|candidate| {
        let mut digests = digests.iter();
        let mut events = candidate.events;
        events.iter_mut().filter(|event| event.kind == kind).for_each(|event| event.digest = *digests.next().unwrap());
        assert!(digests.next().is_none());
        Candidate::of("", events).value
    });
    replaced.collect()
}

#[test]
fn registers_that_hardware_signed_come_out_of_their_parts() {
    let Some((folder, vectors)) = vectors("the registers of a real guest were") else { return };
    let vector = vectors.iter().find(|vector| vector["id"] == "tdx-hw-dstack-2g").unwrap();
    let (expected, parts) = (&vector["expected"], &vector["components"]["image"]);
    // The guest's firmware is not in hand; its layout and its variables (those of an empty store) are.
    let other = support::corpus_firmware(&folder, "OVMF.amdsev.fd").unwrap();
    let other = Firmware::parse(&other).unwrap();
    let variables = Layout::read(&other).unwrap().section(SectionKind::Variables).unwrap().data.to_vec();
    let image = Image::new(variables).build();
    let firmware = Firmware::parse(&image).unwrap();
    let layout = Layout::read(&firmware).unwrap();

    let logged = |event: &str| {
        let log = vector["event_log"].as_array().unwrap();
        bytes(&log.iter().find(|logged| logged["event"] == event).unwrap()["digest"])
    };
    let acpi = AcpiTables { loader: logged("acpi-loader"), rsdp: logged("acpi-rsdp"), tables: logged("acpi-tables") };
    let kernel = kernel();
    let boot = Boot::Direct { kernel: &kernel, initrd: Some(b"initrd"), cmdline: "console=hvc0" };
    let memory = Some(Memory::new(vector["vm"]["memory_size"].as_u64().unwrap()).unwrap());
    let edk2: Option<Edk2> = Some("2025.02".parse().unwrap());

    let zero = candidates(rtmr0(&layout, memory, Some(&acpi), Some(&boot), edk2).unwrap());
    let values: Vec<_> = zero.iter().map(|candidate| candidate.value).collect();
    assert!(values.contains(&bytes(&expected["rtmr0"])), "{zero:#?}");
    assert_eq!(values.len(), 2);

    let one = candidates(rtmr1(&boot, memory, edk2).unwrap());
    assert_eq!(one.len(), 2);
    let authenticode = [bytes(&parts["kernel_authenticode"])];
    let one = with_digests(one, EventType::EFI_BOOT_SERVICES_APPLICATION, &authenticode);
    assert_eq!(one[0], bytes(&expected["rtmr1"]));

    let two = candidates(rtmr2(&boot, edk2).unwrap());
    let digests = [bytes(&parts["cmdline_sha384"]), bytes(&parts["initrd_sha384"])];
    assert_eq!(with_digests(two, EventType::EVENT_TAG, &digests), [bytes(&expected["rtmr2"])]);
}

#[test]
fn rtmr2_is_what_real_firmware_measured_as_pcr_9() {
    let Some(folder) = support::corpus("vectors/measurement", "PCR 9 of an emulated boot was") else { return };
    let vectors = support::json(&folder.join("tpm/vectors.json"));
    let vectors = vectors["vectors"].as_array().unwrap();
    let vector = vectors.iter().find(|vector| vector["id"] == "pcr-emulated-direct-bookworm").unwrap();
    let file = |name: &str| std::fs::read(folder.join(vector["files"][name]["path"].as_str().unwrap())).unwrap();
    let cmdline = String::from_utf8(file("cmdline")).unwrap();
    let initrd = file("initrd");
    let boot = Boot::Direct { kernel: b"", initrd: Some(&initrd), cmdline: &cmdline };
    let measured = bytes(&vector["pcrs"]["sha384"]["9"]);
    let older = candidates(rtmr2(&boot, Some("2022.11".parse().unwrap())).unwrap());
    assert_eq!(older.iter().map(|candidate| candidate.value).collect::<Vec<_>>(), [measured]);
    let newer = candidates(rtmr2(&boot, Some("2025.05".parse().unwrap())).unwrap());
    assert_ne!(newer[0].value, measured);
    let unknown = candidates(rtmr2(&boot, None).unwrap());
    assert_eq!(unknown.iter().map(|candidate| candidate.value).collect::<Vec<_>>(), [measured, newer[0].value]);
}

fn empty() -> Vec<u8> {
    store(&[])
}

#[test]
fn rtmr0_is_predicted_only_from_complete_inputs() {
    let image = Image::new(empty()).build();
    let firmware = Firmware::parse(&image).unwrap();
    let layout = Layout::read(&firmware).unwrap();
    let memory = Some(Memory::new(4 << 30).unwrap());
    let acpi = AcpiTables::of(b"loader", b"rsdp", b"tables");
    let kernel = kernel();
    let direct = Boot::Direct { kernel: &kernel, initrd: None, cmdline: "" };
    let disk = Boot::Disk { efi: &kernel, partition_table: None };
    let old: Option<Edk2> = Some("2024.11".parse().unwrap());
    let new: Option<Edk2> = Some("2026.08".parse().unwrap());
    assert_eq!(candidates(rtmr0(&layout, memory, Some(&acpi), Some(&direct), old).unwrap()).len(), 2);
    let why = |memory, acpi, boot, edk2| reason(rtmr0(&layout, memory, acpi, boot, edk2).unwrap());
    assert!(why(None, Some(&acpi), Some(&direct), old).contains("memory"));
    assert!(why(memory, None, Some(&direct), old).contains("ACPI"));
    assert!(why(memory, Some(&acpi), None, old).contains("kernel"));
    assert!(why(memory, Some(&acpi), Some(&disk), old).contains("boot options"));
    assert!(why(memory, Some(&acpi), Some(&direct), None).contains("release"));
    assert!(why(memory, Some(&acpi), Some(&direct), new).contains("SMBIOS"));

    let image = Image::new(store(&[(0x3f, "PK")])).build();
    let firmware = Firmware::parse(&image).unwrap();
    let layout = Layout::read(&firmware).unwrap();
    let keys = reason(rtmr0(&layout, memory, Some(&acpi), Some(&direct), old).unwrap());
    assert!(keys.contains("Secure Boot keys"), "{keys}");
}

#[test]
fn a_kernel_with_an_initial_ram_disk_needs_the_memory_for_rtmr1() {
    let kernel = kernel();
    let boot = Boot::Direct { kernel: &kernel, initrd: Some(b"initrd"), cmdline: "" };
    assert!(reason(rtmr1(&boot, None, None).unwrap()).contains("memory"));
    let at = |gib: u64, edk2: Option<&str>| {
        let edk2 = edk2.map(|edk2| edk2.parse().unwrap());
        candidates(rtmr1(&boot, Some(Memory::new(gib << 30).unwrap()), edk2).unwrap())
    };
    // Header changed or not, boot services left at the first or second call.
    assert_eq!(at(1, None).len(), 4);
    assert_eq!(at(1, Some("2025.02")).len(), 2);
    assert_ne!(at(1, None)[0].value, at(2, None)[0].value);
    assert_eq!(at(4, None)[0].value, at(8, None)[0].value);
}

#[test]
fn a_disk_boot_needs_the_disk_for_rtmr1_and_leaves_rtmr2_zero() {
    let kernel = kernel();
    let boot = Boot::Disk { efi: &kernel, partition_table: None };
    assert!(reason(rtmr1(&boot, None, None).unwrap()).contains("partition table"));
    let two = candidates(rtmr2(&boot, None).unwrap());
    assert_eq!((two[0].value, two.len()), ([0; 48], 1));
    let mut changed = kernel.clone();
    changed[0xfff] ^= 1;
    let event = |efi| match rtmr1(&Boot::Disk { efi, partition_table: None }, None, None).unwrap() {
        Prediction::Unpredictable { events, .. } => events[0].digest,
        Prediction::Values(_) => panic!("predicted"),
    };
    assert_ne!(event(&kernel), event(&changed));
}

#[test]
fn impossible_inputs_are_refused() {
    for bytes in [0, 1 << 20, (1 << 30) + 1, 1 << 52, u64::MAX] {
        assert_eq!(Memory::new(bytes), Err(TdxError::Memory { bytes }));
    }
    for text in ["", "2025", "2025.13", "2025.00", "25.02", "2025.2", "2025.02.1", "+025.02"] {
        assert_eq!(text.parse::<Edk2>(), Err(TdxError::Release), "{text}");
    }
    let memory = Memory::new(16 << 20).unwrap();
    let beyond = |address, length| Err(TdxError::BeyondMemory { address, length });
    assert_eq!(list_digest(0, &[(0x100_0000, 0x1000)], memory), beyond(0x100_0000, 0x1000));
    assert_eq!(list_digest(0, &[(0, 0x2000), (0x1000, 0x1000)], memory), beyond(0x1000, 0x1000));
    assert_eq!(list_digest(0, &[(u64::MAX, 2)], memory), beyond(u64::MAX, 2));
    let boot = Boot::Direct { kernel: b"", initrd: None, cmdline: "a\0b" };
    assert_eq!(rtmr2(&boot, None), Err(TdxError::CommandLine));
    assert!(matches!(rtmr1(&boot, None, None), Err(TdxError::Kernel(_))));
    let boot = Boot::Disk { efi: b"", partition_table: None };
    assert!(matches!(rtmr1(&boot, None, None), Err(TdxError::Pe(_))));
}

#[test]
fn document_is_bound_by_its_sha384() {
    assert_eq!(mrconfigid(b"[model]")[..], Sha384::digest(b"[model]")[..]);
}

fn refusal(change: impl FnOnce(&mut Image)) -> FirmwareError {
    let mut image = Image::new(empty());
    assert!(Layout::read(&Firmware::parse(&image.build()).unwrap()).is_ok());
    change(&mut image);
    let image = image.build();
    Layout::read(&Firmware::parse(&image).unwrap()).unwrap_err()
}

/// Offset of a section's descriptor.
fn at(index: usize) -> u64 {
    (Image::new(empty()).metadata() + 16 + 32 * index) as u64
}

#[test]
fn sections_that_cannot_be_are_refused() {
    let pages = |index| FirmwareError::Pages { offset: at(index) };
    assert_eq!(refusal(|image| image.sections[2].4 = 4), FirmwareError::SectionType { kind: 4, offset: at(2) });
    assert_eq!(refusal(|image| image.sections[2].5 = 8), FirmwareError::Attributes { attributes: 8, offset: at(2) });
    assert_eq!(refusal(|image| image.sections[2].2 += 1), pages(2));
    assert_eq!(refusal(|image| image.sections[2].3 = 0), pages(2));
    assert_eq!(refusal(|image| image.sections[2].3 = u64::MAX), pages(2));
    assert_eq!(refusal(|image| image.sections[2].3 = 1 << 32), pages(2), "over the image");
    assert_eq!(refusal(|image| image.sections[2].5 = 1), pages(2), "memory has no contents to measure");
    assert_eq!(refusal(|image| image.sections[0].3 = 0x2000), pages(0), "less data than memory");
    assert_eq!(refusal(|image| image.sections[0].5 = 3), pages(0), "measured and added later");
    assert_eq!(refusal(|image| image.sections[2].1 = 0x1000), pages(2), "data for memory");
    assert_eq!(refusal(|image| image.sections[3].4 = 2), FirmwareError::SectionTwice { kind: 2, offset: at(4) });
    assert_eq!(refusal(|image| image.sections[3].2 = 0x80_a000), FirmwareError::Overlap { offset: at(4) });
    assert_eq!(
        refusal(|image| image.sections[0].1 = 0x7fff_ffff),
        FirmwareError::Truncated { what: "data of a TDX section", offset: 0x2000 }
    );
}

#[test]
fn lying_metadata_headers_are_refused() {
    let image = Image::new(empty());
    let (start, good) = (image.metadata(), image.build());
    let refused = |at: usize, value: u32| {
        let mut image = good.clone();
        put32(&mut image, at, value);
        Layout::read(&Firmware::parse(&image).unwrap()).unwrap_err()
    };
    let offset = start as u64;
    assert_eq!(refused(start, 0), FirmwareError::Magic { what: "signature of TDX metadata", offset });
    assert_eq!(refused(start + 8, 2), FirmwareError::Magic { what: "version 1 of TDX metadata", offset: offset + 8 });
    for count in [0, 5, 7, 65, 0xffff_ffff] {
        let length = 16 + 32 * 6;
        let expected = FirmwareError::Size { what: "list of TDX sections", offset: offset + 4, length };
        assert_eq!(refused(start + 12, count), expected, "{count}");
    }
}

#[test]
fn secure_boot_keys_are_found_where_they_are_valid() {
    assert_eq!(secure_boot_keys(&store(&[])), Ok(SecureBootKeys::None));
    assert_eq!(secure_boot_keys(&store(&[(0x3f, "BootOrder"), (0x3f, "dbDefault")])), Ok(SecureBootKeys::None));
    assert_eq!(secure_boot_keys(&store(&[(0x3c, "PK"), (0x3d, "db")])), Ok(SecureBootKeys::None), "deleted");
    for (state, name) in [(0x3f, "PK"), (0x3e, "KEK"), (0x3f, "db"), (0x3f, "dbx")] {
        let keys = secure_boot_keys(&store(&[(0x3f, "Timeout"), (state, name)]));
        assert_eq!(keys, Ok(SecureBootKeys::Enrolled), "{name}");
    }
    let Some((folder, _)) = vectors("stores of real firmware were") else { return };
    for (name, keys) in [("OVMF.amdsev.fd", SecureBootKeys::None), ("OVMF.inteltdx.ms.fd", SecureBootKeys::Enrolled)] {
        let image = support::corpus_firmware(&folder, name).unwrap();
        assert_eq!(secure_boot_keys(&image), Ok(keys), "{name}");
    }
}

#[test]
fn stores_that_lie_are_refused() {
    assert_eq!(secure_boot_keys(&[0; 100]), Err(FirmwareError::Magic { what: "volume of variables", offset: 0 }));
    let mut other = empty();
    other[0x48] ^= 1;
    let error = FirmwareError::Magic { what: "store of variables with time stamps", offset: 0x48 };
    assert_eq!(secure_boot_keys(&other), Err(error));
    let mut long = empty();
    put32(&mut long, 0x58, 0xffff_ffff);
    let error = FirmwareError::Truncated { what: "store of variables", offset: 0x48 };
    assert_eq!(secure_boot_keys(&long), Err(error));
    for (field, what) in [(36, "name of a variable"), (40, "value of a variable")] {
        let mut lying = store(&[(0x3f, "Timeout")]);
        put32(&mut lying, 0x64 + field, 0xffff_ff00);
        assert!(matches!(secure_boot_keys(&lying), Err(FirmwareError::Truncated { what: other, .. }) if other == what));
    }
    for length in 0..0x64 {
        assert!(secure_boot_keys(&empty()[..length]).is_err(), "{length}");
    }
}
