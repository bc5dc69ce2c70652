//! From a [`Machine`] to QEMU's argument vector: a pure function, so that a machine for hardware that is not here can
//! still be tested to the letter.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::description::{Accel, Bus, Firmware, Launch, Load, Machine, Network, QuoteService, Tee};

/// Name under which the guest finds its deployment document.
pub const DOCUMENT_FW_CFG: &str = "opt/lethe/config";
/// QEMU's control socket, in the machine's directory.
pub const QMP_SOCKET: &str = "qmp.sock";
/// The TPM emulator's control socket, in the machine's directory.
pub const TPM_SOCKET: &str = "tpm.sock";

/// Everything after `qemu-system-x86_64`. The console comes out of QEMU's stdout.
#[must_use]
pub fn arguments(machine: &Machine) -> Vec<OsString> {
    let mut list = Arguments::default();
    list.option("-name", machine.name.as_str());
    // Nothing that is not named here: no default devices, no user files, no monitor, no screen.
    for flag in ["-nodefaults", "-no-user-config"] {
        list.flag(flag);
    }
    list.option("-display", "none").option("-vga", "none").option("-monitor", "none");
    // QEMU parses what a hostile guest feeds it: it may start no program and gain no privilege.
    list.option("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    board(&mut list, machine);
    firmware(&mut list, machine);
    console(&mut list);
    model(&mut list, machine);
    network(&mut list, &machine.network);
    if let Some(document) = &machine.document {
        list.joined("-fw_cfg", &[OsStr::new("name=opt/lethe/config,file="), &escaped(document.as_os_str())]);
    }
    if let Some(endorsements) = &machine.endorsements {
        list.joined("-fw_cfg", &[OsStr::new("name=opt/lethe/endorsements,file="), &escaped(endorsements.as_os_str())]);
    }
    if let Some(sealed) = &machine.sealed {
        list.joined("-fw_cfg", &[OsStr::new("name=opt/lethe/sealed,file="), &escaped(sealed.as_os_str())]);
    }
    tpm(&mut list, machine.tee);
    confidential(&mut list, machine.launch.as_ref());
    list.option("-qmp", format!("unix:{QMP_SOCKET},server=on,wait=off"));
    // A reset is the death of PID 1: the machine ends instead of coming back under the same name with new keys.
    list.flag("-no-reboot");
    list.0
}

/// The emulator runs `rep movsb` byte by byte: a guest that is not told of fast string moves copies in words, and
/// boots in two thirds of the time. Four levels of page tables are walked faster than five. Without AVX the emulator's own code never
/// touches the upper halves of the host's vector registers; with it, each call of a floating-point helper can cost two state changes
/// of a hundred cycles, and a token takes many times as long (docs/benchmarks.md).
const EMULATED_CPU: &str = "max,erms=off,la57=off,xsave=off,avx=off,avx2=off,f16c=off,fma=off";

/// The guest's memory holds prompts: it stays out of core dumps and is not merged with other pages.
const BOARD: &str = "q35,vmport=off,usb=off,sata=off,smbus=off,hpet=off,graphics=off,dump-guest-core=off,mem-merge=off";

fn board(list: &mut Arguments, machine: &Machine) {
    // Neither kind has system management mode: its state would have to be changed from outside.
    let more = match &machine.launch {
        None => "",
        Some(Launch::SevSnp { .. }) => ",smm=off,confidential-guest-support=tee,memory-backend=ram",
        Some(Launch::Tdx { .. }) => ",smm=off,kernel-irqchip=split,confidential-guest-support=tee",
    };
    list.option("-machine", format!("{BOARD}{more}"));
    match (machine.accel, &machine.launch) {
        (Accel::Kvm, Some(Launch::SevSnp { cpu, .. })) => list.option("-accel", "kvm").option("-cpu", cpu),
        (Accel::Kvm, _) => list.option("-accel", "kvm").option("-cpu", "host"),
        (Accel::Tcg, _) => list.option("-accel", "tcg,thread=multi").option("-cpu", EMULATED_CPU),
    };
    list.option("-smp", format!("{}", machine.cpus));
    list.option("-m", format!("{}M", machine.memory_mib));
    if let Some(Launch::SevSnp { .. }) = &machine.launch {
        // the shared half of its memory; the private half comes from guest_memfd
        let size = machine.memory_mib;
        list.option(
            "-object",
            format!("memory-backend-memfd,id=ram,size={size}M,share=true,prealloc=false,reserve=false"),
        );
    }
}

fn firmware(list: &mut Arguments, machine: &Machine) {
    match &machine.firmware {
        Firmware::None => {}
        Firmware::Ovmf { code, vars } => {
            let code_drive = OsStr::new("if=pflash,unit=0,format=raw,readonly=on,file=");
            list.joined("-drive", &[code_drive, &escaped(code.as_os_str())]);
            list.joined("-drive", &[OsStr::new("if=pflash,unit=1,format=raw,file="), &escaped(vars.as_os_str())]);
        }
        Firmware::Path(file) => {
            list.option("-bios", file);
        }
    }
    match &machine.load {
        Load::Kernel(image) => {
            list.option("-kernel", image);
        }
        Load::Esp(directory) => {
            let start = OsStr::new("driver=vvfat,node-name=esp,read-only=on,dir=");
            list.joined("-blockdev", &[start, &escaped(directory.as_os_str())]);
            list.option("-device", "virtio-blk-pci,disable-legacy=on,drive=esp,bootindex=0");
        }
        Load::Disk { file, bus } => {
            let start = OsStr::new("driver=raw,node-name=boot,read-only=on,file.driver=file,file.filename=");
            list.joined("-blockdev", &[start, &escaped(file.as_os_str())]);
            let device = match bus {
                Bus::Virtio => "virtio-blk-pci,disable-legacy=on,drive=boot,serial=lethe-boot,bootindex=0",
                Bus::Nvme => "nvme,drive=boot,serial=lethe-boot,bootindex=0",
            };
            list.option("-device", device);
        }
    }
    if let Some(initrd) = &machine.attack.initrd {
        list.option("-initrd", initrd);
    }
    if let Some(cmdline) = &machine.attack.cmdline {
        list.option("-append", cmdline);
    }
}

fn console(list: &mut Arguments) {
    list.option("-chardev", "stdio,id=console,signal=off,mux=off").option("-serial", "chardev:console");
}

fn model(list: &mut Arguments, machine: &Machine) {
    let start = OsStr::new("driver=raw,node-name=model,read-only=on,file.driver=file,file.filename=");
    list.joined("-blockdev", &[start, &escaped(machine.model.as_os_str())]);
    list.option("-device", "virtio-blk-pci,disable-legacy=on,drive=model,serial=lethe-model");
}

/// One forwarded port and nothing else: `restrict=on` keeps the guest from reaching this computer or beyond it.
fn network(list: &mut Arguments, network: &Network) {
    let mut user = String::from("user,id=net,restrict=on,ipv6=off");
    let mut guest = String::new();
    if let Some(fixed) = &network.fixed {
        user.push_str(&format!(",net={}/{}", fixed.network(), fixed.prefix_bits.min(24)));
        if let Some(gateway) = fixed.gateway.filter(|gateway| fixed.contains(*gateway)) {
            user.push_str(&format!(",host={gateway}"));
        }
        guest = fixed.address.to_string();
    }
    user.push_str(&format!(",hostfwd=tcp:127.0.0.1:{}-{guest}:{}", network.host_port, network.guest_port));
    list.option("-netdev", user);
    list.option("-device", "virtio-net-pci,disable-legacy=on,netdev=net,romfile=");
}

fn tpm(list: &mut Arguments, tee: Tee) {
    if tee == Tee::Tpm2 {
        list.option("-chardev", format!("socket,id=tpm,path={TPM_SOCKET}"));
        list.option("-tpmdev", "emulator,id=tpm0,chardev=tpm").option("-device", "tpm-crb,tpmdev=tpm0");
    }
}

/// `TdxGuestProperties` of QEMU's qapi/qom.json: with a socket's address inside it can be given as JSON only.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct TdxGuest<'a> {
    qom_type: &'static str,
    id: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mrconfigid: Option<String>,
    quote_generation_socket: SocketAddress<'a>,
}

