//! The fields of an attestation report that a guest judges about itself.
//!
//! Source: AMD, "SEV Secure Nested Paging Firmware ABI Specification" (56860), table `ATTESTATION_REPORT`.

use crate::TeeError;

/// Length of a report in bytes.
pub const REPORT_BYTES: usize = 1184;

/// Policy bit 18: a migration agent may be associated with the guest.
const POLICY_MIGRATE_MA: u64 = 1 << 18;
/// Policy bit 19: the host may read the guest's memory.
const POLICY_DEBUG: u64 = 1 << 19;

/// A report of this guest. Its signature is for others to verify: it came over the guest's own channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnReport {
    /// Security version of the image, from the ID block.
    pub guest_svn: u32,
    policy: u64,
    vmpl: u32,
    report_data: [u8; 64],
    /// What the launcher bound: SHA-256 of the document.
    pub host_data: [u8; 32],
    report_id_ma: [u8; 32],
    /// The oldest firmware the machine can go back to.
    pub committed_tcb: u64,
}

impl OwnReport {
    /// Reads a report.
    ///
    /// # Errors
    /// [`TeeError::Malformed`] for another length or version.
    pub fn read(bytes: &[u8]) -> Result<Self, TeeError> {
        if bytes.len() != REPORT_BYTES {
            return Err(TeeError::Malformed { what: "its length" });
        }
        let short = || TeeError::Malformed { what: "its length" };
        let version = u32::from_le_bytes(field(bytes, 0).ok_or_else(short)?);
        if !(2..=5).contains(&version) {
            return Err(TeeError::Malformed { what: "its version" });
        }
        Ok(Self {
            guest_svn: u32::from_le_bytes(field(bytes, 0x04).ok_or_else(short)?),
            policy: u64::from_le_bytes(field(bytes, 0x08).ok_or_else(short)?),
            vmpl: u32::from_le_bytes(field(bytes, 0x30).ok_or_else(short)?),
            report_data: field(bytes, 0x50).ok_or_else(short)?,
            host_data: field(bytes, 0xC0).ok_or_else(short)?,
            report_id_ma: field(bytes, 0x160).ok_or_else(short)?,
            committed_tcb: u64::from_le_bytes(field(bytes, 0x1E0).ok_or_else(short)?),
        })
    }

    /// Refuses a guest whose memory is not its own.
    ///
    /// # Errors
    /// [`TeeError::Debug`], [`TeeError::Migration`], [`TeeError::Vmpl`], or [`TeeError::OtherRequest`] where the report is
    /// over other bytes than `report_data`.
    pub fn require_private(&self, report_data: &[u8; 64]) -> Result<(), TeeError> {
        if self.report_data != *report_data {
            return Err(TeeError::OtherRequest);
        }
        if self.policy & POLICY_DEBUG != 0 {
            return Err(TeeError::Debug);
        }
        // No agent is associated: its report id is all ones.
        if self.policy & POLICY_MIGRATE_MA != 0 || self.report_id_ma != [0xFF; 32] {
            return Err(TeeError::Migration);
        }
        if self.vmpl != 0 {
            return Err(TeeError::Vmpl { level: self.vmpl });
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

    /// A report as firmware would lay it out for a private guest.
    pub(crate) fn report(report_data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; REPORT_BYTES];
        bytes[0] = 3;
        bytes[0x04] = 9;
        bytes[0x08..0x10].copy_from_slice(&0x3_0000_u64.to_le_bytes());
        bytes[0x50..0x90].copy_from_slice(report_data);
        bytes[0xC0..0xE0].copy_from_slice(&[0xD0; 32]);
        bytes[0x160..0x180].copy_from_slice(&[0xFF; 32]);
        bytes[0x1E0..0x1E8].copy_from_slice(&0x1122_3344_5566_7788_u64.to_le_bytes());
        bytes
    }

    fn judged(change: impl FnOnce(&mut [u8])) -> Result<(), TeeError> {
        let mut bytes = report(&[7; 64]);
        change(&mut bytes);
        OwnReport::read(&bytes)?.require_private(&[7; 64])
    }

    #[test]
    fn fields_are_where_the_specification_has_them() {
        let read = OwnReport::read(&report(&[7; 64])).unwrap();
        assert_eq!((read.guest_svn, read.host_data), (9, [0xD0; 32]));
        assert_eq!(read.committed_tcb, 0x1122_3344_5566_7788);
        assert!(judged(|_| ()).is_ok());
    }

    #[test]
    fn debug_migration_and_other_levels_are_refused() {
        assert!(matches!(judged(|bytes| bytes[0x0A] |= 0x08), Err(TeeError::Debug)));
        assert!(matches!(judged(|bytes| bytes[0x0A] |= 0x04), Err(TeeError::Migration)));
        assert!(matches!(judged(|bytes| bytes[0x160] = 0), Err(TeeError::Migration)));
        assert!(matches!(judged(|bytes| bytes[0x30] = 2), Err(TeeError::Vmpl { level: 2 })));
    }

    #[test]
    fn a_report_over_other_bytes_is_refused() {
        assert!(matches!(judged(|bytes| bytes[0x8F] ^= 1), Err(TeeError::OtherRequest)));
    }

    #[test]
    fn other_lengths_and_versions_are_refused() {
        for length in [0, 1183, 1185, 4000] {
            assert!(matches!(OwnReport::read(&vec![3; length]), Err(TeeError::Malformed { what: "its length" })));
        }
        for version in [0, 1, 6] {
            let refused = judged(|bytes| bytes[0] = version);
            assert!(matches!(refused, Err(TeeError::Malformed { what: "its version" })));
        }
    }

    #[test]
    fn real_reports_are_read() {
        let Some(corpus) = std::env::var_os("LETHE_CORPUS") else {
            eprintln!("SKIPPED: LETHE_CORPUS names no captured reports");
            return;
        };
        let mut read = 0;
        for file in walk(&std::path::PathBuf::from(corpus).join("evidence")) {
            let Ok(bytes) = std::fs::read(&file) else { continue };
            if bytes.len() == REPORT_BYTES {
                let report = OwnReport::read(&bytes).unwrap();
                assert!(report.vmpl < 4, "{}", file.display());
                read += 1;
            }
        }
        assert!(read > 0, "the corpus has reports");
    }

    fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
        }
        files
    }
}
