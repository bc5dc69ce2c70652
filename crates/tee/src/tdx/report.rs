//! The fields of a TDREPORT that a guest judges about itself.
//!
//! Source: Intel, "TDX Module ABI Specification", `TDREPORT_STRUCT`, `REPORTMACSTRUCT`, `TDINFO_STRUCT`.

use crate::TeeError;

/// Length of a TDREPORT in bytes.
pub const TD_REPORT_BYTES: usize = 1024;
/// Where `TDINFO_STRUCT` begins.
const TD_INFO: usize = 512;
/// Attribute bits that take the TD out of production mode (group TUD; bit 0 is DEBUG).
const UNTRUSTED: u64 = 0xFF;
/// The TD can be migrated.
const MIGRATABLE: u64 = 1 << 29;
/// `REPORTTYPE.TYPE` of a TD.
const TYPE_TDX: u8 = 0x81;

/// A TDREPORT of this guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnTdReport {
    report_data: [u8; 64],
    attributes: u64,
    /// What the launcher bound: SHA-384 of the document.
    pub mr_config_id: [u8; 48],
    service_td_hash: [u8; 48],
}

impl OwnTdReport {
    /// Reads a report.
    ///
    /// # Errors
    /// [`TeeError::Malformed`] for another kind.
    pub fn read(bytes: &[u8; TD_REPORT_BYTES]) -> Result<Self, TeeError> {
        let short = || TeeError::Malformed { what: "its length" };
        if bytes.first() != Some(&TYPE_TDX) {
            return Err(TeeError::Malformed { what: "its type" });
        }
        Ok(Self {
            report_data: field(bytes, 128).ok_or_else(short)?,
            attributes: u64::from_le_bytes(field(bytes, TD_INFO).ok_or_else(short)?),
            mr_config_id: field(bytes, TD_INFO + 64).ok_or_else(short)?,
            service_td_hash: field(bytes, TD_INFO + 400).ok_or_else(short)?,
        })
    }

    /// Refuses a guest whose memory is not its own.
    ///
    /// # Errors
    /// [`TeeError::Debug`], [`TeeError::Migration`], or [`TeeError::OtherRequest`].
    pub fn require_private(&self, report_data: &[u8; 64]) -> Result<(), TeeError> {
        if self.report_data != *report_data {
            return Err(TeeError::OtherRequest);
        }
        if self.attributes & UNTRUSTED != 0 {
            return Err(TeeError::Debug);
        }
        if self.attributes & MIGRATABLE != 0 || self.service_td_hash != [0; 48] {
            return Err(TeeError::Migration);
        }
        Ok(())
    }
}

fn field<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A report as the module would lay it out for a private guest.
    pub(crate) fn report(report_data: &[u8; 64]) -> [u8; TD_REPORT_BYTES] {
        let mut bytes = [0; TD_REPORT_BYTES];
        bytes[0] = TYPE_TDX;
        bytes[128..192].copy_from_slice(report_data);
        // SEPT_VE_DISABLE and PKS.
        bytes[TD_INFO..TD_INFO + 8].copy_from_slice(&0x5000_0000_u64.to_le_bytes());
        bytes[TD_INFO + 64..TD_INFO + 112].copy_from_slice(&[0xC1; 48]);
        bytes
    }

    fn judged(change: impl FnOnce(&mut [u8])) -> Result<(), TeeError> {
        let mut bytes = report(&[7; 64]);
        change(&mut bytes);
        OwnTdReport::read(&bytes)?.require_private(&[7; 64])
    }

    #[test]
    fn fields_are_where_the_specification_has_them() {
        assert!(judged(|_| ()).is_ok());
        assert_eq!(OwnTdReport::read(&report(&[7; 64])).unwrap().mr_config_id, [0xC1; 48]);
    }

    #[test]
    fn debug_and_migration_are_refused() {
        for bit in 0..8 {
            assert!(matches!(judged(|bytes| bytes[512] |= 1 << bit), Err(TeeError::Debug)));
        }
        assert!(matches!(judged(|bytes| bytes[515] |= 0x20), Err(TeeError::Migration)));
        for offset in [912, 959] {
            assert!(matches!(judged(|bytes| bytes[offset] = 1), Err(TeeError::Migration)));
        }
        assert!(judged(|bytes| bytes[911] = 1).is_ok(), "the last byte of RTMR3");
    }

    #[test]
    fn another_kind_and_another_request_are_refused() {
        assert!(matches!(judged(|bytes| bytes[0] = 0), Err(TeeError::Malformed { what: "its type" })));
        assert!(matches!(judged(|bytes| bytes[191] ^= 1), Err(TeeError::OtherRequest)));
    }
}
