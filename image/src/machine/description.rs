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
    /// What the processor is told when it launches a confidential machine; none for the other kinds.
    pub launch: Option<Launch>,
    /// The model file; it becomes a read-only disk.
    pub model: PathBuf,
    /// The deployment document; none if it is baked into the image.
    pub document: Option<PathBuf>,
    /// What vendors say about the platform, for the evidence.
    pub endorsements: Option<PathBuf>,
    /// Secrets that an earlier boot sealed.
    pub sealed: Option<PathBuf>,
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

/// What proves to others what runs in the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tee {
    /// Nothing: every client refuses it unless told otherwise.
    None,
    /// A TPM 2.0, here emulated by swtpm.
    Tpm2,
    /// AMD SEV-SNP.
    SevSnp,
    /// Intel TDX.
    Tdx,
}

/// What the processor is told when it launches a confidential machine: it ends up in its evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Launch {
    /// AMD SEV-SNP.
    SevSnp {
        /// The bit of a page table entry that says "private": `CPUID 0x8000001F` EBX 5:0 (AMD64 APM vol. 3, E.4.17).
        c_bit: u8,
        /// QEMU's name for the processor; its signature is measured.
        cpu: String,
        /// HOST_DATA: SHA-256 of the deployment document.
        host_data: Option<[u8; 32]>,
    },
    /// Intel TDX.
    Tdx {
        /// MRCONFIGID: SHA-384 of the deployment document.
        mrconfigid: Option<[u8; 48]>,
        /// Where the host's service turns reports into quotes.
        quotes: QuoteService,
    },
}

/// The address of the service that turns TDX reports into quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuoteService {
    /// A socket of the host's own.
    Unix(PathBuf),
    /// A port of a vsock context, 2 being the host.
    Vsock {
        /// The context.
        cid: u32,
        /// The port.
        port: u32,
    },
}

impl std::str::FromStr for QuoteService {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
            return Ok(Self::Unix(path.into()));
        }
        let numbers = text.strip_prefix("vsock:").and_then(|rest| rest.split_once(':'));
        let parsed = numbers.and_then(|(cid, port)| Some((cid.parse().ok()?, port.parse().ok()?)));
        parsed
            .map(|(cid, port)| Self::Vsock { cid, port })
            .ok_or_else(|| "write unix:/run/tdx-qgs/qgs.socket or vsock:2:4050".to_owned())
    }
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
            Self::SevSnp => "sev-snp",
            Self::Tdx => "tdx",
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
    fn a_quote_service_is_a_socket_of_the_host() {
        assert_eq!("unix:/run/q".parse(), Ok(QuoteService::Unix("/run/q".into())));
        assert_eq!("vsock:2:4050".parse(), Ok(QuoteService::Vsock { cid: 2, port: 4050 }));
        for text in ["", "unix:", "unix:relative", "vsock:2", "vsock:2:", "vsock:-1:5", "tcp:1:2"] {
            assert!(text.parse::<QuoteService>().is_err(), "{text:?}");
        }
    }

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
