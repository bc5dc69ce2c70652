//! NVIDIA's reference integrity manifests (RIM): which values a VBIOS or a driver measures, in XML that NVIDIA signed.
//!
//! Only what the signature covers is ever read. The document less its signature is brought to canonical form; those bytes,
//! once their digest is the signed one, are read again, and the manifest is what they say. So an element that is moved,
//! added or hidden beside the signed ones is either under the signature or nowhere.
//!
//! Whether a certificate has been revoked is not asked (NVIDIA answers that by OCSP): the dates are what bounds its use.

mod canonical;
mod compare;
#[cfg(test)]
mod compare_tests;
#[cfg(test)]
mod made;
mod manifest;
mod signature;
#[cfg(test)]
mod verify_tests;
mod xml;
#[cfg(test)]
mod xml_tests;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha384};
use subtle::ConstantTimeEq as _;

pub(super) use compare::{Compared, compare};
use manifest::Manifest;

use crate::{
    Refusal, Rule, Time, roots,
    x509::{Certificate, DIGITAL_SIGNATURE, EXTENDED_KEY_USAGE, verify_chain},
};

/// `anyExtendedKeyUsage`, 2.5.29.37.0: the one purpose that a certificate on the way to a manifest may name. NVIDIA's name none;
/// one that is for answers about revocation, say, is not for manifests.
const ANY_PURPOSE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];

/// A verified manifest. Only [`Rim::verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rim {
    manifest: Manifest,
    digest: [u8; 48],
    valid_until: Time,
}

impl Rim {
    /// Verifies a manifest: rules G5 to G7.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] that names the first rule broken.
    pub fn verify(manifest: &[u8], at: Time) -> Result<Self, Refusal> {
        verify(manifest, roots::NVIDIA_RIM, at)
    }

    /// The tag's identifier.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.manifest.id
    }

    /// The version of the VBIOS or driver that the manifest is for.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.manifest.version
    }

    /// SHA-384 of what is signed, in canonical form: the same however the file is written.
    #[must_use]
    pub fn digest(&self) -> &[u8; 48] {
        &self.digest
    }

    /// What `lethe check` prints of a manifest.
    fn claims(&self) -> Value {
        json!({
            "id": self.manifest.id,
            "version": self.manifest.version,
            "product": self.manifest.product,
            "digest": hex::encode(self.digest),
            "valid_until": self.valid_until.to_string(),
            "revocation": "undetermined",
        })
    }
}

/// Verifies a manifest whose certificates lead to `root`.
fn verify(bytes: &[u8], root: &[u8], at: Time) -> Result<Rim, Refusal> {
    let malformed = |reason| Rule::G5.refuse(reason);
    let text = xml::text(bytes).map_err(malformed)?;
    let mut document = xml::read(&text).map_err(malformed)?;
    let signature = signature::detach(&mut document).map_err(malformed)?;

    let read: Option<Vec<Certificate<'_>>> = signature.certificates.iter().map(|der| Certificate::read(der)).collect();
    let certificates = read.ok_or_else(|| Rule::G6.refuse("a certificate of the manifest is malformed"))?;
    let last = signature.certificates.last().is_some_and(|last| last == root);
    Rule::G6.require(last, "the root of the manifest's certificates is not NVIDIA's for manifests")?;
    let chain: Vec<&Certificate<'_>> = certificates.iter().collect();
    verify_chain(&chain, at, &[EXTENDED_KEY_USAGE]).map_err(|reason| Rule::G6.refuse(reason))?;
    let purpose = chain.iter().all(|certificate| certificate.serves(&[ANY_PURPOSE]));
    Rule::G6.require(purpose, "a certificate of the manifest is for something else than manifests")?;
    let signer = certificates.first().ok_or_else(|| Rule::G6.refuse("an empty chain"))?;
    Rule::G6
        .require(!signer.is_authority() && signer.may(DIGITAL_SIGNATURE), "the signer's key may not sign manifests")?;

    let info = canonical::canonical(&signature.signed, &signature.scope);
    let signed = signer.key.verifies_p384_raw(info.as_bytes(), &signature.value);
    Rule::G7.require(signed, "the signer did not sign this")?;
    // From here on nothing is read but what the key signed.
    let expected = signature::digest(&info).map_err(malformed)?;
    let document = canonical::canonical(&document, &xml::Namespaces::new());
    let digest: [u8; 48] = Sha384::digest(&document).into();
    Rule::G7.require(digest.ct_eq(&expected).into(), "the signature is over another manifest")?;
    let manifest = xml::read(&document).and_then(|root| manifest::manifest(&root)).map_err(malformed)?;
    let valid_until = certificates.iter().map(|certificate| certificate.not_after).min().unwrap_or(at);
    Ok(Rim { manifest, digest, valid_until })
}

/// Whether bytes are a manifest that a chain of their own vouches for; what is canonical stays as it is.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_form(bytes: &[u8], at: Time) -> bool {
    let Ok(text) = xml::text(bytes) else { return false };
    let Ok(mut document) = xml::read(&text) else { return false };
    let once = canonical::canonical(&document, &xml::Namespaces::new());
    let again = xml::read(&once).map(|read| canonical::canonical(&read, &xml::Namespaces::new()));
    assert!(again.as_ref() == Ok(&once), "canonical XML is not canonical");
    let Ok(signature) = signature::detach(&mut document) else { return false };
    let root = signature.certificates.last().cloned().unwrap_or_default();
    verify(bytes, &root, at).is_ok()
}
