//! What the certificates of an attestation key's chain may be for.

use super::AttestationKey;
use crate::{
    Rule,
    x509::{
        DIGITAL_SIGNATURE, EXTENDED_KEY_USAGE, KEY_CERT_SIGN,
        made::{Party, authority, extension, now, purposes, usage},
    },
};

const AIK: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x03];
const EK: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x01];
const ANY: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
/// `id-kp-serverAuth`, 1.3.6.1.5.5.7.3.1.
const SERVER: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];

/// The rule that a chain of root, authority and key breaks, with these purposes in the last two.
fn broken(of_authority: Option<Vec<u8>>, of_key: Option<Vec<u8>>) -> Option<Rule> {
    let (root, issuer, key) = (Party::new(1, "root"), Party::new(2, "authority"), Party::new(3, "key"));
    let with = |mut extensions: Vec<Vec<u8>>, purposes: Option<Vec<u8>>| {
        extensions.extend(purposes);
        extensions
    };
    let root_der = root.certify(&root, &[1], &[authority(), usage(KEY_CERT_SIGN)]);
    let issuer_der = root.certify(&issuer, &[2], &with(vec![authority(), usage(KEY_CERT_SIGN)], of_authority));
    let key_der = issuer.certify(&key, &[3], &with(vec![usage(DIGITAL_SIGNATURE)], of_key));
    let certified =
        AttestationKey::Certified { certificate: &key_der, intermediates: &[&issuer_der], roots: &[&root_der] };
    certified.establish(now()).err().map(|refusal| refusal.rule())
}

#[test]
fn p2_a_certificate_for_something_else_is_no_attestation_keys() {
    assert_eq!(broken(None, None), None);
    for critical in [true, false] {
        for (list, rule) in [
            (&[AIK][..], None),
            (&[EK], None),
            (&[ANY], None),
            (&[SERVER, AIK], None),
            (&[SERVER], Some(Rule::P2)),
            (&[], Some(Rule::P2)),
            (&[&AIK[..4]], Some(Rule::P2)),
        ] {
            assert_eq!(broken(None, Some(purposes(critical, list))), rule, "the key's: {critical} {list:x?}");
            assert_eq!(broken(Some(purposes(critical, list)), None), rule, "the authority's: {critical} {list:x?}");
        }
        for malformed in [&[][..], &[0x30], &[0x04, 0], &[0x30, 2, 6, 1], &[0x30, 0, 0]] {
            let extension = extension(EXTENDED_KEY_USAGE, critical, malformed);
            assert_eq!(broken(None, Some(extension)), Some(Rule::P2), "{malformed:x?}");
        }
    }
}
