//! Kinds of events by their TCG numbers.

/// A kind of event (PC Client Platform Firmware Profile, table "Events").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(pub u32);

macro_rules! event_types {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        impl EventType {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// The name of the standard; none for a number it does not have.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

event_types! {
    /// Recovery code in PCR 0 to 3; unused today.
    PREBOOT_CERT = 0x0, "EV_PREBOOT_CERT";
    /// Code of the platform.
    POST_CODE = 0x1, "EV_POST_CODE";
    /// Information for readers; not extended into any register.
    NO_ACTION = 0x3, "EV_NO_ACTION";
    /// End of a phase: firmware hands over to what it boots.
    SEPARATOR = 0x4, "EV_SEPARATOR";
    /// A string that says what is done.
    ACTION = 0x5, "EV_ACTION";
    /// Something with a number of its own; Linux' EFI stub logs load options and initrd so.
    EVENT_TAG = 0x6, "EV_EVENT_TAG";
    /// The first code that runs.
    S_CRTM_CONTENTS = 0x7, "EV_S_CRTM_CONTENTS";
    /// Version of the first code that runs.
    S_CRTM_VERSION = 0x8, "EV_S_CRTM_VERSION";
    /// Microcode.
    CPU_MICROCODE = 0x9, "EV_CPU_MICROCODE";
    /// Settings of the platform; OVMF logs ACPI tables so.
    PLATFORM_CONFIG_FLAGS = 0xa, "EV_PLATFORM_CONFIG_FLAGS";
    /// A table of devices.
    TABLE_OF_DEVICES = 0xb, "EV_TABLE_OF_DEVICES";
    /// A digest with a short note.
    COMPACT_HASH = 0xc, "EV_COMPACT_HASH";
    /// Something a boot loader measured.
    IPL = 0xd, "EV_IPL";
    /// Code on a device outside of the host's control.
    NONHOST_CODE = 0xf, "EV_NONHOST_CODE";
    /// Settings of such a device.
    NONHOST_CONFIG = 0x10, "EV_NONHOST_CONFIG";
    /// Information about such a device.
    NONHOST_INFO = 0x11, "EV_NONHOST_INFO";
    /// Boot devices are left out.
    OMIT_BOOT_DEVICE_EVENTS = 0x12, "EV_OMIT_BOOT_DEVICE_EVENTS";
    /// Code of the platform, with a description.
    POST_CODE2 = 0x13, "EV_POST_CODE2";
    /// A variable that configures firmware: Secure Boot's among them.
    EFI_VARIABLE_DRIVER_CONFIG = 0x8000_0001, "EV_EFI_VARIABLE_DRIVER_CONFIG";
    /// A variable that says what is booted.
    EFI_VARIABLE_BOOT = 0x8000_0002, "EV_EFI_VARIABLE_BOOT";
    /// An application started by the boot manager.
    EFI_BOOT_SERVICES_APPLICATION = 0x8000_0003, "EV_EFI_BOOT_SERVICES_APPLICATION";
    /// A driver, an option ROM among them.
    EFI_BOOT_SERVICES_DRIVER = 0x8000_0004, "EV_EFI_BOOT_SERVICES_DRIVER";
    /// A driver that stays.
    EFI_RUNTIME_SERVICES_DRIVER = 0x8000_0005, "EV_EFI_RUNTIME_SERVICES_DRIVER";
    /// The partition table of the disk that is booted from.
    EFI_GPT_EVENT = 0x8000_0006, "EV_EFI_GPT_EVENT";
    /// A string that says what firmware does.
    EFI_ACTION = 0x8000_0007, "EV_EFI_ACTION";
    /// Code of the platform, by its place.
    EFI_PLATFORM_FIRMWARE_BLOB = 0x8000_0008, "EV_EFI_PLATFORM_FIRMWARE_BLOB";
    /// Tables handed to the system.
    EFI_HANDOFF_TABLES = 0x8000_0009, "EV_EFI_HANDOFF_TABLES";
    /// Code of the platform, by its place, with a description.
    EFI_PLATFORM_FIRMWARE_BLOB2 = 0x8000_000a, "EV_EFI_PLATFORM_FIRMWARE_BLOB2";
    /// Tables handed to the system, with a description.
    EFI_HANDOFF_TABLES2 = 0x8000_000b, "EV_EFI_HANDOFF_TABLES2";
    /// A boot variable, digest over the whole of it.
    EFI_VARIABLE_BOOT2 = 0x8000_000c, "EV_EFI_VARIABLE_BOOT2";
    /// Measured before the firmware proper.
    EFI_HCRTM_EVENT = 0x8000_0010, "EV_EFI_HCRTM_EVENT";
    /// The certificate or hash that allowed an image to start.
    EFI_VARIABLE_AUTHORITY = 0x8000_00e0, "EV_EFI_VARIABLE_AUTHORITY";
    /// Firmware of a device.
    EFI_SPDM_FIRMWARE_BLOB = 0x8000_00e1, "EV_EFI_SPDM_FIRMWARE_BLOB";
    /// Settings of a device.
    EFI_SPDM_FIRMWARE_CONFIG = 0x8000_00e2, "EV_EFI_SPDM_FIRMWARE_CONFIG";
}

impl std::fmt::Display for EventType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "event type {:#x}", self.0),
        }
    }
}
