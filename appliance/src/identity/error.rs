//! Why there is no identity.

use std::path::PathBuf;

use protocol::JcsError;
use protocol::ratchet::Underivable;

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
    /// A key cannot be derived.
    #[error("cannot derive the keys of an epoch")]
    Derive(#[from] Underivable),
}
