//! Attestation keys: pinned, or certified by a chain that the relying party gives. Rule P2.

use sha2::{Digest as _, Sha256};

use crate::{
    Refusal, Rule, Time,
    x509::{
        Certificate, DIGITAL_SIGNATURE, EXTENDED_KEY_USAGE, PublicKey, certificates_from, decode_one, verify_chain,
    },
};

/// Most certificates between an attestation key's and its root.
const MAX_INTERMEDIATES: usize = 4;

/// What a certificate on the way to an attestation key may be for, where it says so (TCG "EK Credential Profile" and
/// "Provisioning Guidance"): `tcg-kp-AIKCertificate`, `tcg-kp-EKCertificate` (Google's authorities have it for both), and any.
const PURPOSES: [&[u8]; 3] = [
    &[0x67, 0x81, 0x05, 0x08, 0x03], // 2.23.133.8.3
    &[0x67, 0x81, 0x05, 0x08, 0x01], // 2.23.133.8.1
    &[0x55, 0x1d, 0x25, 0x00],       // 2.5.29.37.0
];

/// Why an attestation key is trusted. Evidence never says so itself.
#[derive(Debug, Clone, Copy)]
pub enum AttestationKey<'a> {
    /// The relying party knows the key: its `SubjectPublicKeyInfo`, DER or PEM (`PUBLIC KEY`).
    Pinned(&'a [u8]),
    /// A certificate that chains to a root the relying party gave. No revocation list is asked for or read: the keys'
    /// certificates that were seen name none, so that a key whose machine was broken into counts until a certificate expires.
    Certified {
        /// The key's certificate, DER or PEM.
        certificate: &'a [u8],
        /// Certificates in between, in any order, DER or PEM.
        intermediates: &'a [&'a [u8]],
        /// Roots that the relying party trusts, DER or PEM.
        roots: &'a [&'a [u8]],
    },
}

/// A key that is trusted. Only [`AttestationKey::establish`] and a bound key of Azure's make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    pub(crate) key: PublicKey,
    origin: &'static str,
    fingerprint: Option<[u8; 32]>,
    subject: Option<String>,
}

impl TrustedKey {
    /// A key that verified hardware evidence binds.
    pub(crate) fn bound(key: PublicKey) -> Self {
        Self { key, origin: "bound by hardware evidence", fingerprint: None, subject: None }
    }

    /// Why the key is trusted, for people.
    #[must_use]
    pub fn origin(&self) -> &'static str {
        self.origin
    }

    /// SHA-256 over the `SubjectPublicKeyInfo`, where there is one.
    #[must_use]
    pub fn fingerprint(&self) -> Option<&[u8; 32]> {
        self.fingerprint.as_ref()
    }

    /// Common name of the key's certificate.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }
}

impl AttestationKey<'_> {
    /// Establishes the key: reads a pinned one, verifies the chain of a certified one.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under P2.
    pub fn establish(&self, at: Time) -> Result<TrustedKey, Refusal> {
        match self {
            Self::Pinned(bytes) => {
                let malformed = || Rule::P2.refuse("the pinned key is malformed, or of an unknown kind");
                let spki = decode_one(bytes, "PUBLIC KEY").ok_or_else(malformed)?;
                let key = PublicKey::from_spki(&spki).ok_or_else(malformed)?;
                Ok(TrustedKey { key, origin: "pinned", fingerprint: Some(Sha256::digest(&spki).into()), subject: None })
            }
            Self::Certified { certificate, intermediates, roots } => certified(certificate, intermediates, roots, at),
        }
    }
}

/// Walks from the leaf to one of the roots by name, then verifies the chain.
fn certified(leaf: &[u8], intermediates: &[&[u8]], roots: &[&[u8]], at: Time) -> Result<TrustedKey, Refusal> {
    let malformed = || Rule::P2.refuse("a certificate of the attestation key's chain is malformed");
    let leaf = decode_one(leaf, "CERTIFICATE").ok_or_else(malformed)?;
    let leaf = Certificate::read(&leaf).ok_or_else(malformed)?;
    let (intermediates, roots) = (decode_all(intermediates)?, decode_all(roots)?);
    let read = |list: &'_ [Vec<u8>]| -> Result<Vec<(usize, Vec<u8>)>, Refusal> {
        list.iter()
            .enumerate()
            .map(|(index, der)| Certificate::read(der).map(|read| (index, read.subject.to_vec())).ok_or_else(malformed))
            .collect()
    };
    let (intermediate_names, root_names) = (read(&intermediates)?, read(&roots)?);

    let mut chain: Vec<Certificate<'_>> = vec![leaf.clone()];
    let mut issuer = leaf.issuer.to_vec();
    for _ in 0..=MAX_INTERMEDIATES {
        if let Some((index, _)) = root_names.iter().find(|(_, name)| *name == issuer) {
            chain.push(roots.get(*index).and_then(|der| Certificate::read(der)).ok_or_else(malformed)?);
            return verified(&chain, at);
        }
        let Some((index, _)) = intermediate_names.iter().find(|(_, name)| *name == issuer) else { break };
        let next = intermediates.get(*index).and_then(|der| Certificate::read(der)).ok_or_else(malformed)?;
        issuer = next.issuer.to_vec();
        chain.push(next);
    }
    Err(Rule::P2.refuse("the attestation key's certificate does not lead to a trusted root"))
}

fn verified(chain: &[Certificate<'_>], at: Time) -> Result<TrustedKey, Refusal> {
    let references: Vec<&Certificate<'_>> = chain.iter().collect();
    verify_chain(&references, at, &[EXTENDED_KEY_USAGE]).map_err(|reason| Rule::P2.refuse(reason))?;
    let purpose = chain.iter().all(|certificate| certificate.serves(&PURPOSES));
    Rule::P2.require(purpose, "a certificate of the chain is for something else than attestation keys")?;
    let leaf = chain.first().ok_or_else(|| Rule::P2.refuse("an empty chain"))?;
    Rule::P2.require(!leaf.is_authority(), "the attestation key's certificate is an authority")?;
    Rule::P2.require(leaf.may(DIGITAL_SIGNATURE), "the attestation key may not sign")?;
    Ok(TrustedKey {
        key: leaf.key.clone(),
        origin: "certified",
        fingerprint: Some(Sha256::digest(leaf.spki).into()),
        subject: Certificate::common_name(leaf.subject).map(str::to_owned),
    })
}

fn decode_all(list: &[&[u8]]) -> Result<Vec<Vec<u8>>, Refusal> {
    let mut all = Vec::new();
    for bytes in list {
        all.extend(certificates_from(bytes).ok_or_else(|| Rule::P2.refuse("a certificate is neither DER nor PEM"))?);
    }
    Rule::P2.require(all.len() <= 64, "too many certificates")?;
    Ok(all)
}
