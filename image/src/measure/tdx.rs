//! `lethe-image measure tdx`.

use std::path::PathBuf;
use std::thread;

use anyhow::Context as _;
use measurements::firmware::tdx::Layout;
use measurements::partition_table;
use measurements::register::{Candidate, Prediction};
use measurements::tdx::{AcpiTables, Boot, Edk2, Memory, PageOrder, Rtmr, mrconfigid, mrtd, rtmr0, rtmr1, rtmr2};
use serde_json::Value;

use super::{inputs, output};
use crate::report::advise;

const HELP: &str = "\
Examples:
  lethe-image measure tdx --firmware OVMF.inteltdx.fd --efi lethe.efi --disk lethe.raw --config lethe.toml
  lethe-image measure tdx --firmware OVMF.inteltdx.fd --kernel lethe.efi --memory 8G --edk2 2025.02 --json

A register with several values has one of them, under the condition beside it. A register that the inputs do not decide is
called unpredictable, with the reason and with what a verifier looks at instead; it is never guessed. `lethe-image events`
reads the log that such a verifier needs.";

/// Registers of an Intel TDX guest
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    /// Firmware image with TDX metadata
    #[arg(long, value_name = "FILE")]
    firmware: PathBuf,
    /// The file that is booted from a disk, as \EFI\BOOT\BOOTX64.EFI: lethe.efi
    #[arg(long, value_name = "FILE", conflicts_with = "kernel")]
    efi: Option<PathBuf>,
    /// The disk it is booted from: its partition table is measured too
    #[arg(long, value_name = "FILE", requires = "efi")]
    disk: Option<PathBuf>,
    /// Kernel as QEMU's -kernel gets it
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Initial RAM disk as QEMU's -initrd gets it
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<PathBuf>,
    /// Command line as QEMU's -append gets it
    #[arg(long, value_name = "TEXT", requires = "kernel")]
    cmdline: Option<String>,
    /// Number of virtual processors: changes only the ACPI tables, and so nothing that is computed without them
    #[arg(long, value_name = "N")]
    vcpus: Option<u32>,
    /// Memory of the machine: bytes, or with M or G
    #[arg(long, value_name = "SIZE", value_parser = inputs::size)]
    memory: Option<u64>,
    /// EDK II release the firmware was built from, as in 2025.02: later ones measure more
    #[arg(long, value_name = "RELEASE")]
    edk2: Option<Edk2>,
    /// Contents of QEMU's fw_cfg file etc/table-loader
    #[arg(long, value_name = "FILE", requires_all = ["acpi_rsdp", "acpi_tables"])]
    acpi_loader: Option<PathBuf>,
    /// Contents of QEMU's fw_cfg file etc/acpi/rsdp
    #[arg(long, value_name = "FILE", requires_all = ["acpi_loader", "acpi_tables"])]
    acpi_rsdp: Option<PathBuf>,
    /// Contents of QEMU's fw_cfg file etc/acpi/tables
    #[arg(long, value_name = "FILE", requires_all = ["acpi_loader", "acpi_rsdp"])]
    acpi_tables: Option<PathBuf>,
    /// Deployment document that the guest is bound to: adds mrconfigid
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Files of the boot, owned.
struct Files {
    efi: Option<Vec<u8>>,
    kernel: Option<Vec<u8>>,
    initrd: Option<Vec<u8>>,
    disk: Option<Vec<u8>>,
}

impl Files {
    fn read(args: &Args) -> anyhow::Result<Self> {
        Ok(Self {
            efi: inputs::optional_booted("image", args.efi.as_deref())?,
            kernel: inputs::optional_booted("kernel", args.kernel.as_deref())?,
            initrd: inputs::optional_booted("initial RAM disk", args.initrd.as_deref())?,
            disk: args.disk.as_deref().map(inputs::disk_start).transpose()?,
        })
    }

