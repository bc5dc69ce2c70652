use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::*;
use crate::machine::description::{Attack, Fixed};

fn machine() -> Machine {
    Machine {
        name: "demo".parse().unwrap(),
        accel: Accel::Tcg,
        cpus: 2,
        memory_mib: 1024,
        firmware: Firmware::None,
        load: Load::Kernel("/images/lethe.efi".into()),
        tee: Tee::None,
        launch: None,
        model: "/models/tiny.gguf".into(),
        document: Some("config.toml".into()),
        endorsements: None,
        sealed: None,
        network: Network { host_port: 18443, guest_port: 8443, fixed: None },
        attack: Attack::default(),
    }
}

/// The vector as lines `-option value`, the form of the golden files.
fn lines(machine: &Machine) -> String {
    let mut text = String::new();
    for argument in arguments(machine) {
        let argument = argument.to_string_lossy().into_owned();
        if argument.starts_with('-') {
            text.push('\n');
        } else {
            text.push(' ');
        }
        text.push_str(&argument);
    }
    text.trim_start().to_owned() + "\n"
}

#[test]
fn an_emulated_machine_with_the_image_as_kernel() {
    assert_eq!(lines(&machine()), include_str!("golden/kernel-tcg.txt"));
}

#[test]
fn a_kvm_machine_with_ovmf_and_a_tpm() {
    let machine = Machine {
        accel: Accel::Kvm,
        firmware: Firmware::Ovmf { code: "/usr/share/OVMF/OVMF_CODE_4M.fd".into(), vars: "ovmf-vars.fd".into() },
        load: Load::Esp("esp".into()),
        tee: Tee::Tpm2,
        ..machine()
    };
    assert_eq!(lines(&machine), include_str!("golden/ovmf-tpm2-kvm.txt"));
}

#[test]
fn a_confidential_machine_of_amd_with_hashes_of_the_image_and_the_document_bound() {
    let machine = Machine {
        accel: Accel::Kvm,
        firmware: Firmware::Path("/firmware/OVMF.amdsev.fd".into()),
        tee: Tee::SevSnp,
        launch: Some(Launch::SevSnp { c_bit: 51, cpu: "EPYC-v4".to_owned(), host_data: Some([0xab; 32]) }),
        ..machine()
    };
    assert_eq!(lines(&machine), include_str!("golden/sev-snp.txt"));
}

