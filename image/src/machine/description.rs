//! What a machine is made of, as values: nothing here touches a file or starts a program.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::name::Name;

/// A machine that can be turned into a QEMU command line.
///
/// Paths are absolute, or relative to the machine's own directory, in which QEMU runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// Its name.
    pub name: Name,
    /// What executes the guest's instructions.
    pub accel: Accel,
    /// Virtual processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// What runs before the image.
    pub firmware: Firmware,
    /// How the image gets in.
    pub load: Load,
    /// What proves to others what runs in it.
    pub tee: Tee,
    /// The model file; it becomes a read-only disk.
    pub model: PathBuf,
    /// The deployment document; none if it is baked into the image.
    pub document: Option<PathBuf>,
    /// How the server's port is reached from here.
    pub network: Network,
    /// What only tests of attacks add.
    pub attack: Attack,
}

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// The processor, through the kernel's KVM.
    Kvm,
    /// QEMU's own emulation.
    Tcg,
}

/// What runs before the image.
#[derive(Debug, Clone, PartialEq)]
pub enum Firmware {
    /// QEMU's built-in BIOS and its own kernel loader.
    None,
    /// OVMF as two flash chips.
    Ovmf {
        /// The read-only code.
        code: PathBuf,
        /// This machine's own variables.
        vars: PathBuf,
    },
    /// One firmware file in the place of the BIOS.
    Path(PathBuf),
}

/// How the image gets in.
#[derive(Debug, Clone, PartialEq)]
pub enum Load {
    /// As QEMU's `-kernel`.
    Kernel(PathBuf),
    /// From a directory that is shown as an EFI system partition.
    Esp(PathBuf),
    /// From a raw disk with an EFI system partition, as `lethe-image disk` writes it.
    Disk {
        /// The disk's file.
        file: PathBuf,
        /// How the machine sees it.
        bus: Bus,
    },
}

/// How a machine sees the disk it boots from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Bus {
    /// As virtio-blk, like the disks of most virtual machines
    Virtio,
    /// As NVMe, like the disks of the large clouds
    Nvme,
}

/// What proves to others what runs in the machine. Room is kept for `sev-snp` and `tdx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Tee {
    /// Nothing: every client refuses it unless told otherwise.
    None,
    /// A TPM 2.0, here emulated by swtpm.
    Tpm2,
}

/// How the server's port is reached from this computer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Port on 127.0.0.1.
    pub host_port: u16,
    /// Port inside the machine.
    pub guest_port: u16,
    /// The address the document fixes; none: QEMU's DHCP server gives one.
    pub fixed: Option<Fixed>,
}

/// A guest address from the document, and the virtual network built around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed {
    /// The guest's address.
    pub address: Ipv4Addr,
    /// Prefix of the virtual network in bits, at most 24, so that there is room for QEMU's own addresses.
    pub prefix_bits: u8,
    /// QEMU's own address in it, which the guest takes for its gateway.
    pub gateway: Option<Ipv4Addr>,
}

/// What only tests of attacks add to a command line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attack {
    /// A foreign initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// A foreign kernel command line.
    pub cmdline: Option<String>,
}

impl Accel {
    /// The name QEMU and people use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

impl Firmware {
    /// One word for lists and records.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Ovmf { .. } => "ovmf",
            Self::Path(_) => "path",
        }
    }
}

impl Tee {
    /// The name of the command line and of the evidence.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Tpm2 => "tpm2",
        }
    }
}

impl Fixed {
    /// First address of the virtual network.
    #[must_use]
    pub fn network(&self) -> Ipv4Addr {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix_bits.min(24))).unwrap_or(0);
        Ipv4Addr::from_bits(self.address.to_bits() & mask)
    }

    /// Whether an address lies in the virtual network.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        Self { address, ..*self }.network() == self.network()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_around_a_fixed_address_follows_its_prefix() {
        let fixed = Fixed { address: Ipv4Addr::new(192, 168, 7, 20), prefix_bits: 24, gateway: None };
        assert_eq!(fixed.network(), Ipv4Addr::new(192, 168, 7, 0));
        assert!(fixed.contains(Ipv4Addr::new(192, 168, 7, 1)));
        assert!(!fixed.contains(Ipv4Addr::new(192, 168, 8, 1)));
        let wide = Fixed { prefix_bits: 8, ..fixed };
        assert_eq!(wide.network(), Ipv4Addr::new(192, 0, 0, 0));
        assert_eq!(Fixed { prefix_bits: 0, ..fixed }.network(), Ipv4Addr::UNSPECIFIED);
    }
}
