//! The events that EDK II, and Linux' EFI stub after it, log while a kernel is booted, for a TPM and for TDX alike.
//!
//! Source: EDK II `SecurityPkg/Tcg/Tcg2Dxe`, `OvmfPkg/Tcg/TdTcg2Dxe` and `MdeModulePkg/Universal/BdsDxe`; Linux
//! `drivers/firmware/efi/libstub/efi-stub-helper.c`; logs of real machines.

use crate::event_log::EventType;
use crate::guid::Guid;
use crate::register::{Bank, Expected};

const GLOBAL: Guid = Guid::from_u128(0x8be4df61_93ca_11d2_aa0d_00e098032b8c);
const IMAGE_SECURITY: Guid = Guid::from_u128(0xd719b2cb_3d3a_4596_a3bc_dad00e67656f);
/// Where OVMF keeps its own applications: its DXE firmware volume.
const DXE_VOLUME: Guid = Guid::from_u128(0x7cb8bdc9_f8eb_4f34_aaea_3ee4af6516a1);
/// The firmware's setup program.
const UI_APP: Guid = Guid::from_u128(0x462caa21_7614_4503_836e_8ab6f4662331);

/// How the firmware that measures `SecureBoot` was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecureBoot {
    /// Without support: the variable does not exist.
    Absent,
    /// With support and without keys: the variable is zero.
    Off,
}

/// Whether the kernel left boot services at its first call: firmware since 2023 often changes the memory map in that call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    AtFirst,
    AtSecond,
}

impl Exit {
    pub const BOTH: [Self; 2] = [Self::AtFirst, Self::AtSecond];

    pub fn when(self) -> &'static str {
        match self {
            Self::AtFirst => "the kernel left boot services at its first call",
            Self::AtSecond => "the kernel left boot services at its second call, as it often does with newer EDK II",
        }
    }
}

pub(crate) fn separator<D: Bank>() -> Expected<D> {
    Expected::of(EventType::SEPARATOR, "separator: firmware has finished, what it boots begins", &[0; 4])
}

fn action<D: Bank>(text: &str) -> Expected<D> {
    Expected::of(EventType::EFI_ACTION, format!("action: \"{text}\""), text.as_bytes())
}

/// The boot manager starts a boot option.
pub(crate) fn calling_option<D: Bank>() -> Expected<D> {
    action("Calling EFI Application from Boot Option")
}

/// The PE file that is started, by its Authenticode digest.
pub(crate) fn application<D: Bank>(what: impl Into<String>, digest: D) -> Expected<D> {
    Expected::with(EventType::EFI_BOOT_SERVICES_APPLICATION, what, digest)
}

/// The kernel takes the machine over.
pub(crate) fn exit_boot_services<D: Bank>(exit: Exit) -> Vec<Expected<D>> {
    let call = || action("Exit Boot Services Invocation");
    let success = action("Exit Boot Services Returned with Success");
    match exit {
        Exit::AtFirst => vec![call(), success],
        Exit::AtSecond => vec![call(), action("Exit Boot Services Returned with Failure"), call(), success],
    }
}

/// The variables of Secure Boot where no keys are enrolled, and the separator behind them.
pub(crate) fn secure_boot_without_keys<D: Bank>(secure_boot: SecureBoot) -> Vec<Expected<D>> {
    let value: &[u8] = match secure_boot {
        SecureBoot::Absent => &[],
        SecureBoot::Off => &[0],
    };
    let variables = [
        ("SecureBoot", GLOBAL, value),
        ("PK", GLOBAL, &[]),
        ("KEK", GLOBAL, &[]),
        ("db", IMAGE_SECURITY, &[]),
        ("dbx", IMAGE_SECURITY, &[]),
    ];
    let mut events: Vec<_> = variables.into_iter().map(|(name, vendor, value)| variable(name, vendor, value)).collect();
    events.push(separator());
    events
}

/// `UEFI_VARIABLE_DATA` of one variable, the whole of which is hashed.
fn variable<D: Bank>(name: &str, vendor: Guid, value: &[u8]) -> Expected<D> {
    let mut data = vendor.to_bytes().to_vec();
    data.extend((name.len() as u64).to_le_bytes());
    data.extend((value.len() as u64).to_le_bytes());
    data.extend(name.encode_utf16().flat_map(u16::to_le_bytes));
    data.extend(value);
    let is = if value.is_empty() { "is empty" } else { "is zero" };
    Expected::of(EventType::EFI_VARIABLE_DRIVER_CONFIG, format!("variable {name} {is}"), &data)
}

/// The boot variables of OVMF before 2025.05 when QEMU hands it the kernel: only its setup program is an option yet.
pub(crate) fn only_setup_program<D: Bank>() -> Vec<Expected<D>> {
    let kind = EventType::EFI_VARIABLE_BOOT;
    vec![
        Expected::of(kind, "boot order: Boot0000", &[0, 0]),
        Expected::of(kind, "boot option Boot0000: \"UiApp\"", &ui_app()),
    ]
}

/// `EFI_LOAD_OPTION`: active, hidden, an application of the firmware; by firmware volume and file.
fn ui_app() -> Vec<u8> {
    const NODE: u16 = 20;
    let mut option = 0x0109_u32.to_le_bytes().to_vec();
    option.extend((2 * NODE + 4).to_le_bytes());
    option.extend("UiApp\0".encode_utf16().flat_map(u16::to_le_bytes));
    for (subtype, guid) in [(7, DXE_VOLUME), (6, UI_APP)] {
        option.extend([4, subtype]);
        option.extend(NODE.to_le_bytes());
        option.extend(guid.to_bytes());
    }
    option.extend([0x7f, 0xff, 4, 0]);
    option
}

/// What Linux' EFI stub logs about load options, in UTF-16 with a NUL, as firmware hands them over.
pub(crate) fn load_options<D: Bank>(text: &str) -> Expected<D> {
    let utf16: Vec<u8> = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    Expected::of(EventType::EVENT_TAG, "Linux' EFI stub: the kernel's command line", &utf16)
}

/// What Linux' EFI stub logs about an initial RAM disk that firmware gave it.
pub(crate) fn initrd<D: Bank>(initrd: &[u8]) -> Expected<D> {
    Expected::of(EventType::EVENT_TAG, "Linux' EFI stub: an initial RAM disk", initrd)
}
