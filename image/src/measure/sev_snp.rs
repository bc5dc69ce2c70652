//! `lethe-image measure sev-snp`.

use std::path::PathBuf;
use std::thread;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use measurements::firmware::sev::Layout;
use measurements::sev_snp::{
    CpuSignature, Guest, GuestFeatures, IdBlock, KernelHashes, LaunchDigest, SnpError, Vcpus, Vmm, firmware_digest,
    launch_digest,
};
use serde_json::{Value, json};

use super::{inputs, keys, output};
use crate::report::advise;

const HELP: &str = "\
Examples:
  lethe-image measure sev-snp --firmware OVMF.amdsev.fd --kernel lethe.efi --vcpus 4 --cpu EPYC-Milan
  lethe-image measure sev-snp --firmware OVMF.amdsev.fd --kernel lethe.efi --vcpus 4 --cpu EPYC-v4 --config lethe.toml --json
  lethe-image measure sev-snp --firmware OVMF.fd --vcpus 2 --vmm ec2

launch_digest is the field MEASUREMENT of a report, host_data the field HOST_DATA. Firmware that does not check the kernel
against a measured table of hashes is refused together with --kernel: the digest would be the same for every kernel.";

/// Launch digest of an AMD SEV-SNP guest
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    /// Firmware image; it has to measure kernel hashes if a kernel is given
    #[arg(long, value_name = "FILE")]
    firmware: PathBuf,
    /// Kernel as QEMU's -kernel gets it: lethe.efi
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Initial RAM disk as QEMU's -initrd gets it; lethe.efi has its own and ignores this one
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<PathBuf>,
    /// Command line as QEMU's -append gets it; lethe.efi has its own and ignores this one
    #[arg(long, value_name = "TEXT", requires = "kernel")]
    cmdline: Option<String>,
    /// Number of virtual processors
    #[arg(long, value_name = "N")]
    vcpus: u32,
    /// Processor as QEMU's -cpu names it: EPYC-v4, EPYC-Milan, EPYC-Genoa, EPYC-Turin, …
    #[arg(long, value_name = "TYPE", conflicts_with = "cpu_signature")]
    cpu: Option<CpuSignature>,
    /// Processor by CPUID leaf 1, EAX
    #[arg(long, value_name = "0x…", value_parser = inputs::number32)]
    cpu_signature: Option<u32>,
    /// SEV features of the guest; 0x1 is SEV-SNP and nothing else
    #[arg(long, value_name = "0x…", default_value = "0x1", value_parser = inputs::number)]
    guest_features: u64,
    /// Who starts the machine
    #[arg(long, value_enum, default_value = "qemu")]
    vmm: VmmName,
    /// Deployment document that the guest is bound to: adds host_data
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Add the ID block that allows this launch digest, for its owner to sign
    #[arg(long)]
    id_block: bool,
    /// Public ID key (P-384, PEM or DER): adds the ID_KEY_DIGEST of reports
    #[arg(long, value_name = "FILE", requires = "id_block")]
    id_key: Option<PathBuf>,
    /// Public author key (P-384, PEM or DER): adds the AUTHOR_KEY_DIGEST of reports
    #[arg(long, value_name = "FILE", requires = "id_key")]
    author_key: Option<PathBuf>,
    /// Family of the image in the ID block, 16 bytes
    #[arg(long, value_name = "HEX", requires = "id_block", value_parser = inputs::id16)]
    family_id: Option<[u8; 16]>,
    /// Image in the ID block, 16 bytes
    #[arg(long, value_name = "HEX", requires = "id_block", value_parser = inputs::id16)]
    image_id: Option<[u8; 16]>,
    /// Security version of the image in the ID block
    #[arg(long, value_name = "N", requires = "id_block", default_value = "0", value_parser = inputs::number32)]
    guest_svn: u32,
    /// Guest policy in the ID block; 0x30000 allows simultaneous multithreading and nothing else
    #[arg(long, value_name = "0x…", requires = "id_block", default_value = "0x30000", value_parser = inputs::number)]
    policy: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum VmmName {
    /// QEMU with KVM
    Qemu,
    /// Amazon EC2
    Ec2,
    /// Google Compute Engine
    Gce,
}

impl From<VmmName> for Vmm {
    fn from(name: VmmName) -> Self {
        match name {
            VmmName::Qemu => Self::Qemu,
            VmmName::Ec2 => Self::Ec2,
            VmmName::Gce => Self::Gce,
        }
    }
}

/// What is computed.
struct Measured {
    launch_digest: LaunchDigest,
    host_data: Option<[u8; 32]>,
    id_block: Option<IdBlock>,
    id_key_digest: Option<[u8; 48]>,
    author_key_digest: Option<[u8; 48]>,
}

