//! The requirements of each kind of machine.

use super::facts::Facts;
use super::requirement::Requirement;
use crate::machine::description::Tee;

/// First Linux whose KVM starts SEV-SNP guests.
const SNP_KERNEL: (u32, u32) = (6, 11);
/// First QEMU with `sev-snp-guest`.
const SNP_QEMU: (u32, u32) = (9, 1);
/// First Linux whose KVM starts trust domains.
const TDX_KERNEL: (u32, u32) = (6, 16);
/// First QEMU with `tdx-guest`.
const TDX_QEMU: (u32, u32) = (10, 1);

/// What a machine of this kind needs, in the order in which it is mended: hardware and its settings first.
#[must_use]
pub fn requirements(tee: Tee, facts: &Facts) -> Vec<Requirement> {
    match tee {
        Tee::SevSnp => sev_snp(facts),
        Tee::Tdx => tdx(facts),
        Tee::Tpm2 => tpm2(facts),
        Tee::None => vec![qemu(facts, (6, 0), None)],
    }
}

fn sev_snp(facts: &Facts) -> Vec<Requirement> {
    vec![
        processor(facts, "AuthenticAMD", "an AMD EPYC processor of the third generation or later"),
        Requirement::new(
            "SEV-SNP shown by the processor",
            (!facts.flags.is_empty()).then(|| facts.flags.contains("sev_snp")),
            flag(facts, "sev_snp"),
            "in the firmware setup: SMEE (secure memory encryption), SEV-ES ASID limit above 1, SNP memory coverage (RMP table), and IOMMU on",
        ),
        kernel(facts, SNP_KERNEL, "a kernel from 6.11 on with CONFIG_KVM_AMD_SEV=y"),
        // KVM has SEV-SNP only where it has the other two
        parameter(
            facts,
            "kvm_amd.sev",
            "kernel parameter kvm_amd.sev=1, and CONFIG_KVM_AMD_SEV=y; the kernel log says why it stays off",
        ),
        parameter(
            facts,
            "kvm_amd.sev_es",
            "kernel parameter kvm_amd.sev_es=1; in the firmware setup: SEV-ES ASID limit above 1",
        ),
        parameter(
            facts,
            "kvm_amd.sev_snp",
            "kernel parameter kvm_amd.sev_snp=1 (or options kvm_amd sev_snp=1), then a reboot; the kernel log says why it stays off",
        ),
        device(facts, "/dev/kvm", "load kvm_amd, and join the group kvm"),
        device(facts, "/dev/sev", "load ccp; let the user who starts machines read and write it"),
        qemu(facts, SNP_QEMU, Some("sev-snp-guest")),
    ]
}

fn tdx(facts: &Facts) -> Vec<Requirement> {
    let socket = facts.files.iter().find(|path| path.ends_with("qgs.socket"));
    vec![
        processor(facts, "GenuineIntel", "an Intel Xeon of the fifth generation or later (some of the fourth)"),
        Requirement::new(
            "TDX shown by the processor to its host",
            (!facts.flags.is_empty()).then(|| facts.flags.contains("tdx_host_platform")),
            flag(facts, "tdx_host_platform"),
            "in the firmware setup: TME, TME-MT, TDX, SEAM loader and SGX on, and keys split for TDX",
        ),
        kernel(facts, TDX_KERNEL, "a kernel from 6.16 on with CONFIG_KVM_INTEL_TDX=y, started with nohibernate"),
        parameter(
            facts,
            "kvm_intel.tdx",
            "kernel parameter kvm_intel.tdx=1, then a reboot; the kernel log says why it stays off",
        ),
        device(facts, "/dev/kvm", "load kvm_intel, and join the group kvm"),
        qemu(facts, TDX_QEMU, Some("tdx-guest")),
        device(facts, "/dev/sgx_enclave", "SGX makes quotes out of reports: switch it on in the firmware setup"),
        Requirement::new(
            "a quote generation service (QGS)",
            // It may also listen on a vsock port, which nothing shows.
            socket.map(|_| true),
            socket.map_or_else(|| "no socket of it".to_owned(), ToString::to_string),
            "install tdx-qgs from Intel's DCAP packages; name its address with --quotes",
        ),
        Requirement::new(
            "where the quote library finds certificates (PCCS)",
            Some(facts.files.contains("/etc/sgx_default_qcnl.conf")),
            if facts.files.contains("/etc/sgx_default_qcnl.conf") {
                "/etc/sgx_default_qcnl.conf"
            } else {
                "not configured"
            },
            "install a PCCS or use your cloud's, and name it in /etc/sgx_default_qcnl.conf; register the platform with PCKIDRetrievalTool",
        ),
    ]
}

fn tpm2(facts: &Facts) -> Vec<Requirement> {
    vec![
        qemu(facts, (6, 0), None),
        Requirement::new(
            "UEFI firmware that measures",
            Some(facts.ovmf),
            found(facts.ovmf, "OVMF"),
            "apt-get install ovmf",
        ),
        Requirement::new(
            "a TPM emulator",
            Some(facts.swtpm),
            found(facts.swtpm, "swtpm"),
            "apt-get install swtpm swtpm-tools",
        ),
    ]
}

fn processor(facts: &Facts, vendor: &'static str, what: &'static str) -> Requirement {
    let name = facts.processor.clone().or_else(|| facts.vendor.clone());
    let has = facts.vendor.as_deref().map(|found| found == vendor);
    Requirement::new(what, has, name.unwrap_or_else(|| "not shown".to_owned()), "another computer")
}

