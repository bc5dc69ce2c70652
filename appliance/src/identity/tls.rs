//! Certificate and key of the TLS port: made at boot, or brought by the user in host mode.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType,
    SerialNumber,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::IdentityError;

/// A certificate chain, its private key, and the digest clients pin. Clones are one identity.
#[derive(Clone)]
pub struct TlsIdentity {
    /// With the certificate of the start.
    certified: Arc<CertifiedKey>,
    shown: Arc<Shown>,
    /// The key as one that signs requests for certificates; a key that the user brought is the user's to do that with.
    signer: Option<Arc<KeyPair>>,
    spki_sha256: [u8; 32],
}

/// The certificate that new connections are shown; always one for the same key.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Why a certificate is not installed, or not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Not one to eight certificates in PEM form.
    #[error("not a chain of 1 to {MAX_CHAIN} certificates in PEM form")]
    Malformed,
    /// The first certificate is for another key.
    #[error("the first certificate is not for the attested TLS key")]
    OtherKey,
    /// A name that no certificate can carry, or none, or too many.
    #[error("a certificate needs 1 to {MAX_NAMES} names, each a DNS name or an address")]
    Names,
    /// The key was brought by the user.
    #[error("the TLS key was brought by the machine's owner, who can ask for certificates without this server")]
    BroughtKey,
}

/// Most certificates of a chain.
pub const MAX_CHAIN: usize = 8;
/// Most names in a request for a certificate.
pub const MAX_NAMES: usize = 32;

impl fmt::Debug for TlsIdentity {
    /// Shows the public digest only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity").field("spki_sha256", &hex::encode(self.spki_sha256)).finish()
    }
}

/// A chain that [`TlsIdentity::judge`] accepted.
pub struct Chain(Arc<CertifiedKey>);

/// Most bytes of a certificate chain or a key.
const MAX_PEM_BYTES: u64 = 1 << 20;

