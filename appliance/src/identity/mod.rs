//! The keys of this boot, and what is said about them: the keyset and the attestation report.
//!
//! One key a role: a TLS key (P-256) and a receipt key (Ed25519). Both are made at random when the identity is
//! established, have no serialised form that leaves the process, and die with it.

mod evidence;
mod receipt;
mod tls;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use deployment::Document;
use protocol::{
    ED25519, JcsError, Keyset, Nonce, PublicKey, Report, Sha256Digest, SourceProvenance, TeeType, TlsKey,
    report_data_slot,
};
use tee::{Binding, NoTee, Platform, Tee, TeeError};

pub use receipt::ReceiptKey;
pub use tls::TlsIdentity;

/// `not_after` of the keyset: 2100-01-01T00:00:00Z, in seconds since 1970.
///
/// The protocol demands an expiry, and an expiry needs a clock. The machine's clock is the host's, so a time computed
/// from it would look like a promise and be none. The keys end with the boot whatever this says; freshness is what the
/// nonce is for.
pub const KEYSET_NOT_AFTER: u64 = 4_102_444_800;

/// What a boot knows about itself beside its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// True for an ordinary program on somebody's machine, false for PID 1 of its own.
    pub host_mode: bool,
    /// True where memory could not be locked and the operator said to go on.
    pub insecure_host: bool,
    /// SHA-256 over the bytes of the deployment document.
    pub document_sha256: [u8; 32],
}