    fn boot<'a>(&'a self, args: &'a Args) -> anyhow::Result<Option<Boot<'a>>> {
        if let Some(efi) = &self.efi {
            let partition_table = self.disk.as_deref().map(partition_table::event).transpose();
            let partition_table = partition_table.with_context(|| {
                advise(
                    "the disk has no partition table that can be measured",
                    "give a raw disk image with a GUID partition table",
                )
            })?;
            return Ok(Some(Boot::Disk { efi, partition_table }));
        }
        let direct = |kernel| Boot::Direct {
            kernel,
            initrd: self.initrd.as_deref(),
            cmdline: args.cmdline.as_deref().unwrap_or_default(),
        };
        Ok(self.kernel.as_deref().map(direct))
    }
}

pub(super) fn measure(args: &Args) -> anyhow::Result<String> {
    let image = inputs::firmware(&args.firmware)?;
    let firmware = inputs::parsed(&image)?;
    let layout = Layout::read(&firmware).with_context(|| {
        advise(
            "this firmware cannot start a TDX guest",
            "use a build with TDX metadata, such as that of lethe-image firmware tdx",
        )
    })?;
    let memory = args
        .memory
        .map(Memory::new)
        .transpose()
        .map_err(|error| advise(error.to_string(), "give it as 2G or 4096M").usage())?;
    let document = inputs::document(args.config.as_deref())?;
    let registers = thread::scope(|scope| -> anyhow::Result<_> {
        // Three long hashes in a row would take three times as long.
        let orders = PageOrder::ALL.map(|order| {
            let layout = &layout;
            (order, scope.spawn(move || mrtd(layout, order)))
        });
        let mut registers = boot_registers(args, &layout, memory)?;
        let mut values = Vec::new();
        for (order, value) in orders {
            let value = value.join().map_err(|_| anyhow::anyhow!("hashing the firmware failed"))?;
            values.push(Candidate { when: order.when().to_owned(), value, events: Vec::new() });
        }
        registers.insert(0, ("mrtd", Prediction::Values(values)));
        Ok(registers)
    })?;
    let mrconfigid = document.as_deref().map(mrconfigid);
    Ok(if args.json { json(&registers, mrconfigid) } else { text(&registers, mrconfigid) })
}

type Registers = Vec<(&'static str, Prediction<Rtmr>)>;

/// RTMR0, and with a kernel RTMR1 and RTMR2.
fn boot_registers(args: &Args, layout: &Layout<'_>, memory: Option<Memory>) -> anyhow::Result<Registers> {
    let files = Files::read(args)?;
    let boot = files.boot(args)?;
    let acpi = acpi(args)?;
    let failed = || advise("the registers of the boot cannot be computed", "see lethe-image measure tdx --help");
    let zero = rtmr0(layout, memory, acpi.as_ref(), boot.as_ref(), args.edk2).with_context(failed)?;
    let mut registers = vec![("rtmr0", zero)];
    if let Some(boot) = &boot {
        registers.push(("rtmr1", rtmr1(boot, memory, args.edk2).with_context(failed)?));
        registers.push(("rtmr2", rtmr2(boot, args.edk2).with_context(failed)?));
    }
    Ok(registers)
}

fn acpi(args: &Args) -> anyhow::Result<Option<AcpiTables>> {
    let (Some(loader), Some(rsdp), Some(tables)) = (&args.acpi_loader, &args.acpi_rsdp, &args.acpi_tables) else {
        return Ok(None);
    };
    let read = |path| inputs::small("ACPI file", path);
    Ok(Some(AcpiTables::of(&read(loader)?, &read(rsdp)?, &read(tables)?)))
}

fn json(registers: &Registers, mrconfigid: Option<Rtmr>) -> String {
    let mut entries = vec![("platform", Value::from("tdx"))];
    entries.extend(registers.iter().map(|(name, prediction)| (*name, output::json(prediction))));
    entries.extend(mrconfigid.map(|value| ("mrconfigid", hex::encode(value).into())));
    output::document(entries)
}

fn text(registers: &Registers, mrconfigid: Option<Rtmr>) -> String {
    let mut text: String = registers.iter().map(|(name, prediction)| output::text(name, prediction)).collect();
    if let Some(value) = mrconfigid {
        text.push_str(&format!("mrconfigid  {}\n", hex::encode(value)));
    }
    text
}