pub(super) fn measure(args: &Args) -> anyhow::Result<String> {
    let guest = guest(args)?;
    let document = inputs::document(args.config.as_deref())?;
    let launch_digest = digest(args, &guest)?;
    let id_block = args.id_block.then(|| IdBlock {
        launch_digest,
        family_id: args.family_id.unwrap_or_default(),
        image_id: args.image_id.unwrap_or_default(),
        guest_svn: args.guest_svn,
        policy: args.policy,
    });
    let measured = Measured {
        launch_digest,
        host_data: document.as_deref().map(deployment::digest_sha256),
        id_block,
        id_key_digest: args.id_key.as_deref().map(|path| keys::digest("ID key", path)).transpose()?,
        author_key_digest: args.author_key.as_deref().map(|path| keys::digest("author key", path)).transpose()?,
    };
    Ok(if args.json { measured.json(&guest) } else { measured.text() })
}

fn guest(args: &Args) -> anyhow::Result<Guest> {
    let given = args.cpu.or(args.cpu_signature.map(CpuSignature::from_eax));
    let cpu = match (given, args.vmm) {
        (Some(cpu), _) => cpu,
        // These hypervisors do not have the signature measured.
        (None, VmmName::Ec2 | VmmName::Gce) => CpuSignature::from_eax(0),
        (None, VmmName::Qemu) => {
            let types = CpuSignature::names().collect::<Vec<_>>().join(", ");
            let help = format!("add --cpu TYPE (one of {types}, each also with its versions) or --cpu-signature 0x…");
            anyhow::bail!(
                advise("QEMU puts the processor's signature into the launch digest, and none is given", help).usage()
            );
        }
    };
    Ok(Guest {
        vcpus: Vcpus::new(args.vcpus).map_err(usage)?,
        cpu,
        features: GuestFeatures::new(args.guest_features).map_err(usage)?,
        vmm: args.vmm.into(),
    })
}

fn usage(error: SnpError) -> anyhow::Error {
    let help = "see lethe-image measure sev-snp --help";
    advise(error.to_string(), help).usage().into()
}

/// Firmware and kernel are hashed at the same time.
fn digest(args: &Args, guest: &Guest) -> anyhow::Result<LaunchDigest> {
    let image = inputs::firmware(&args.firmware)?;
    let firmware = inputs::parsed(&image)?;
    let layout = Layout::read(&firmware).with_context(|| {
        advise(
            "this firmware cannot start an SEV-SNP guest",
            "use a build with SEV metadata, such as that of lethe-image firmware sev-snp",
        )
    })?;
    if args.kernel.is_some() && layout.hash_table().is_none() {
        return Err(refusal(SnpError::KernelNotMeasured));
    }
    let (firmware, hashes) = thread::scope(|scope| -> anyhow::Result<_> {
        let firmware = scope.spawn(|| firmware_digest(&firmware));
        let hash = |what, path: &PathBuf| inputs::booted_sha256(what, path);
        let kernel = args.kernel.as_ref().map(|path| hash("kernel", path)).transpose()?;
        let initrd = args.initrd.as_ref().map(|path| hash("initial RAM disk", path)).transpose()?;
        let hashes = kernel.map(|kernel| KernelHashes::of_digests(kernel, initrd, args.cmdline.as_deref()));
        Ok((firmware.join().map_err(|_| anyhow::anyhow!("hashing the firmware failed"))?, hashes.transpose()?))
    })?;
    launch_digest(firmware, &layout, hashes.as_ref(), guest).map_err(refusal)
}

fn refusal(error: SnpError) -> anyhow::Error {
    let help = "take firmware with a page for kernel hashes (OVMF.amdsev.fd); or leave --kernel out, if the machine boots \
                from a disk and another register proves what it boots";
    anyhow::Error::from(error).context(advise("the kernel would not be measured", help))
}

impl Measured {
    fn json(&self, guest: &Guest) -> String {
        let guest = json!({
            "vcpus": guest.vcpus.count(),
            "cpu_signature": guest.cpu.to_string(),
            "guest_features": format!("{:#x}", guest.features.bits()),
        });
        let mut entries = vec![
            ("platform", Value::from("sev-snp")),
            ("launch_digest", self.launch_digest.to_string().into()),
            ("guest", guest),
        ];
        entries.extend(self.host_data.map(|digest| ("host_data", hex::encode(digest).into())));
        entries.extend(self.id_block.map(|block| ("id_block", STANDARD.encode(block.to_bytes()).into())));
        entries.extend(self.id_key_digest.map(|digest| ("id_key_digest", hex::encode(digest).into())));
        entries.extend(self.author_key_digest.map(|digest| ("author_key_digest", hex::encode(digest).into())));
        output::document(entries)
    }

    fn text(&self) -> String {
        let mut text = format!("launch_digest      {}\n", self.launch_digest);
        let mut line = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                text.push_str(&format!("{name:18} {value}\n"));
            }
        };
        line("host_data", self.host_data.map(hex::encode));
        line("id_block", self.id_block.map(|block| STANDARD.encode(block.to_bytes())));
        line("id_key_digest", self.id_key_digest.map(hex::encode));
        line("author_key_digest", self.author_key_digest.map(hex::encode));
        text
    }
}