fn read_pem(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // a buffer that grew would leave copies of the key behind
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PEM_BYTES as usize + 1));
    File::open(path)?.take(MAX_PEM_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_PEM_BYTES { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

impl TlsIdentity {
    /// Makes a P-256 key and a self-signed certificate for `names`, `localhost` and `127.0.0.1`.
    ///
    /// It is valid from 1970 to 9999: the machine's clock is the host's, and clients pin the key, not a date.
    ///
    /// # Errors
    /// [`IdentityError`] where random bytes are missing or a name cannot stand in a certificate.
    pub fn generate(names: &[String]) -> Result<Self, IdentityError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(IdentityError::Certificate)?;
        let certificate = parameters(names)?.self_signed(&key).map_err(IdentityError::Certificate)?;
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let made = Self::from_der(vec![certificate.der().clone()], private)?;
        Ok(Self { signer: Some(Arc::new(key)), ..made })
    }

    /// Reads the user's certificate chain and private key, both PEM.
    ///
    /// # Errors
    /// [`IdentityError`] where a file cannot be read, has no such section, or the two do not belong together.
    pub fn from_pem_files(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let read = |path: &Path| read_pem(path).map_err(|source| IdentityError::Read { path: path.to_owned(), source });
        let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
            .collect::<Result<Vec<_>, _>>()
            .and_then(
                |chain| if chain.is_empty() { Err(rustls::pki_types::pem::Error::NoItemsFound) } else { Ok(chain) },
            )
            .map_err(|source| IdentityError::Pem { path: certificate.to_owned(), source })?;
        let private = PrivateKeyDer::from_pem_slice(&read(key)?)
            .map_err(|source| IdentityError::Pem { path: key.to_owned(), source })?;
        Self::from_der(chain, private)
    }

    fn from_der(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, IdentityError> {
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(IdentityError::Tls)?;
        let spki = certified.key.public_key().ok_or(IdentityError::NoPublicKey)?;
        let spki_sha256 = Sha256::digest(spki.as_ref()).into();
        let certified = Arc::new(certified);
        let shown = Arc::new(Shown(RwLock::new(Arc::clone(&certified))));
        Ok(Self { certified, shown, signer: None, spki_sha256 })
    }

    /// A request for a certificate (PKCS #10, PEM) with these names and no others; the key signs it and stays where it is.
    ///
    /// # Errors
    /// [`ChainError::Names`], [`ChainError::BroughtKey`].
    pub fn request(&self, names: &[String]) -> Result<String, ChainError> {
        let signer = self.signer.as_ref().ok_or(ChainError::BroughtKey)?;
        if names.is_empty()
            || names.len() > MAX_NAMES
            || !names.iter().all(|name| deployment::Rule::HostName.accepts(name))
        {
            return Err(ChainError::Names);
        }
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.subject_alt_names = alternatives(names).map_err(|_| ChainError::Names)?;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.serialize_request(&**signer).and_then(|request| request.pem()).map_err(|_| ChainError::Names)
    }

    /// A chain in PEM form, the server's certificate first, that new connections may be shown.
    ///
    /// Nothing is asked of names, dates and issuers, which are clients' business; the key is the attested one.
    ///
    /// # Errors
    /// [`ChainError::Malformed`], [`ChainError::OtherKey`].
    pub fn judge(&self, pem: &str) -> Result<Chain, ChainError> {
        let sections = CertificateDer::pem_slice_iter(pem.as_bytes()).take(MAX_CHAIN + 1);
        let chain = sections.collect::<Result<Vec<_>, _>>().map_err(|_| ChainError::Malformed)?;
        if chain.is_empty() || chain.len() > MAX_CHAIN {
            return Err(ChainError::Malformed);
        }
        if !chain.iter().all(|certificate| ParsedCertificate::try_from(certificate).is_ok()) {
            return Err(ChainError::Malformed);
        }
        let certified = CertifiedKey::new(chain, Arc::clone(&self.certified.key));
        certified.keys_match().map_err(|_| ChainError::OtherKey)?;
        Ok(Chain(Arc::new(certified)))
    }

    /// Shows new connections a chain, or the certificate of the start again. Open ones go on.
    pub fn show(&self, chain: Option<Chain>) {
        let certified = chain.map_or_else(|| Arc::clone(&self.certified), |Chain(certified)| certified);
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = certified;
    }

    /// SHA-256 of the certificate's `SubjectPublicKeyInfo`: what clients pin.
    #[must_use]
    pub const fn spki_sha256(&self) -> &[u8; 32] {
        &self.spki_sha256
    }

    /// The certificate in DER form.
    #[must_use]
    pub fn certificate_der(&self) -> &[u8] {
        self.certified.cert.first().map_or(&[], AsRef::as_ref)
    }

    /// The TLS server: version 1.3 only, HTTP/2 preferred to HTTP/1.1, no resumption.
    ///
    /// A resumed session would need secrets that outlive the connection, in tickets or in a cache.
    ///
    /// # Errors
    /// [`IdentityError::Tls`] cannot happen with the provider that is compiled in.
    pub fn server_config(&self) -> Result<Arc<rustls::ServerConfig>, IdentityError> {
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(IdentityError::Tls)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.shown) as _);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Names as a certificate carries them, each once.
fn alternatives<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<Vec<SanType>, IdentityError> {
    let mut alternatives = Vec::new();
    for (index, name) in names.into_iter().enumerate() {
        let name = match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => {
                SanType::DnsName(name.as_str().try_into().map_err(|source| IdentityError::Name { index, source })?)
            }
        };
        if !alternatives.contains(&name) {
            alternatives.push(name);
        }
    }
    Ok(alternatives)
}

fn parameters(names: &[String]) -> Result<CertificateParams, IdentityError> {
    let mut parameters = CertificateParams::default();
    let fixed = ["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string()];
    parameters.subject_alt_names = alternatives(names.iter().chain(&fixed))?;
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, "Lethe");
    parameters.not_before = rcgen::date_time_ymd(1970, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(9999, 12, 31);
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // 127 random bits: RFC 5280 wants a positive number of at most 20 bytes
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(IdentityError::Random)?;
    let [first, ..] = &mut serial;
    *first = *first & 0x7f | 0x40;
    parameters.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(label: &str, der: &[u8]) -> String {
        use base64::Engine as _;
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    #[test]
    fn the_certificate_carries_its_names_once_and_its_long_life() {
        let names = ["llm.example".to_owned(), "localhost".to_owned(), "10.0.0.7".to_owned()];
        let parameters = parameters(&names).expect("parameters");
        assert_eq!(parameters.subject_alt_names.len(), 4);
        assert!(parameters.subject_alt_names.contains(&SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))));
        let identity = TlsIdentity::generate(&names).expect("identity");
        let der = identity.certificate_der();
        for expected in [&b"llm.example"[..], b"localhost", &[10, 0, 0, 7], b"700101000000Z", b"99991231000000Z"] {
            assert!(der.windows(expected.len()).any(|window| window == expected));
        }
    }

    #[test]
    fn a_brought_certificate_is_taken_with_its_own_key_and_refused_with_another() {
        let directory = std::env::temp_dir().join(format!("lethe-tls-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("directory");
        let (cert, key, other) = (directory.join("cert"), directory.join("key"), directory.join("other"));
        let pair = KeyPair::generate().expect("key");
        let made = parameters(&[]).expect("parameters").self_signed(&pair).expect("certificate");
        std::fs::write(&cert, pem("CERTIFICATE", made.der())).expect("written");
        std::fs::write(&key, pem("PRIVATE KEY", &pair.serialize_der())).expect("written");
        std::fs::write(&other, pem("PRIVATE KEY", &KeyPair::generate().expect("key").serialize_der()))
            .expect("written");

        let identity = TlsIdentity::from_pem_files(&cert, &key).expect("identity");
        assert_eq!(identity.certificate_der(), made.der().as_ref());
        assert!(matches!(TlsIdentity::from_pem_files(&cert, &other), Err(IdentityError::Tls(_))));
        assert!(matches!(TlsIdentity::from_pem_files(&key, &key), Err(IdentityError::Pem { .. })));
        assert!(matches!(TlsIdentity::from_pem_files(&cert, &cert), Err(IdentityError::Pem { .. })));
        assert!(matches!(TlsIdentity::from_pem_files(&directory.join("no"), &key), Err(IdentityError::Read { .. })));
        std::fs::remove_dir_all(&directory).expect("removed");
    }
}
