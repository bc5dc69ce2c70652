//! The signature inside of a manifest: one form of it, which NVIDIA's have.
//!
//! Source: W3C XML Signature 1.1; RFC 6931 §2.1.3 and §2.3.6 for the names of SHA-384 and of ECDSA with it.

use base64::Engine as _;

use super::xml::{Element, Namespaces, Node, Read, read};

/// Namespace of XML signatures.
pub(super) const DS: &str = "http://www.w3.org/2000/09/xmldsig#";
const CANONICAL: &str = "http://www.w3.org/2006/12/xml-c14n11";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
const ECDSA_SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384";
const SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#sha384";

/// Certificates that a signature brings. NVIDIA's have four: signer, two authorities, root.
const CHAIN_LENGTH: std::ops::RangeInclusive<usize> = 2..=8;
/// Longest number in base64, in bytes: a certificate of 16 KiB.
const MAX_BASE64_BYTES: usize = 32 << 10;

const FORM: &str = "the signature has another form than NVIDIA's: one enveloped signature over the whole document";

/// A signature, apart from the document that it is inside of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signature<'a> {
    /// What the key signed, in canonical form.
    pub(super) signed: Element<'a>,
    /// Namespaces in scope around that.
    pub(super) scope: Namespaces<'a>,
    /// Two numbers of 48 bytes.
    pub(super) value: [u8; 96],
    /// Certificates, DER, in the order of the document: the signer's first.
    pub(super) certificates: Vec<Vec<u8>>,
}

/// Takes the signature out of a document: it is the last element inside of the root, and there is no other one anywhere.
pub(super) fn detach<'a>(root: &mut Element<'a>) -> Read<Signature<'a>> {
    let place = root.children.iter().rposition(|node| matches!(node, Node::Element(_))).ok_or(FORM)?;
    let Node::Element(element) = root.children.remove(place) else { return Err(FORM) };
    if root.has(DS) {
        return Err("there is more than one signature, or one that is not the last element");
    }
    let mut scope = root.declared.clone();
    scope.extend(&element.declared);
    signature(&element, scope).ok_or(FORM)
}

fn signature<'a>(element: &Element<'a>, scope: Namespaces<'a>) -> Option<Signature<'a>> {
    plain(element, "Signature")?;
    let [signed, value, key] = *element.elements()? else { return None };
    plain(value, "SignatureValue")?;
    let [data] = *plain(key, "KeyInfo")?.elements()? else { return None };
    let certificates = plain(data, "X509Data")?.elements()?;
    CHAIN_LENGTH.contains(&certificates.len()).then_some(())?;
    let certificate = |element: &&Element<'a>| base64(plain(element, "X509Certificate")?);
    Some(Signature {
        signed: signed.clone(),
        scope,
        value: base64(value)?.try_into().ok()?,
        certificates: certificates.iter().map(certificate).collect::<Option<_>>()?,
    })
}

/// The digest that a `SignedInfo` names. It is read from its canonical form, the bytes that the key signed: that says that
/// the digest is the whole document's, less this signature.
pub(super) fn digest(signed: &str) -> Read<[u8; 48]> {
    signed_digest(&read(signed)?).ok_or(FORM)
}

fn signed_digest(info: &Element<'_>) -> Option<[u8; 48]> {
    let [canonicalization, method, reference] = *plain(info, "SignedInfo")?.elements()? else { return None };
    algorithm(canonicalization, "CanonicalizationMethod", CANONICAL)?;
    algorithm(method, "SignatureMethod", ECDSA_SHA384)?;
    let whole = reference.is(DS, "Reference") && reference.attribute("", "URI") == Some("");
    (whole && reference.attributes.len() == 1).then_some(())?;
    let [transforms, method, value] = *reference.elements()? else { return None };
    let [enveloped, canonical] = *plain(transforms, "Transforms")?.elements()? else { return None };
    algorithm(enveloped, "Transform", ENVELOPED)?;
    algorithm(canonical, "Transform", CANONICAL)?;
    algorithm(method, "DigestMethod", SHA384)?;
    base64(plain(value, "DigestValue")?)?.try_into().ok()
}

/// An element of signatures with this name and no attribute.
fn plain<'e, 'a>(element: &'e Element<'a>, local: &str) -> Option<&'e Element<'a>> {
    (element.is(DS, local) && element.attributes.is_empty()).then_some(element)
}

/// An empty element that names this algorithm.
fn algorithm(element: &Element<'_>, local: &str, name: &str) -> Option<()> {
    let named = element.is(DS, local) && element.attribute("", "Algorithm") == Some(name);
    (named && element.attributes.len() == 1 && element.children.is_empty()).then_some(())
}

/// The bytes that the text of an element stands for; white space in it has no meaning.
fn base64(element: &Element<'_>) -> Option<Vec<u8>> {
    let text: String = element.text()?.split_ascii_whitespace().collect();
    (text.len() <= MAX_BASE64_BYTES).then_some(())?;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}
