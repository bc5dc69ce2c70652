//! Certificates and revocation lists for the tests, signed by keys of the tests' own.

use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};

#[cfg(feature = "nvidia")]
use super::key::SECP384R1;
use super::{
    der::tag,
    key::{EC_PUBLIC_KEY, ECDSA_SHA256, PRIME256V1},
};
use crate::Time;

/// When everything made here is valid, from 2025 to 2027.
pub(crate) fn now() -> Time {
    Time::parse("2026-01-01T00:00:00Z").expect("a time")
}

/// One element.
pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let header = match content.len() {
        0..=127 => vec![tag, low],
        128..=255 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&header, content].concat()
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(tag::SEQUENCE, &parts.concat())
}

/// One extension.
pub(crate) fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[tag::BOOLEAN, 1, 0xff] } else { &[] };
    sequence(&[&tlv(tag::OID, oid), critical, &tlv(tag::OCTET_STRING, value)])
}

/// `BasicConstraints` of an authority.
pub(crate) fn authority() -> Vec<u8> {
    extension(&[0x55, 0x1d, 0x13], true, &sequence(&[&[tag::BOOLEAN, 1, 0xff]]))
}

/// `KeyUsage` with these bits of its first octet.
pub(crate) fn usage(bits: u8) -> Vec<u8> {
    extension(&[0x55, 0x1d, 0x0f], true, &[tag::BIT_STRING, 2, 0, bits])
}

/// `ExtKeyUsage` for these purposes.
pub(crate) fn purposes(critical: bool, purposes: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = purposes.iter().flat_map(|purpose| tlv(tag::OID, purpose)).collect();
    extension(super::EXTENDED_KEY_USAGE, critical, &tlv(tag::SEQUENCE, &list))
}

/// Somebody with a name and a key.
pub(crate) struct Party {
    pub(crate) key: SigningKey,
    /// DER.
    pub(crate) name: Vec<u8>,
}

impl Party {
    pub(crate) fn new(seed: u8, common_name: &str) -> Self {
        let attribute =
            sequence(&[&tlv(tag::OID, &[0x55, 0x04, 0x03]), &tlv(tag::UTF8_STRING, common_name.as_bytes())]);
        Self::named(seed, &sequence(&[&tlv(tag::SET, &attribute)]))
    }

    /// With a name that somebody else has.
    pub(crate) fn named(seed: u8, name: &[u8]) -> Self {
        Self { key: SigningKey::from_slice(&[seed; 32]).expect("a key"), name: name.to_vec() }
    }

    fn spki(&self) -> Vec<u8> {
        spki(PRIME256V1, self.key.verifying_key().to_encoded_point(false).as_bytes())
    }

    fn sign(&self, fields: &[&[u8]]) -> Vec<u8> {
        let tbs = sequence(fields);
        let signature: Signature = self.key.sign(&tbs);
        let bits = [&[0], signature.to_der().as_bytes()].concat();
        sequence(&[&tbs, &algorithm(), &tlv(tag::BIT_STRING, &bits)])
    }

    /// A certificate of `subject` by this party.
    pub(crate) fn certify(&self, subject: &Self, serial: &[u8], extensions: &[Vec<u8>]) -> Vec<u8> {
        self.certify_key(&subject.name, &subject.spki(), serial, extensions)
    }

    /// A certificate by this party of another kind of key.
    pub(crate) fn certify_key(&self, name: &[u8], spki: &[u8], serial: &[u8], extensions: &[Vec<u8>]) -> Vec<u8> {
        let validity = sequence(&[&utc("250101000000Z"), &utc("270101000000Z")]);
        let extensions: &[u8] =
            &if extensions.is_empty() { Vec::new() } else { tlv(0xa3, &tlv(tag::SEQUENCE, &extensions.concat())) };
        self.sign(&[
            &tlv(0xa0, &[tag::INTEGER, 1, 2]),
            &tlv(tag::INTEGER, serial),
            &algorithm(),
            &self.name,
            &validity,
            name,
            spki,
            extensions,
        ])
    }

