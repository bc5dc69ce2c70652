//! The quoting enclave's report, validly signed by a platform of the tests' own.

use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};
use sha2::{Digest as _, Sha256};

use super::{
    level_tests::{QE_SIGNER, platform},
    pck::Pck,
    quote::Quote,
    verify::check_quoting_enclave,
};
use crate::{Refusal, Rule, x509::PublicKey};

const AUTH_DATA: &[u8] = b"authentication data";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).expect("a key")
}

fn coordinates(key: &SigningKey) -> Vec<u8> {
    key.verifying_key().to_encoded_point(false).as_bytes()[1..].to_vec()
}

/// The report of Intel's quoting enclave, which binds attestation key 1.
fn report() -> Vec<u8> {
    let mut report = vec![0; 384];
    report[48] = 0x15; // initialised, 64-bit, provisioning key
    hex::decode_to_slice(QE_SIGNER, &mut report[128..160]).expect("hexadecimal");
    report[256] = 2; // product: the TD quoting enclave
    let bound = Sha256::new().chain_update(coordinates(&key(1))).chain_update(AUTH_DATA).finalize();
    report[320..352].copy_from_slice(&bound);
    report
}

/// A quote with this report, signed by platform `signer`.
fn quote(report: &[u8], signer: &SigningKey) -> Vec<u8> {
    let mut quote = vec![0; 48 + 584];
    quote[..8].copy_from_slice(&[4, 0, 2, 0, 0x81, 0, 0, 0]);
    quote[12..28].copy_from_slice(&[
        0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
    ]);
    let length = |bytes: usize| u32::try_from(bytes).expect("short").to_le_bytes();
    let signature: Signature = signer.sign(report);
    let auth_bytes = u16::try_from(AUTH_DATA.len()).expect("short").to_le_bytes();
    let inner = [report, &signature.to_bytes(), &auth_bytes, AUTH_DATA, &[5, 0, 0, 0, 0, 0]].concat();
    let data = [&[0; 64][..], &coordinates(&key(1)), &[6, 0], &length(inner.len()), &inner].concat();
    [&quote[..], &length(data.len()), &data].concat()
}

fn judge(report: &[u8], signer: &SigningKey) -> Result<(), Refusal> {
    let pck = Pck {
        key: PublicKey::P256(*key(2).verifying_key()),
        serial: vec![3],
        issuer: Vec::new(),
        issuer_serial: Vec::new(),
        issuer_spki: Vec::new(),
        authority: String::new(),
        platform: platform(),
    };
    check_quoting_enclave(&Quote::read(&quote(report, signer))?, &pck)
}

#[test]
fn t4_intels_enclave_on_this_platform_is_accepted() {
    assert_eq!(judge(&report(), &key(2)), Ok(()));
}

#[test]
fn t4_a_validly_signed_report_of_another_enclave_is_refused() {
    for (place, bit, reason) in [
        (128, 1, "the quoting enclave is not signed by Intel"),
        (159, 1, "the quoting enclave is not signed by Intel"),
        (256, 3, "the enclave is not the TD quoting enclave"),
        (257, 1, "the enclave is not the TD quoting enclave"),
        (48, 2, "the quoting enclave can be debugged"),
        (320, 1, "the quoting enclave's report does not bind the attestation key"),
        (352, 1, "the quoting enclave's report does not bind the attestation key"),
    ] {
        let mut report = report();
        report[place] ^= bit;
        let refusal = judge(&report, &key(2)).expect_err(reason);
        assert_eq!((refusal.rule(), refusal.reason()), (Rule::T4, reason), "byte {place}");
    }
    let refusal = judge(&report(), &key(3)).expect_err("another platform");
    assert_eq!(
        (refusal.rule(), refusal.reason()),
        (Rule::T4, "the platform did not sign the quoting enclave's report")
    );
}
