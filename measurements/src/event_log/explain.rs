//! One line about each event, and whether its digest proves what the line says.

use super::text::{hexadecimal, of_bytes, of_either, of_utf16};
use super::{Event, EventType};
use crate::bytes::{Bytes, Truncated};
use crate::guid::Guid;

/// Numbers by which Linux' EFI stub tags its events (`drivers/firmware/efi/libstub/efistub.h`).
const LOAD_OPTIONS_TAG: u32 = 0x8f3b_22ed;
const INITRD_TAG: u32 = 0x8f3b_22ec;

/// How far an event's digest covers the data that stand beside it in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The digest is that of the data: what they say was measured.
    Data,
    /// The digest is that of the value of a variable, not of its name.
    Value,
    /// The digest is that of something else, such as a file; the data are only a note.
    Nothing,
}

/// Whether the event's digests are those of its data. Every digest that can be computed has to agree.
#[must_use]
pub fn proof(event: &Event<'_>) -> Proof {
    let covers = |bytes: &[u8]| {
        let computed =
            event.digests.iter().filter_map(|digest| Some((digest.algorithm.digest(&[bytes])?, digest.bytes)));
        let mut equal = computed.map(|(ours, theirs)| ours == theirs).peekable();
        equal.peek().is_some() && equal.all(|equal| equal)
    };
    // A note is not extended into any register, whatever its digest says.
    if event.kind == EventType::NO_ACTION {
        return Proof::Nothing;
    }
    if covers(event.data) {
        return Proof::Data;
    }
    match Variable::read(event.data) {
        Ok(variable) if event.kind == EventType::EFI_VARIABLE_BOOT && covers(variable.value) => Proof::Value,
        _ => Proof::Nothing,
    }
}

/// What the event says, in one line without control characters. Only a guide: [`proof`] says what is proven.
#[must_use]
pub fn explain(event: &Event<'_>) -> String {
    let data = event.data;
    structured(event).unwrap_or_else(|_| format!("data of another form: {}", hexadecimal(data)))
}

fn structured(event: &Event<'_>) -> Result<String, Truncated> {
    let data = event.data;
    Ok(match event.kind {
        EventType::NO_ACTION => no_action(data),
        EventType::SEPARATOR => separator(data),
        EventType::S_CRTM_VERSION => format!("version of the firmware: \"{}\"", of_utf16(data)),
        EventType::EFI_ACTION | EventType::ACTION => format!("action: {}", of_bytes(data)),
        EventType::EFI_PLATFORM_FIRMWARE_BLOB => firmware_blob(data)?,
        EventType::EFI_PLATFORM_FIRMWARE_BLOB2 => described_blob(data)?,
        EventType::EFI_HANDOFF_TABLES => {
            format!("{} table(s) handed to the system", Bytes::new(data).u64("tables", 0)?)
        }
        EventType::EFI_HANDOFF_TABLES2 => described_tables(data)?,
        EventType::EFI_VARIABLE_DRIVER_CONFIG
        | EventType::EFI_VARIABLE_BOOT
        | EventType::EFI_VARIABLE_BOOT2
        | EventType::EFI_VARIABLE_AUTHORITY => variable(event.kind, data)?,
        EventType::EFI_BOOT_SERVICES_APPLICATION => format!("application started: {}", image(data)?),
        EventType::EFI_BOOT_SERVICES_DRIVER => format!("driver started: {}", image(data)?),
        EventType::EFI_RUNTIME_SERVICES_DRIVER => format!("driver started that stays: {}", image(data)?),
        EventType::EFI_GPT_EVENT => partition_table(data)?,
        EventType::EVENT_TAG => tagged(data)?,
        EventType::IPL => format!("measured by the boot loader: {}", of_either(data)),
        EventType::PLATFORM_CONFIG_FLAGS => format!("settings of the platform: {}", of_bytes(data)),
        EventType::POST_CODE | EventType::POST_CODE2 => format!("code of the platform: {}", of_bytes(data)),
        EventType::NONHOST_INFO => format!("about the machine: {}", hexadecimal_or_text(data)),
        _ => hexadecimal_or_text(data),
    })
}

fn hexadecimal_or_text(data: &[u8]) -> String {
    let text = data.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.len() >= 4 && text.is_ascii() { of_bytes(text) } else { hexadecimal(data) }
}

fn no_action(data: &[u8]) -> String {
    let note = data.get(..16).unwrap_or(data);
    format!("a note, not measured: {}", of_bytes(note))
}

fn separator(data: &[u8]) -> String {
    match data {
        [0, 0, 0, 0] => "separator: firmware has finished, what it boots begins".to_owned(),
        [0xff, 0xff, 0xff, 0xff] => "separator of the other form: firmware has finished".to_owned(),
        [1, 0, 0, 0] => "separator: firmware reports an ERROR".to_owned(),
        other => format!("separator of unknown form: {}", hexadecimal(other)),
    }
}

fn firmware_blob(data: &[u8]) -> Result<String, Truncated> {
    let bytes = Bytes::new(data);
    let (start, length) = (bytes.u64("address", 0)?, bytes.u64("length", 8)?);
    Ok(format!("firmware in memory at {start:#x}, {length} bytes"))
}

fn described_blob(data: &[u8]) -> Result<String, Truncated> {
    let bytes = Bytes::new(data);
    let length = u64::from(bytes.u8("description", 0)?);
    let name = bytes.take("description", 1, length)?;
    let (start, size) = (bytes.u64("address", 1 + length)?, bytes.u64("length", 9 + length)?);
    Ok(format!("firmware {} in memory at {start:#x}, {size} bytes", of_bytes(name)))
}