    /// A revocation list of this party, signed at the beginning of 2025 and good to that of 2027.
    pub(crate) fn revoke(&self, serials: &[&[u8]]) -> Vec<u8> {
        let dated = utc("250101000000Z");
        let entries: Vec<u8> =
            serials.iter().flat_map(|serial| sequence(&[&tlv(tag::INTEGER, serial), &dated])).collect();
        let revoked = if entries.is_empty() { entries } else { tlv(tag::SEQUENCE, &entries) };
        self.sign(&[&[tag::INTEGER, 1, 1], &algorithm(), &self.name, &dated, &utc("270101000000Z"), &revoked])
    }
}

/// `SubjectPublicKeyInfo` of a point on P-384.
#[cfg(feature = "nvidia")]
pub(crate) fn p384(key: &p384::ecdsa::VerifyingKey) -> Vec<u8> {
    spki(SECP384R1, key.to_encoded_point(false).as_bytes())
}

fn spki(curve: &[u8], point: &[u8]) -> Vec<u8> {
    let algorithm = sequence(&[&tlv(tag::OID, EC_PUBLIC_KEY), &tlv(tag::OID, curve)]);
    sequence(&[&algorithm, &tlv(tag::BIT_STRING, &[&[0], point].concat())])
}

fn algorithm() -> Vec<u8> {
    sequence(&[&tlv(tag::OID, ECDSA_SHA256)])
}

fn utc(text: &str) -> Vec<u8> {
    tlv(tag::UTC_TIME, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::{
        super::{CRL_SIGN, Certificate, DIGITAL_SIGNATURE, KEY_CERT_SIGN, RevocationList, verify_chain},
        *,
    };

    const AIK: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x03];

    #[test]
    fn a_list_is_signed_by_an_authority_that_may_sign_lists() {
        let (root, other) = (Party::new(1, "root"), Party::new(2, "root"));
        let list = root.revoke(&[&[5], &[7]]);
        let list = RevocationList::read(&list).expect("a list");
        assert!(list.revokes(&[5]) && list.revokes(&[7]) && !list.revokes(&[6]));
        for (signer, extensions, reason) in [
            (&root, vec![authority(), usage(KEY_CERT_SIGN | CRL_SIGN)], None),
            (&root, vec![authority()], None),
            (&root, vec![authority(), usage(KEY_CERT_SIGN)], Some("the authority may not sign revocation lists")),
            (&root, vec![usage(DIGITAL_SIGNATURE)], Some("the authority may not sign revocation lists")),
            (&other, vec![authority()], Some("the revocation list is not signed by its authority")),
        ] {
            let certificate = signer.certify(signer, &[1], &extensions);
            let certificate = Certificate::read(&certificate).expect("a certificate");
            assert_eq!(list.verify(&certificate, now()).err().as_deref(), reason);
        }
        let renamed = Party::named(1, &Party::new(1, "another").name);
        let renamed = renamed.certify(&renamed, &[1], &[authority()]);
        let renamed = Certificate::read(&renamed).expect("a certificate");
        assert_eq!(list.verify(&renamed, now()).err().as_deref(), Some("the revocation list is another authority's"));
    }

    #[test]
    fn a_critical_purpose_is_refused_unless_somebody_reads_it() {
        let (root, leaf) = (Party::new(1, "root"), Party::new(2, "leaf"));
        let root_der = root.certify(&root, &[1], &[authority(), usage(KEY_CERT_SIGN)]);
        let root_read = Certificate::read(&root_der).expect("a certificate");
        let check = |extensions: &[Vec<u8>], known: &[&[u8]]| {
            let der = root.certify(&leaf, &[2], extensions);
            verify_chain(&[&Certificate::read(&der).expect("a certificate"), &root_read], now(), known)
                .err()
                .map(std::borrow::Cow::into_owned)
        };
        assert_eq!(check(&[], &[]), None);
        assert_eq!(check(&[purposes(false, &[AIK])], &[]), None);
        let unknown = Some("certificate leaf has an unknown critical extension".to_owned());
        assert_eq!(check(&[purposes(true, &[AIK])], &[]), unknown);
        assert_eq!(check(&[purposes(true, &[AIK])], &[super::super::EXTENDED_KEY_USAGE]), None);
    }
}