fn kernel(facts: &Facts, least: (u32, u32), what: &'static str) -> Requirement {
    let name = facts.kernel.map_or_else(|| "not shown".to_owned(), version);
    Requirement::new(
        what,
        facts.kernel.map(|kernel| kernel >= least),
        name,
        "install a newer kernel (Debian: from backports)",
    )
}

fn parameter(facts: &Facts, name: &'static str, advice: &'static str) -> Requirement {
    let value = facts.parameter(name);
    let found = match value {
        Some(true) => "Y",
        Some(false) => "N",
        None => "no such parameter: the module is not loaded, or too old",
    };
    Requirement::new(name, Some(value == Some(true)), found, advice)
}

fn device(facts: &Facts, path: &'static str, advice: &'static str) -> Requirement {
    let opens = facts.devices.contains(path);
    Requirement::new(path, Some(opens), if opens { "opens" } else { "does not open for reading and writing" }, advice)
}

fn qemu(facts: &Facts, least: (u32, u32), object: Option<&'static str>) -> Requirement {
    let has = facts.qemu.is_some_and(|qemu| qemu >= least) && object.is_none_or(|name| facts.objects.contains(name));
    let what = match object {
        None => "QEMU",
        Some("tdx-guest") => "QEMU from 10.1 on with tdx-guest",
        Some(_) => "QEMU from 9.1 on with sev-snp-guest",
    };
    let name = facts.qemu.map_or_else(|| "not installed".to_owned(), version);
    Requirement::new(what, Some(has), name, "install a newer QEMU (Debian: qemu-system-x86 from backports)")
}

fn flag(facts: &Facts, name: &str) -> String {
    match (facts.flags.is_empty(), facts.flags.contains(name)) {
        (true, _) => "no flags shown".to_owned(),
        (false, true) => format!("flag {name}"),
        (false, false) => format!("no flag {name}"),
    }
}

fn found(has: bool, name: &str) -> String {
    if has { name.to_owned() } else { "not installed".to_owned() }
}

fn version((major, minor): (u32, u32)) -> String {
    format!("{major}.{minor}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_check::requirement::{Status, complete};

    fn amd() -> Facts {
        Facts {
            vendor: Some("AuthenticAMD".to_owned()),
            flags: ["sev_snp".to_owned()].into(),
            kernel: Some((6, 12)),
            parameters: vec![("kvm_amd.sev", true), ("kvm_amd.sev_es", true), ("kvm_amd.sev_snp", true)],
            devices: ["/dev/kvm", "/dev/sev"].into(),
            qemu: Some((10, 0)),
            objects: ["sev-snp-guest"].into(),
            ..Facts::default()
        }
    }

    fn intel() -> Facts {
        Facts {
            vendor: Some("GenuineIntel".to_owned()),
            flags: ["tdx_host_platform".to_owned()].into(),
            kernel: Some((6, 16)),
            parameters: vec![("kvm_intel.tdx", true)],
            devices: ["/dev/kvm", "/dev/sgx_enclave"].into(),
            files: ["/run/tdx-qgs/qgs.socket", "/etc/sgx_default_qcnl.conf"].into(),
            qemu: Some((10, 1)),
            objects: ["tdx-guest"].into(),
            ..Facts::default()
        }
    }

    fn missing(tee: Tee, facts: &Facts) -> Vec<&'static str> {
        let list = requirements(tee, facts).into_iter();
        list.filter(|requirement| requirement.status == Status::Missing).map(|requirement| requirement.what).collect()
    }

    #[test]
    fn a_host_with_everything_is_complete() {
        assert!(complete(&requirements(Tee::SevSnp, &amd())));
        assert!(complete(&requirements(Tee::Tdx, &intel())));
    }

    #[test]
    fn each_thing_that_is_taken_away_is_the_one_that_is_missing() {
        type Take = fn(&mut Facts);
        let without: [(Take, &str); 8] = [
            (|facts| facts.flags = ["sev".to_owned()].into(), "SEV-SNP shown by the processor"),
            (|facts| facts.kernel = Some((6, 10)), "a kernel from 6.11 on with CONFIG_KVM_AMD_SEV=y"),
            (|facts| facts.parameters[0].1 = false, "kvm_amd.sev"),
            (|facts| facts.parameters[1].1 = false, "kvm_amd.sev_es"),
            (|facts| _ = facts.parameters.pop(), "kvm_amd.sev_snp"),
            (|facts| facts.devices = ["/dev/kvm"].into(), "/dev/sev"),
            (|facts| facts.qemu = Some((9, 0)), "QEMU from 9.1 on with sev-snp-guest"),
            (|facts| facts.objects.clear(), "QEMU from 9.1 on with sev-snp-guest"),
        ];
        for (take, what) in without {
            let mut facts = amd();
            take(&mut facts);
            assert_eq!(missing(Tee::SevSnp, &facts), [what]);
        }
        let mut facts = intel();
        facts.files.clear();
        assert_eq!(
            missing(Tee::Tdx, &facts),
            ["where the quote library finds certificates (PCCS)"],
            "QGS may be on vsock"
        );
    }

    #[test]
    fn one_maker_s_host_is_not_the_other_s() {
        assert!(!complete(&requirements(Tee::Tdx, &amd())));
        assert!(!complete(&requirements(Tee::SevSnp, &intel())));
    }

    #[test]
    fn what_is_not_shown_is_unknown_and_not_there() {
        let list = requirements(Tee::SevSnp, &Facts::default());
        assert_eq!(list[0].status, Status::Unknown);
        assert!(!complete(&list), "devices and QEMU are known to be missing");
    }
}
