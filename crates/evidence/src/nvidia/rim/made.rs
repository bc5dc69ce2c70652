//! Manifests for the tests, signed by keys of the tests' own.
//!
//! The texts are canonical as they stand, so that what is signed here owes nothing to the code that is tested.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use p384::ecdsa::{Signature, SigningKey, signature::Signer as _};
use sha2::{Digest as _, Sha384};

use crate::x509::{
    DIGITAL_SIGNATURE, KEY_CERT_SIGN,
    made::{Party, authority, p384, purposes, usage},
};

const ROOT_TAG_END: &str = "</SoftwareIdentity>";

/// A manifest without its signature, about three measurements; the second is not active.
pub(super) fn document() -> String {
    let measurement = |index: u8, active: &str, values: &[u8]| {
        let hash = |(place, value): (usize, &u8)| format!(" h:Hash{place}=\"{}\"", hex::encode([*value; 48]));
        let hashes: String = values.iter().enumerate().map(hash).collect();
        format!(
            "<Resource active=\"{active}\" alternatives=\"{}\" index=\"{index}\" name=\"Measurement_{index}\" \
             size=\"48\" type=\"Measurement\"{hashes}></Resource>\n",
            values.len()
        )
    };
    [
        "<SoftwareIdentity xmlns=\"http://standards.iso.org/iso/19770/-2/2015/schema.xsd\" \
         xmlns:h=\"http://www.w3.org/2001/04/xmlenc#sha384\" corpus=\"false\" name=\"GH100\" tagId=\"of-the-tests\">\n",
        "<Entity name=\"A &amp; B\" role=\"tagCreator\"></Entity>\n",
        "<Meta colloquialVersion=\"96.00.74.00.1A\" edition=\"GPU\" product=\"GH100\"></Meta>\n<Payload>\n",
        &measurement(0, "True", &[0]),
        &measurement(7, "False", &[0]),
        &measurement(12, "True", &[1, 2, 3]),
        "</Payload>\n",
        ROOT_TAG_END,
    ]
    .concat()
}

/// What is signed over a document.
pub(super) fn info(document: &str) -> String {
    let more = "http://www.w3.org/2001/04/xmldsig-more";
    let canonical = "http://www.w3.org/2006/12/xml-c14n11";
    [
        "<ds:SignedInfo xmlns=\"http://standards.iso.org/iso/19770/-2/2015/schema.xsd\" \
         xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\" xmlns:h=\"http://www.w3.org/2001/04/xmlenc#sha384\">",
        &format!("<ds:CanonicalizationMethod Algorithm=\"{canonical}\"></ds:CanonicalizationMethod>"),
        &format!("<ds:SignatureMethod Algorithm=\"{more}#ecdsa-sha384\"></ds:SignatureMethod>"),
        "<ds:Reference URI=\"\"><ds:Transforms>",
        "<ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#enveloped-signature\"></ds:Transform>",
        &format!("<ds:Transform Algorithm=\"{canonical}\"></ds:Transform></ds:Transforms>"),
        &format!("<ds:DigestMethod Algorithm=\"{more}#sha384\"></ds:DigestMethod>"),
        &format!("<ds:DigestValue>{}</ds:DigestValue>", STANDARD.encode(Sha384::digest(document))),
        "</ds:Reference></ds:SignedInfo>",
    ]
    .concat()
}

fn key() -> SigningKey {
    SigningKey::from_slice(&[3; 48]).expect("a key")
}

/// The object identifier of answers about revocation, 1.3.6.1.5.5.7.3.9.
const OCSP_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x09];

/// Certificates as a manifest brings them: signer, authority, root.
pub(super) struct Chain {
    root: Party,
    middle: Party,
    pub(super) certificates: Vec<Vec<u8>>,
}

impl Chain {
    /// Whose signer has these extensions.
    pub(super) fn with_signer(extensions: &[Vec<u8>]) -> Self {
        let (root, middle) = (Party::new(1, "manifests root"), Party::new(2, "manifests 1"));
        let leaf = middle.certify_key(&Party::new(3, "signer").name, &p384(key().verifying_key()), &[3], extensions);
        let authorities = [authority(), usage(KEY_CERT_SIGN)];
        let certificates =
            vec![leaf, root.certify(&middle, &[2], &authorities), root.certify(&root, &[1], &authorities)];
        Self { root, middle, certificates }
    }

    /// As it should be.
    pub(super) fn good() -> Self {
        Self::with_signer(&[usage(DIGITAL_SIGNATURE)])
    }

    /// Whose signer's certificate, or the authority's above it, is for answers about revocation.
    pub(super) fn for_revocation(signers: bool, critical: bool) -> Self {
        let purpose = purposes(critical, &[OCSP_SIGNING]);
        if signers {
            return Self::with_signer(&[usage(DIGITAL_SIGNATURE), purpose]);
        }
        Self::with_authority(&[authority(), usage(KEY_CERT_SIGN), purpose])
    }

    /// Whose signer has a key on another curve.
    pub(super) fn with_other_curve() -> Self {
        let mut chain = Self::good();
        chain.certificates[0] = chain.middle.certify(&Party::new(3, "signer"), &[3], &[usage(DIGITAL_SIGNATURE)]);
        chain
    }

    /// Whose authority is none.
    pub(super) fn without_authority() -> Self {
        Self::with_authority(&[usage(KEY_CERT_SIGN)])
    }

    /// Whose authority below the root has these extensions.
    fn with_authority(extensions: &[Vec<u8>]) -> Self {
        let mut chain = Self::good();
        chain.certificates[1] = chain.root.certify(&chain.middle, &[2], extensions);
        chain
    }

    pub(super) fn root(&self) -> &[u8] {
        self.certificates.last().expect("a root")
    }
}

/// The signature over `info`, as an element.
pub(super) fn signature(info: &str, chain: &Chain) -> String {
    let value: Signature = key().sign(info.as_bytes());
    let certificate = |der: &Vec<u8>| format!("<ds:X509Certificate>{}</ds:X509Certificate>", STANDARD.encode(der));
    let certificates: String = chain.certificates.iter().map(certificate).collect();
    format!(
        "<ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">{info}<ds:SignatureValue>{}</ds:SignatureValue>\
         <ds:KeyInfo><ds:X509Data>{certificates}</ds:X509Data></ds:KeyInfo></ds:Signature>",
        STANDARD.encode(value.to_bytes())
    )
}

/// A document with an element before its end.
pub(super) fn with(document: &str, element: &str) -> String {
    document.replace(ROOT_TAG_END, &format!("{element}{ROOT_TAG_END}"))
}

/// A document and the signature over it.
pub(super) fn signed(document: &str) -> String {
    with(document, &signature(&info(document), &Chain::good()))
}
