//! The variables a firmware image, or a separate store beside it, carries when the machine starts.
//!
//! Source: EDK II `MdeModulePkg/Include/Guid/VariableFormat.h` and `MdePkg/Include/Pi/PiFirmwareVolume.h`.

use super::FirmwareError;
use crate::bytes::Bytes;
use crate::guid::Guid;

/// A firmware volume that holds variables.
const VOLUME: Guid = Guid::from_u128(0xfff12b8d_7696_4c8b_a985_2747075b4f50);
/// A store of variables with time stamps.
const STORE: Guid = Guid::from_u128(0xaaf32c78_947b_439a_a180_2e144ec37792);
const STORE_HEADER: u64 = 28;
const VARIABLE_HEADER: u64 = 60;
/// Start of every variable.
const START: u16 = 0x55aa;
/// The variable is valid.
const ADDED: u8 = 0x3f;
/// The variable is valid, and about to be replaced.
const REPLACED_NEXT: u8 = 0x3e;
/// The names that decide Secure Boot.
const SECURE_BOOT: [&str; 4] = ["PK", "KEK", "db", "dbx"];

/// What a store says about Secure Boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecureBootKeys {
    /// None of `PK`, `KEK`, `db` and `dbx` is there.
    None,
    /// At least one is.
    Enrolled,
}

/// Looks through the variables at the start of a firmware image or of a file such as `OVMF_VARS.fd`.
///
/// # Errors
/// [`FirmwareError`] for bytes that do not start with a volume of variables, or whose lengths contradict each other.
pub fn secure_boot_keys(image: &[u8]) -> Result<SecureBootKeys, FirmwareError> {
    let bytes = Bytes::new(image);
    let what = "store of variables";
    if bytes.array(what, 16)? != VOLUME.to_bytes() || bytes.take(what, 40, 4)? != b"_FVH" {
        return Err(FirmwareError::Magic { what: "volume of variables", offset: 0 });
    }
    let start = u64::from(bytes.u16(what, 48)?);
    if bytes.array(what, start)? != STORE.to_bytes() {
        return Err(FirmwareError::Magic { what: "store of variables with time stamps", offset: start });
    }
    let length = u64::from(bytes.u32(what, start + 16)?);
    let store = bytes.part(what, start, length)?;
    let mut at = STORE_HEADER;
    // Erased flash reads as ones: what follows the last variable does not start like one.
    while store.u16("variable", at).is_ok_and(|mark| mark == START) {
        let state = store.u8("variable", at + 2)?;
        let (name_length, value_length) = (store.u32("variable", at + 36)?, store.u32("variable", at + 40)?);
        let name = store.take("name of a variable", at + VARIABLE_HEADER, name_length.into())?;
        let end = at + VARIABLE_HEADER + u64::from(name_length) + u64::from(value_length);
        store.take("value of a variable", end - u64::from(value_length), value_length.into())?;
        if matches!(state, ADDED | REPLACED_NEXT) && SECURE_BOOT.iter().any(|key| is_named(name, key)) {
            return Ok(SecureBootKeys::Enrolled);
        }
        at = end.next_multiple_of(4);
    }
    Ok(SecureBootKeys::None)
}

/// Whether the UTF-16 name is this one.
fn is_named(name: &[u8], text: &str) -> bool {
    name.iter().copied().eq(text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes))
}