/// `SocketAddress` of QEMU's qapi/sockets.json; numbers are texts there.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum SocketAddress<'a> {
    Unix { path: Cow<'a, str> },
    Vsock { cid: String, port: String },
}

/// SMT is allowed, debugging and migration are not, and bit 17 must be one (SEV-SNP ABI, table 10). A host with one thread a core can
/// forbid SMT; a verifier's policy `strict` then demands it of the platform.
const SNP_POLICY: &str = "0x30000";

/// The objects are `SevSnpGuestProperties` and `TdxGuestProperties` of QEMU's qapi/qom.json.
fn confidential(list: &mut Arguments, launch: Option<&Launch>) {
    match launch {
        None => {}
        Some(Launch::SevSnp { c_bit, host_data, .. }) => {
            let mut object = format!("sev-snp-guest,id=tee,cbitpos={c_bit},reduced-phys-bits=1,policy={SNP_POLICY}");
            object.push_str(",kernel-hashes=on");
            if let Some(digest) = host_data {
                object.push_str(&format!(",host-data={}", STANDARD.encode(digest)));
            }
            list.option("-object", object);
        }
        Some(Launch::Tdx { mrconfigid, quotes }) => {
            let object = TdxGuest {
                qom_type: "tdx-guest",
                id: "tee",
                mrconfigid: mrconfigid.map(|digest| STANDARD.encode(digest)),
                quote_generation_socket: match quotes {
                    QuoteService::Unix(path) => SocketAddress::Unix { path: path.to_string_lossy() },
                    QuoteService::Vsock { cid, port } => {
                        SocketAddress::Vsock { cid: cid.to_string(), port: port.to_string() }
                    }
                },
            };
            // these types cannot fail to become JSON: texts and a fixed shape
            list.option("-object", serde_json::to_string(&object).unwrap_or_default());
        }
    }
}

/// In QEMU's option syntax a comma inside a value is written twice.
fn escaped(value: &OsStr) -> OsString {
    let mut bytes = Vec::with_capacity(value.len());
    for byte in value.as_bytes() {
        if *byte == b',' {
            bytes.push(b',');
        }
        bytes.push(*byte);
    }
    OsString::from_vec(bytes)
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn flag(&mut self, name: &str) -> &mut Self {
        self.0.push(name.into());
        self
    }

    fn option(&mut self, name: &str, value: impl Into<OsString>) -> &mut Self {
        self.0.push(name.into());
        self.0.push(value.into());
        self
    }

    fn joined(&mut self, name: &str, parts: &[&OsStr]) -> &mut Self {
        let mut value = OsString::new();
        for part in parts {
            value.push(part);
        }
        self.option(name, value)
    }
}

#[cfg(test)]
mod tests;
