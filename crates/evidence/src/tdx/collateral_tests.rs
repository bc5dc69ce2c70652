//! Revocation by Intel's lists, and what collateral is about, on certificates of the tests' own.

use serde_json::json;

use super::{
    collateral::{QeIdentity, TcbInfo, check_lists, check_signer, check_subject},
    level_tests::{platform, qe_identity, tcb_info},
    pck::{Pck, Platform},
};
use crate::{
    Refusal, Rule,
    x509::{
        Certificate, PublicKey, RevocationList,
        made::{Party, authority, now},
    },
};

/// A PCK certificate 3 of authority 2 of root 1, and another certificate 4 of the same authority's key.
fn judge(root_list: &[u8], pck_list: &[u8]) -> Result<(), Refusal> {
    let (root, issuer) = (Party::new(1, "root"), Party::new(2, "authority"));
    let ders = [root.certify(&root, &[1], &[authority()]), root.certify(&issuer, &[4], &[authority()])];
    let [root, issuer_read] = ders.each_ref().map(|der| Certificate::read(der).expect("a certificate"));
    let pck = Pck {
        key: PublicKey::P256(*Party::new(3, "PCK").key.verifying_key()),
        serial: vec![3],
        issuer: issuer.name.clone(),
        issuer_serial: vec![2],
        issuer_spki: issuer_read.spki.to_vec(),
        authority: "authority".to_owned(),
        platform: platform(),
    };
    check_lists(&root, &issuer_read, &pck, [root_list, pck_list], now())
}

#[test]
fn t2_a_revoked_platform_or_authority_is_refused() {
    let (root, issuer, other) = (Party::new(1, "root"), Party::new(2, "authority"), Party::new(9, "authority"));
    let (empty_root, empty) = (root.revoke(&[]), issuer.revoke(&[]));
    assert_eq!(judge(&empty_root, &empty), Ok(()));
    assert_eq!(judge(&root.revoke(&[&[3], &[7]]), &issuer.revoke(&[&[2], &[4], &[7]])), Ok(()), "other numbers");
    for (root_list, pck_list, reason) in [
        (&empty_root, &issuer.revoke(&[&[7], &[3]]), "the PCK certificate is revoked"),
        (&root.revoke(&[&[2]]), &empty, "the PCK authority is revoked"),
        (&root.revoke(&[&[4]]), &empty, "the PCK authority is revoked"),
        (&empty, &empty, "the revocation list is another authority's"),
        (&empty_root, &empty_root, "the revocation list is another authority's"),
        (&empty_root, &other.revoke(&[]), "the revocation list is not signed by its authority"),
        (&Party::new(9, "root").revoke(&[]), &empty, "the revocation list is not signed by its authority"),
        (&empty_root, &Vec::new(), "a revocation list is malformed"),
    ] {
        let refusal = judge(root_list, pck_list).expect_err(reason);
        assert_eq!((refusal.rule(), refusal.reason()), (Rule::T2, reason));
    }
}

#[test]
fn t3_the_signer_of_collateral_is_intels_and_not_revoked() {
    let (root, signer) = (Party::new(1, "root"), Party::new(2, "Intel SGX TCB Signing"));
    let check = |certificate: &[u8], list: &[u8]| {
        let list = RevocationList::read(list).expect("a list");
        check_signer(&Certificate::read(certificate).expect("a certificate"), &list)
            .map_err(|refusal| (refusal.rule(), refusal.reason().to_owned()))
    };
    let good = root.certify(&signer, &[5], &[]);
    let refused = |reason: &str| Err((Rule::T3, reason.to_owned()));
    assert_eq!(check(&good, &root.revoke(&[])), Ok(()));
    assert_eq!(check(&good, &root.revoke(&[&[4]])), Ok(()));
    assert_eq!(check(&good, &root.revoke(&[&[4], &[5]])), refused("the TCB signing certificate is revoked"));
    let named = root.certify(&Party::new(2, "Intel SGX PCK Certificate"), &[5], &[]);
    assert_eq!(
        check(&named, &root.revoke(&[])),
        refused("the signer of the collateral is not Intel's TCB signing key")
    );
    let authority = root.certify(&signer, &[5], &[authority()]);
    assert_eq!(check(&authority, &root.revoke(&[])), refused("the signer of the collateral is an authority"));
}

#[test]
fn t3_collateral_is_for_tdx_and_this_kind_of_platform() {
    let check = |place: &str, value: serde_json::Value, platform: &Platform| {
        let (mut info, mut identity) = (tcb_info(), qe_identity());
        match place.split_once('.') {
            Some(("info", name)) => info[name] = value,
            Some((_, name)) => identity[name] = value,
            None => {}
        }
        let info: TcbInfo = serde_json::from_value(info).expect("TCB info");
        let identity: QeIdentity = serde_json::from_value(identity).expect("QE identity");
        check_subject(&info, &identity, platform).err().map(|refusal| refusal.rule())
    };
    assert_eq!(check("", json!(null), &platform()), None);
    for (place, value, what) in [
        ("info.id", json!("SGX"), "TCB info of SGX"),
        ("info.version", json!(2), "an older form"),
        ("info.fmspc", json!("000000000001"), "another kind of platform"),
        ("info.pceId", json!("0001"), "another PCE"),
        ("identity.id", json!("QE"), "the quoting enclave of SGX"),
        ("identity.version", json!(1), "an older form"),
    ] {
        assert_eq!(check(place, value, &platform()), Some(Rule::T3), "{what}");
    }
    let elsewhere = Platform { pce_id: [1, 0], ..platform() };
    assert_eq!(check("", json!(null), &elsewhere), Some(Rule::T3), "a platform with another PCE");
    let elsewhere = Platform { fmspc: [1; 6], ..platform() };
    assert_eq!(check("", json!(null), &elsewhere), Some(Rule::T3), "another kind of platform");
}