/// The keys of this boot.
pub struct Identity {
    tls: TlsIdentity,
    receipt: ReceiptKey,
    origin: Origin,
    model_sha256: [u8; 32],
    keyset: Keyset,
    keyset_digest: Sha256Digest,
    machine: Arc<dyn Tee>,
    binding: Binding,
    document: Vec<u8>,
    without_nonce: OnceLock<Report>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The keyset has no canonical form.
    #[error("the keyset has no canonical form")]
    Keyset(#[source] JcsError),
    /// The machine gives no evidence.
    #[error("the machine gives no evidence")]
    Machine(#[from] TeeError),
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The kernel gave no random bytes.
    #[error("cannot draw random bytes")]
    Random(#[source] getrandom::Error),
    /// A name of the document cannot stand in a certificate.
    #[error("a certificate cannot carry entry {index} of listen.names")]
    Name {
        /// Position in the document's list; the two names that are always there come after the document's.
        index: usize,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The certificate could not be made.
    #[error("cannot make the TLS certificate")]
    Certificate(#[source] rcgen::Error),
    /// The TLS library refuses certificate or key.
    #[error("cannot use the TLS certificate and key")]
    Tls(#[source] rustls::Error),
    /// The user's file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The user's file has no certificate or no private key in PEM form.
    #[error("{path} has no PEM section of the kind that is needed")]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The public key of the certificate is of a kind that cannot be hashed here.
    #[error("the TLS key does not show its public half")]
    NoPublicKey,
    /// The keyset has no canonical form.
    #[error("the keyset has no canonical form")]
    Keyset(#[source] JcsError),
}

impl Identity {
    /// Makes the keys of this boot: a self-signed TLS certificate for the document's names, and a receipt key.
    ///
    /// # Errors
    /// [`IdentityError`] where random bytes are missing or a name cannot stand in a certificate.
    pub fn establish(document: &Document, origin: Origin) -> Result<Self, IdentityError> {
        Self::with_tls(document, origin, TlsIdentity::generate(&document.listen.names)?)
    }

    /// Makes the keys of this boot around a certificate and key that the user brought.
    ///
    /// # Errors
    /// As [`Identity::establish`].
    pub fn with_tls(document: &Document, origin: Origin, tls: TlsIdentity) -> Result<Self, IdentityError> {
        let receipt = ReceiptKey::generate()?;
        let keyset = Keyset {
            subject: None,
            not_after: KEYSET_NOT_AFTER,
            receipt_signing_keys: vec![PublicKey {
                key_id: receipt.id(),
                algo: ED25519.to_owned(),
                public_key: hex::encode(receipt.public()),
            }],
            e2ee_public_keys: Vec::new(),
            tls_public_keys: vec![TlsKey { spki_sha256: *tls.spki_sha256(), domain: None }],
        };
        let keyset_digest = keyset.digest().map_err(IdentityError::Keyset)?;
        Ok(Self {
            tls,
            receipt,
            origin,
            model_sha256: document.model.sha256,
            keyset,
            keyset_digest,
            machine: Arc::new(NoTee),
            binding: Binding::None,
            document: Vec::new(),
            without_nonce: OnceLock::new(),
        })
    }

    /// The same keys on a machine that vouches, or says that it does not; `document` is the deployment document's bytes.
    #[must_use]
    pub fn on(self, machine: Arc<dyn Tee>, binding: Binding, document: Vec<u8>) -> Self {
        Self { machine, binding, document, without_nonce: OnceLock::new(), ..self }
    }

    /// The kind of the machine.
    #[must_use]
    pub fn platform(&self) -> Platform {
        self.machine.platform()
    }

    /// The kind of the machine as reports name it.
    #[must_use]
    pub fn tee_type(&self) -> TeeType {
        match self.platform() {
            Platform::SevSnp => TeeType::SevSnp,
            Platform::Tdx => TeeType::Tdx,
            Platform::Tpm2 => TeeType::Tpm2,
            Platform::None => TeeType::None,
        }
    }

    /// Certificate and key of the TLS port.
    #[must_use]
    pub const fn tls(&self) -> &TlsIdentity {
        &self.tls
    }

    /// The key that signs receipts.
    #[must_use]
    pub const fn receipt(&self) -> &ReceiptKey {
        &self.receipt
    }

    /// What the boot knows about itself.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The public keys.
    #[must_use]
    pub const fn keyset(&self) -> &Keyset {
        &self.keyset
    }

    /// The digest that evidence binds.
    #[must_use]
    pub const fn keyset_digest(&self) -> Sha256Digest {
        self.keyset_digest
    }

    /// The attestation report for a client's nonce. Without a nonce it is made once and kept.
    ///
    /// Asking a machine takes from milliseconds to seconds, and requests queue: not for a thread that serves others.
    ///
    /// # Errors
    /// [`ReportError::Machine`] where the machine gives no evidence.
    pub fn report(&self, nonce: Option<&Nonce>) -> Result<Report, ReportError> {
        if let (None, Some(report)) = (nonce, self.without_nonce.get()) {
            return Ok(report.clone());
        }
        let evidence = self.machine.evidence(&report_data_slot(self.keyset_digest, nonce))?;
        let evidence = evidence::json(self, &evidence);
        let report = Report::new(self.tee_type(), &self.keyset, nonce, SourceProvenance::default(), evidence)
            .map_err(ReportError::Keyset)?;
        Ok(if nonce.is_none() { self.without_nonce.get_or_init(|| report).clone() } else { report })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        let text = format!(
            "version = 1\n[model]\nname = \"m\"\nsha256 = \"{}\"\nsize_bytes = 1\n[clients]\naccess = \"anyone\"\n",
            "ab".repeat(32)
        );
        deployment::parse(text.as_bytes()).expect("document")
    }

    const ORIGIN: Origin = Origin { host_mode: true, insecure_host: false, document_sha256: [9; 32] };

    #[test]
    fn every_boot_has_other_keys() {
        let (one, two) = (
            Identity::establish(&document(), ORIGIN).expect("one"),
            Identity::establish(&document(), ORIGIN).expect("two"),
        );
        assert_ne!(one.tls().spki_sha256(), two.tls().spki_sha256());
        assert_ne!(one.receipt().public(), two.receipt().public());
        assert_ne!(one.keyset_digest(), two.keyset_digest());
    }

    #[test]
    fn the_report_binds_the_nonce_and_lists_the_keys() {
        let identity = Identity::establish(&document(), ORIGIN).expect("identity");
        let nonce = Nonce::from_bytes([3; 32]);
        let report = identity.report(Some(&nonce)).expect("report");
        assert_eq!(report.check(Some(&nonce)), Ok(()));
        assert!(report.check(None).is_err());
        assert_eq!(report.workload_keyset_digest, identity.keyset_digest());
        assert_eq!(report.attestation.workload_keyset.tls_public_keys[0].spki_sha256, *identity.tls().spki_sha256());
        assert_eq!(report.attestation.evidence["document_sha256"], "09".repeat(32));
        assert_eq!(report.attestation.evidence["host_mode"], true);
    }

    #[test]
    fn a_name_that_no_certificate_can_carry_is_refused() {
        let mut document = document();
        document.listen.names = vec!["ok.example".to_owned(), "n\u{e4}me".to_owned()];
        assert!(matches!(Identity::establish(&document, ORIGIN), Err(IdentityError::Name { index: 1, .. })));
    }
}