#[test]
fn a_confidential_machine_of_intel_with_the_document_bound() {
    let launch = |quotes| Launch::Tdx { mrconfigid: Some([0xcd; 48]), quotes };
    let machine = Machine {
        accel: Accel::Kvm,
        firmware: Firmware::Path("/firmware/OVMF.inteltdx.fd".into()),
        load: Load::Esp("esp".into()),
        tee: Tee::Tdx,
        launch: Some(launch(QuoteService::Vsock { cid: 2, port: 4050 })),
        ..machine()
    };
    assert_eq!(lines(&machine), include_str!("golden/tdx.txt"));
    let unix = Machine { launch: Some(launch(QuoteService::Unix("/run/q".into()))), ..machine };
    assert!(lines(&unix).contains(r#""quote-generation-socket":{"type":"unix","path":"/run/q"}"#), "{}", lines(&unix));
}

#[test]
fn a_document_inside_of_the_image_is_bound_by_the_image_alone() {
    let without = |launch| lines(&Machine { accel: Accel::Kvm, document: None, launch: Some(launch), ..machine() });
    assert!(!without(Launch::SevSnp { c_bit: 51, cpu: "EPYC-v4".to_owned(), host_data: None }).contains("host-data"));
    let quotes = QuoteService::Unix("/run/q".into());
    assert!(!without(Launch::Tdx { mrconfigid: None, quotes }).contains("mrconfigid"));
}

#[test]
fn a_machine_that_boots_from_a_disk_sees_it_as_virtio_or_nvme() {
    let on = |bus| Machine {
        firmware: Firmware::Ovmf { code: "/usr/share/OVMF/OVMF_CODE_4M.fd".into(), vars: "ovmf-vars.fd".into() },
        load: Load::Disk { file: "/disks/lethe.raw".into(), bus },
        document: None,
        ..machine()
    };
    let virtio = lines(&on(Bus::Virtio));
    assert_eq!(virtio, include_str!("golden/disk-virtio-tcg.txt"));
    let device = "virtio-blk-pci,disable-legacy=on,drive=boot,";
    assert_eq!(lines(&on(Bus::Nvme)), virtio.replace(device, "nvme,drive=boot,"), "and nothing else differs");
}

#[test]
fn a_document_with_a_fixed_address_shapes_the_virtual_network() {
    let fixed = Fixed {
        address: Ipv4Addr::new(192, 168, 7, 20),
        prefix_bits: 24,
        gateway: Some(Ipv4Addr::new(192, 168, 7, 1)),
    };
    let machine = Machine { network: Network { host_port: 18443, guest_port: 443, fixed: Some(fixed) }, ..machine() };
    let expected = "-netdev user,id=net,restrict=on,ipv6=off,net=192.168.7.0/24,host=192.168.7.1,\
                    hostfwd=tcp:127.0.0.1:18443-192.168.7.20:443\n";
    assert!(lines(&machine).contains(expected), "{}", lines(&machine));
}

#[test]
fn a_gateway_outside_the_network_is_left_to_the_guest() {
    let fixed =
        Fixed { address: Ipv4Addr::new(10, 0, 2, 15), prefix_bits: 24, gateway: Some(Ipv4Addr::new(172, 16, 0, 1)) };
    let machine = Machine { network: Network { host_port: 18443, guest_port: 443, fixed: Some(fixed) }, ..machine() };
    assert!(!lines(&machine).contains("host="), "{}", lines(&machine));
}

#[test]
fn a_comma_in_a_path_cannot_add_an_option() {
    let machine = Machine {
        model: "/m/a,read-only=off".into(),
        document: Some("c,x=y.toml".into()),
        load: Load::Esp("e,rw=on".into()),
        ..machine()
    };
    let text = lines(&machine);
    assert!(text.contains("file.filename=/m/a,,read-only=off\n"), "{text}");
    assert!(text.contains("file=c,,x=y.toml\n"), "{text}");
    assert!(text.contains("dir=e,,rw=on\n"), "{text}");
    let load = Load::Disk { file: "d,read-only=off".into(), bus: Bus::Nvme };
    let text = lines(&Machine { load, ..machine });
    assert!(text.contains("file.filename=d,,read-only=off\n"), "{text}");
}

#[test]
fn a_path_that_is_not_utf8_arrives_unchanged() {
    let path = PathBuf::from(OsString::from_vec(b"/m/\xff.gguf".to_vec()));
    let found = arguments(&Machine { model: path, ..machine() })
        .iter()
        .any(|argument| argument.as_bytes().ends_with(b"file.filename=/m/\xff.gguf"));
    assert!(found);
}

#[test]
fn endorsements_go_in_beside_the_document() {
    assert!(!lines(&machine()).contains("opt/lethe/endorsements"));
    let with = lines(&Machine { endorsements: Some("/e,1.json".into()), ..machine() });
    assert!(with.contains("-fw_cfg name=opt/lethe/endorsements,file=/e,,1.json\n"), "{with}");
}

#[test]
fn sealed_secrets_go_in_beside_the_document() {
    assert!(!lines(&machine()).contains("opt/lethe/sealed"));
    let with = lines(&Machine { sealed: Some("/s,1".into()), ..machine() });
    assert!(with.contains("-fw_cfg name=opt/lethe/sealed,file=/s,,1\n"), "{with}");
}

#[test]
fn without_a_document_there_is_no_fw_cfg_file() {
    assert!(!lines(&Machine { document: None, ..machine() }).contains("fw_cfg"));
    assert!(lines(&machine()).contains(&format!("-fw_cfg name={DOCUMENT_FW_CFG},file=config.toml\n")));
}

#[test]
fn attacks_are_on_the_command_line_only_when_asked_for() {
    let plain = lines(&machine());
    assert!(!plain.contains("-initrd") && !plain.contains("-append"));
    let attack = Attack { initrd: Some("/evil.cpio".into()), cmdline: Some("init=/evil".to_owned()) };
    let attacked = lines(&Machine { attack, ..machine() });
    assert!(attacked.contains("-initrd /evil.cpio\n-append init=/evil\n"), "{attacked}");
}
