//! What Linux shows of this computer, read once.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::machine::tools;

/// Facts that the requirements are judged by. A fact that could not be read is `None` or empty, never guessed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// `vendor_id` of the first processor, such as `AuthenticAMD`.
    pub vendor: Option<String>,
    /// `model name` of the first processor.
    pub processor: Option<String>,
    /// Its feature flags.
    pub flags: BTreeSet<String>,
    /// Major and minor number of the running kernel.
    pub kernel: Option<(u32, u32)>,
    /// `Y` or `N` by `MODULE.PARAMETER`, for those that are there.
    pub parameters: Vec<(&'static str, bool)>,
    /// Device files that can be opened for reading and writing, of those that are asked for.
    pub devices: BTreeSet<&'static str>,
    /// Files that are there, of those that are asked for.
    pub files: BTreeSet<&'static str>,
    /// Major and minor number of QEMU.
    pub qemu: Option<(u32, u32)>,
    /// Object types that QEMU can make, of those that are asked for.
    pub objects: BTreeSet<&'static str>,
    /// Whether swtpm is installed.
    pub swtpm: bool,
    /// Whether OVMF is installed.
    pub ovmf: bool,
}

/// Parameters of KVM's modules (Documentation/admin-guide/kernel-parameters.txt, `kvm-amd.` and `kvm-intel.`).
const PARAMETERS: [&str; 4] = ["kvm_amd.sev", "kvm_amd.sev_es", "kvm_amd.sev_snp", "kvm_intel.tdx"];
const DEVICES: [&str; 3] = ["/dev/kvm", "/dev/sev", "/dev/sgx_enclave"];
const FILES: [&str; 3] = ["/run/tdx-qgs/qgs.socket", "/var/run/tdx-qgs/qgs.socket", "/etc/sgx_default_qcnl.conf"];
const OBJECTS: [&str; 2] = ["sev-snp-guest", "tdx-guest"];

impl Facts {
    /// Of this computer.
    #[must_use]
    pub fn gather() -> Self {
        let mut facts = Self::below(Path::new("/"));
        facts.devices = DEVICES.into_iter().filter(|path| opens(path)).collect();
        facts.swtpm = tools::swtpm().is_ok();
        facts.ovmf = tools::ovmf().is_ok();
        if let Ok(qemu) = tools::qemu() {
            facts.qemu = said(&qemu, &["--version"]).as_deref().and_then(qemu_version);
            let objects = said(&qemu, &["-object", "help"]).unwrap_or_default();
            let listed: BTreeSet<&str> = objects.lines().map(str::trim).collect();
            facts.objects = OBJECTS.into_iter().filter(|name| listed.contains(name)).collect();
        }
        facts
    }

    /// What the files below `root` say; no program is run and no device opened.
    fn below(root: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(root.join(path.trim_start_matches('/'))).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let parameters = PARAMETERS.into_iter().filter_map(|name| {
            let (module, parameter) = name.split_once('.')?;
            match read(&format!("/sys/module/{module}/parameters/{parameter}")).trim() {
                "Y" | "1" => Some((name, true)),
                "N" | "0" => Some((name, false)),
                _ => None,
            }
        });
        Self {
            vendor: field("vendor_id"),
            processor: field("model name"),
            flags: field("flags").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
            kernel: numbers(&read("/proc/sys/kernel/osrelease")),
            parameters: parameters.collect(),
            files: FILES.into_iter().filter(|path| root.join(path.trim_start_matches('/')).exists()).collect(),
            ..Self::default()
        }
    }

    /// A parameter of KVM; `None` where the module is not loaded or has no such parameter.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<bool> {
        self.parameters.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

/// The first two numbers of a version.
fn numbers(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// `QEMU emulator version 9.1.0 (…)`
fn qemu_version(text: &str) -> Option<(u32, u32)> {
    numbers(text.lines().next()?.split("version ").nth(1)?)
}

fn said(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn opens(path: &str) -> bool {
    fs::OpenOptions::new().read(true).write(true).open(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_from_the_files_of_a_host() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(
            "proc/cpuinfo",
            "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: EPYC: 9004\nflags\t\t: fpu sev sev_snp\n\nprocessor\t: 1\n",
        );
        write("proc/sys/kernel/osrelease", "6.11.0-rc3-amd64\n");
        write("sys/module/kvm_amd/parameters/sev_snp", "Y\n");
        write("sys/module/kvm_amd/parameters/sev", "0\n");
        let facts = Facts::below(root.path());
        assert_eq!(facts.vendor.as_deref(), Some("AuthenticAMD"));
        assert_eq!(facts.processor.as_deref(), Some("EPYC: 9004"));
        assert!(facts.flags.contains("sev_snp") && !facts.flags.contains("sev-snp"));
        assert_eq!(facts.kernel, Some((6, 11)));
        assert_eq!(facts.parameter("kvm_amd.sev_snp"), Some(true));
        assert_eq!(facts.parameter("kvm_amd.sev"), Some(false));
        assert_eq!(facts.parameter("kvm_amd.sev_es"), None);
    }

    #[test]
    fn a_computer_that_shows_nothing_has_no_facts() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Facts::below(root.path()), Facts::default());
    }

    #[test]
    fn versions_are_two_numbers() {
        assert_eq!(qemu_version("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright"), Some((7, 2)));
        assert_eq!(numbers("6.16-rc1"), Some((6, 16)));
        assert_eq!(numbers("six"), None);
    }
}
