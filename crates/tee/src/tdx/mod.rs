//! Intel TDX: quotes through configfs, the guest's own TDREPORT through `/dev/tdx_guest`.

mod report;

pub use report::{OwnTdReport, TD_REPORT_BYTES};

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use sha2::{Digest as _, Sha384};

use crate::binding::judge;
use crate::tsm::{Entry, Reports};
use crate::{Binding, Evidence, Origin, Platform, ReportData, TdxEvidence, Tee, TeeError, ioctl, tsm};

/// Makes a TDREPORT; a function, so that a test stands in for the module.
type ReportSource = Box<dyn Fn(&[u8; 64]) -> io::Result<[u8; TD_REPORT_BYTES]> + Send + Sync>;

/// A guest under TDX.
pub struct Tdx<E> {
    quotes: Reports<E>,
    report_source: ReportSource,
    event_log: Option<Vec<u8>>,
    directory: Option<OwnedFd>,
}

impl<E: Entry> Tdx<E> {
    /// Brings quotes, device and the CCEL event log together. `directory` is the entry's, for the lockdown.
    #[must_use]
    pub fn new(quotes: Reports<E>, device: File, event_log: Option<Vec<u8>>, directory: Option<OwnedFd>) -> Self {
        let report_source = move |report_data: &[u8; 64]| ioctl::tdx_report(&device, report_data);
        Self { quotes, report_source: Box::new(report_source), event_log, directory }
    }

    fn own_report(&self) -> Result<OwnTdReport, TeeError> {
        let report_data = [0; 64];
        let failed = |source| TeeError::Device { path: "/dev/tdx_guest".to_owned(), source };
        let own = OwnTdReport::read(&(self.report_source)(&report_data).map_err(failed)?)?;
        own.require_private(&report_data)?;
        Ok(own)
    }
}

impl<E: Entry> Tee for Tdx<E> {
    fn platform(&self) -> Platform {
        Platform::Tdx
    }

    fn bind(&self, document: &[u8], origin: Origin) -> Result<Binding, TeeError> {
        let own = self.own_report()?;
        judge(&own.mr_config_id, &Sha384::digest(document), origin, Binding::MrConfigId)
            .ok_or(TeeError::Binding { register: "MRCONFIGID" })
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Evidence, TeeError> {
        let quote = self.quotes.ask(report_data)?.outblob;
        if quote.is_empty() {
            return Err(TeeError::Malformed { what: "it is empty" });
        }
        Ok(Evidence::Tdx(TdxEvidence { quote, event_log: self.event_log.clone() }))
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

    fn guest(change: fn(&mut [u8; 1024]), quote: fn(&[u8]) -> Vec<u8>) -> Tdx<FakeEntry> {
        let quotes = Reports::new(FakeEntry::new("tdx_guest", quote), Provider::TdxGuest).unwrap();
        let report_source: ReportSource = Box::new(move |report_data| {
            let mut bytes = report(report_data);
            bytes[576..624].copy_from_slice(&Sha384::digest(b"document"));
            change(&mut bytes);
            Ok(bytes)
        });
        Tdx { quotes, report_source, event_log: Some(vec![1]), directory: None }
    }

    #[test]
    fn the_document_of_mrconfigid_binds_and_another_does_not() {
        let guest = guest(|_| (), <[u8]>::to_vec);
        assert_eq!(guest.bind(b"document", Origin::Host).unwrap(), Binding::MrConfigId);
        assert!(matches!(guest.bind(b"another", Origin::Host), Err(TeeError::Binding { register: "MRCONFIGID" })));
    }

    #[test]
    fn a_zero_mrconfigid_is_a_mismatch_unless_the_image_has_the_document() {
        let zero = guest(|bytes| bytes[576..624].fill(0), <[u8]>::to_vec);
        assert!(zero.bind(b"document", Origin::Host).is_err());
        assert_eq!(zero.bind(b"document", Origin::Image).unwrap(), Binding::Image);
    }

    #[test]
    fn a_debuggable_or_migratable_guest_does_not_bind() {
        assert!(matches!(guest(|b| b[512] |= 1, <[u8]>::to_vec).bind(b"document", Origin::Host), Err(TeeError::Debug)));
        let migratable = guest(|b| b[515] |= 0x20, <[u8]>::to_vec);
        assert!(matches!(migratable.bind(b"document", Origin::Host), Err(TeeError::Migration)));
    }

    #[test]
    fn evidence_is_the_quote_and_the_event_log() {
        let evidence = guest(|_| (), |request| [b"quote".as_slice(), request].concat()).evidence(&[5; 64]).unwrap();
        let quote = [b"quote".as_slice(), &[5; 64]].concat();
        assert_eq!(evidence, Evidence::Tdx(TdxEvidence { quote, event_log: Some(vec![1]) }));
        assert!(guest(|_| (), |_| Vec::new()).evidence(&[5; 64]).is_err(), "a quoting service that gave nothing");
    }
}
