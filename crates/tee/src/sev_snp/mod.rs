//! AMD SEV-SNP: reports through configfs, a derived key through `/dev/sev-guest`.

mod report;

pub use report::{OwnReport, REPORT_BYTES};

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::binding::judge;
use crate::ioctl::{self, DerivedKeyRequest};
use crate::tsm::{Entry, Reports};
use crate::{Binding, Evidence, Origin, Platform, ReportData, Secret, SevSnpEvidence, Tee, TeeError, tsm};

/// Message version of `MSG_KEY_REQ`. With 2 firmware expects a longer request than the driver copies.
const KEY_REQUEST_VERSION: u8 = 1;
/// What the derived key depends on: policy, image id, family id, measurement, guest SVN, TCB version (bits 0 to 5).
const KEY_FIELDS: u64 = 0b11_1111;
/// Where `MSG_KEY_RSP` has the key, behind a status of four bytes.
const KEY_OFFSET: usize = 0x20;

/// Asks for a derived key; a function, so that a test stands in for the processor.
type KeySource = Box<dyn Fn(&DerivedKeyRequest) -> io::Result<Zeroizing<[u8; 64]>> + Send + Sync>;

/// A guest under SEV-SNP.
pub struct SevSnp<E> {
    reports: Reports<E>,
    key_source: KeySource,
    secret: OnceLock<Secret>,
    directory: Option<OwnedFd>,
}

impl<E: Entry> SevSnp<E> {
    /// Brings reports and device together. `directory` is the entry's, for the lockdown.
    #[must_use]
    pub fn new(reports: Reports<E>, device: File, directory: Option<OwnedFd>) -> Self {
        let ask = move |request: &DerivedKeyRequest| ioctl::snp_derived_key(&device, KEY_REQUEST_VERSION, request);
        Self { reports, key_source: Box::new(ask), secret: OnceLock::new(), directory }
    }

    /// The guest's own report, judged.
    fn own_report(&self) -> Result<OwnReport, TeeError> {
        let report_data = [0; 64];
        let own = OwnReport::read(&self.reports.ask(&report_data)?.outblob)?;
        own.require_private(&report_data)?;
        Ok(own)
    }

    fn derive(&self, own: &OwnReport) -> Result<Secret, TeeError> {
        let failed = |source| TeeError::Device { path: "/dev/sev-guest".to_owned(), source };
        let request = DerivedKeyRequest {
            root_key_select: 0,
            reserved: 0,
            guest_field_select: KEY_FIELDS,
            vmpl: 0,
            guest_svn: own.guest_svn,
            tcb_version: own.committed_tcb,
        };
        let response = (self.key_source)(&request).map_err(failed)?;
        read_key(&response).ok_or(TeeError::Malformed { what: "the derived key's status" })
    }
}

/// The key of a `MSG_KEY_RSP` that reports success and is not empty.
fn read_key(response: &[u8; 64]) -> Option<Secret> {
    let (status, rest) = response.split_first_chunk::<4>()?;
    let key: [u8; 32] = rest.get(KEY_OFFSET - 4..)?.first_chunk().copied()?;
    (u32::from_le_bytes(*status) == 0 && key != [0; 32]).then(|| Zeroizing::new(key))
}

impl<E: Entry> Tee for SevSnp<E> {
    fn platform(&self) -> Platform {
        Platform::SevSnp
    }

    fn bind(&self, document: &[u8], origin: Origin) -> Result<Binding, TeeError> {
        let own = self.own_report()?;
        let digest = Sha256::digest(document);
        let binding = judge(&own.host_data, &digest, origin, Binding::HostData)
            .ok_or(TeeError::Binding { register: "HOST_DATA" })?;
        let _ = self.secret.set(self.derive(&own)?);
        Ok(binding)
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Evidence, TeeError> {
        let answer = self.reports.ask(report_data)?;
        OwnReport::read(&answer.outblob)?.require_private(report_data)?;
        Ok(Evidence::SevSnp(SevSnpEvidence { report: answer.outblob, certificates: answer.auxblob }))
    }

    fn derived_secret(&self) -> Option<&Secret> {
        self.secret.get()
    }

    fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.directory.as_ref().map(|directory| directory.as_fd())
    }

    fn hand_over(&self, user: u32, group: u32) -> Result<(), TeeError> {
        match self.directory() {
            Some(directory) => Ok(tsm::hand_over(directory, user, group)?),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::report::tests::report;
    use super::*;
    use crate::tsm::Provider;
    use crate::tsm::fake::FakeEntry;

    fn guest(answer: fn(&[u8]) -> Vec<u8>) -> SevSnp<FakeEntry> {
        let key_source: KeySource = Box::new(|request| {
            assert_eq!((request.vmpl, request.root_key_select, request.guest_field_select), (0, 0, 0x3F));
            assert_eq!((request.guest_svn, request.tcb_version), (9, 0x1122_3344_5566_7788));
            let mut response = Zeroizing::new([0; 64]);
            response[0x20..].copy_from_slice(&[0xAB; 32]);
            Ok(response)
        });
        let reports = Reports::new(FakeEntry::new("sev_guest", answer), Provider::SevGuest).unwrap();
        SevSnp { reports, key_source, secret: OnceLock::new(), directory: None }
    }

    fn bound(request: &[u8]) -> Vec<u8> {
        let mut bytes = report(request);
        bytes[0xC0..0xE0].copy_from_slice(&Sha256::digest(b"document"));
        bytes
    }

    #[test]
    fn the_document_of_host_data_binds_and_brings_the_firmwares_secret() {
        let guest = guest(bound);
        assert!(guest.derived_secret().is_none());
        assert_eq!(guest.bind(b"document", Origin::Host).unwrap(), Binding::HostData);
        assert_eq!(**guest.derived_secret().unwrap(), [0xAB; 32]);
    }

    #[test]
    fn another_document_is_refused() {
        let refused = guest(bound).bind(b"another", Origin::Host);
        assert!(matches!(refused, Err(TeeError::Binding { register: "HOST_DATA" })));
    }

    #[test]
    fn zero_host_data_is_a_mismatch_unless_the_image_has_the_document() {
        let zero = |request: &[u8]| {
            let mut bytes = report(request);
            bytes[0xC0..0xE0].fill(0);
            bytes
        };
        assert!(guest(zero).bind(b"document", Origin::Host).is_err());
        assert_eq!(guest(zero).bind(b"document", Origin::Image).unwrap(), Binding::Image);
    }

    #[test]
    fn a_debuggable_guest_neither_binds_nor_gives_evidence() {
        let debug = |request: &[u8]| {
            let mut bytes = bound(request);
            bytes[0x0A] |= 0x08;
            bytes
        };
        assert!(matches!(guest(debug).bind(b"document", Origin::Host), Err(TeeError::Debug)));
        assert!(matches!(guest(debug).evidence(&[1; 64]), Err(TeeError::Debug)));
    }

    #[test]
    fn evidence_is_the_report_over_the_bytes_that_were_asked_for() {
        let Evidence::SevSnp(evidence) = guest(bound).evidence(&[5; 64]).unwrap() else { panic!("another platform") };
        assert_eq!(evidence.report, bound(&[5; 64]));
        assert!(guest(|_| bound(&[6; 64])).evidence(&[5; 64]).is_err(), "a report over other bytes");
    }

    #[test]
    fn a_key_with_a_failed_status_or_without_content_is_none() {
        let mut response = [0; 64];
        assert!(read_key(&response).is_none());
        response[0x3F] = 1;
        assert!(read_key(&response).is_some());
        response[0] = 0x16;
        assert!(read_key(&response).is_none());
    }
}