fn described_tables(data: &[u8]) -> Result<String, Truncated> {
    let bytes = Bytes::new(data);
    let length = u64::from(bytes.u8("description", 0)?);
    let name = bytes.take("description", 1, length)?;
    Ok(match name.split(|byte| *byte == 0).next() {
        Some(b"TdxTable") => "the machine's memory, as the host describes it (TD HOB)".to_owned(),
        _ => format!("tables handed to the system: {}", of_bytes(name)),
    })
}

/// `UEFI_VARIABLE_DATA`.
pub(super) struct Variable<'a> {
    pub vendor: Guid,
    pub name: &'a [u8],
    pub value: &'a [u8],
}

impl<'a> Variable<'a> {
    pub fn read(data: &'a [u8]) -> Result<Self, Truncated> {
        let bytes = Bytes::new(data);
        let truncated = Truncated { what: "variable", offset: 16 };
        let (units, length) = (bytes.u64("variable", 16)?, bytes.u64("variable", 24)?);
        let name_length = units.checked_mul(2).ok_or(truncated)?;
        let value_at = name_length.checked_add(32).ok_or(truncated)?;
        Ok(Self {
            vendor: Guid::from_bytes(bytes.array("variable", 0)?),
            name: bytes.take("variable", 32, name_length)?,
            value: bytes.take("variable", value_at, length)?,
        })
    }
}

fn variable(kind: EventType, data: &[u8]) -> Result<String, Truncated> {
    let variable = Variable::read(data)?;
    let (name, value) = (of_utf16(variable.name), variable.value);
    Ok(match (kind, name.as_str(), value) {
        (_, "SecureBoot", [] | [0]) => "Secure Boot is off".to_owned(),
        (_, "SecureBoot", [1]) => "Secure Boot is on".to_owned(),
        (EventType::EFI_VARIABLE_AUTHORITY, _, _) => format!("allowed by an entry of {name} ({} bytes)", value.len()),
        (_, "BootOrder", _) => format!("boot order: {}", boot_order(value)),
        (EventType::EFI_VARIABLE_BOOT | EventType::EFI_VARIABLE_BOOT2, _, _) => {
            let option = value.get(6..).map(of_utf16).unwrap_or_default();
            format!("boot option {name}: \"{option}\"")
        }
        (_, _, []) => format!("variable {name} is empty"),
        _ => format!("variable {name} of {}: {}", variable.vendor, hexadecimal(value)),
    })
}

fn boot_order(value: &[u8]) -> String {
    let options = value.chunks_exact(2).take(32).map(|pair| match pair {
        &[low, high] => format!("Boot{:04X}", u16::from_le_bytes([low, high])),
        _ => String::new(),
    });
    options.collect::<Vec<_>>().join(", ")
}

/// `UEFI_IMAGE_LOAD_EVENT`: where an image was loaded to, and from which device path.
fn image(data: &[u8]) -> Result<String, Truncated> {
    let bytes = Bytes::new(data);
    let size = bytes.u64("image", 8)?;
    let length = bytes.u64("image", 24)?;
    let path = device_path(bytes.take("device path", 32, length)?);
    Ok(format!("{path}, {size} bytes in memory"))
}

/// The parts of a device path that a reader knows: files and partitions.
fn device_path(path: &[u8]) -> String {
    let bytes = Bytes::new(path);
    let mut parts = Vec::new();
    let mut at = 0;
    while let (Ok(kind), Ok(length)) = (bytes.u16("node", at), bytes.u16("node", at + 2)) {
        if length < 4 || parts.len() == 16 {
            break;
        }
        let Ok(node) = bytes.take("node", at + 4, u64::from(length) - 4) else { break };
        parts.extend(device_path_node(kind, node));
        at += u64::from(length);
    }
    if parts.is_empty() { "from memory or a device without a file name".to_owned() } else { parts.join(" ") }
}

/// `kind` is type and, in the upper byte, subtype (UEFI 2.10, chapter 10).
fn device_path_node(kind: u16, node: &[u8]) -> Option<String> {
    match kind {
        0x0404 => Some(of_utf16(node)),
        0x0104 => Some(format!("partition {}", u32::from_le_bytes(node.get(..4)?.try_into().ok()?))),
        0x0704 => Some(format!("firmware volume {}", Guid::from_bytes(node.try_into().ok()?))),
        0x0604 => Some(format!("firmware file {}", Guid::from_bytes(node.try_into().ok()?))),
        0x0304 => Some(format!("vendor's medium {}", Guid::from_bytes(node.get(..16)?.try_into().ok()?))),
        _ => None,
    }
}

fn partition_table(data: &[u8]) -> Result<String, Truncated> {
    let bytes = Bytes::new(data);
    let disk = Guid::from_bytes(bytes.array("partition table", 56)?);
    Ok(format!("partition table of disk {disk}, {} partition(s)", bytes.u64("partition table", 92)?))
}

fn tagged(data: &[u8]) -> Result<String, Truncated> {
    let bytes = Bytes::new(data);
    let (tag, length) = (bytes.u32("tag", 0)?, bytes.u32("tag", 4)?);
    let note = bytes.take("tag", 8, length.into())?;
    Ok(match tag {
        LOAD_OPTIONS_TAG => "Linux' EFI stub: the kernel's command line".to_owned(),
        INITRD_TAG => "Linux' EFI stub: an initial RAM disk".to_owned(),
        _ => format!("tag {tag:#x}: {}", of_bytes(note)),
    })
}
