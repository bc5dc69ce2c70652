//! The protocol's own vectors, byte for byte: `vectors/aci/vectors.json` of the corpus named by `LETHE_CORPUS`.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "helpers of tests")]

use protocol::{
    Keyset, Mismatch, Nonce, Report, Sha256Digest, SourceProvenance, TeeType, canonical, report_data, statement,
};
use serde_json::Value;

/// The vectors, or `None` and a loud line where there is no corpus.
fn vectors() -> Option<Value> {
    let Some(corpus) = std::env::var_os("LETHE_CORPUS") else {
        eprintln!("SKIPPED: LETHE_CORPUS is not set, the ACI vectors were not checked");
        return None;
    };
    let path = std::path::Path::new(&corpus).join("vectors/aci/vectors.json");
    Some(serde_json::from_slice(&std::fs::read(path).expect("vectors can be read")).expect("vectors are JSON"))
}

fn text<'a>(vectors: &'a Value, name: &str) -> &'a str {
    vectors[name].as_str().expect("a string")
}

#[test]
fn the_keyset_and_its_digest_match_the_vectors() {
    let Some(vectors) = vectors() else { return };
    let keyset: Keyset = serde_json::from_str(text(&vectors, "keyset_jcs")).expect("keyset");
    assert_eq!(keyset.canonical().expect("canonical"), text(&vectors, "keyset_jcs"));
    assert_eq!(keyset.digest().expect("digest").to_string(), text(&vectors, "keyset_digest"));

    let mut other = keyset;
    other.not_after += 1;
    assert_ne!(other.digest().expect("digest").to_string(), text(&vectors, "keyset_digest"));
}

#[test]
fn statements_and_report_data_match_the_vectors() {
    let Some(vectors) = vectors() else { return };
    let digest: Sha256Digest = text(&vectors, "keyset_digest").parse().expect("digest");
    let nonce = Nonce::from_bytes(std::array::from_fn(|index| u8::try_from(index).expect("small")));
    assert_eq!(statement(digest, Some(&nonce)), text(&vectors, "statement"));
    assert_eq!(hex::encode(report_data(digest, Some(&nonce))), text(&vectors, "report_data"));
    assert_eq!(statement(digest, None), text(&vectors, "statement_nonce_null"));
    assert_eq!(hex::encode(report_data(digest, None)), text(&vectors, "report_data_nonce_null"));
}

#[test]
fn a_receipt_has_the_canonical_form_of_the_vectors() {
    let Some(vectors) = vectors() else { return };
    for name in ["receipt_signing_input_jcs", "receipt_served", "keyset_jcs"] {
        let value: Value = serde_json::from_str(text(&vectors, name)).expect("JSON");
        assert_eq!(canonical(&value).expect("canonical"), text(&vectors, name));
    }
    let input = Sha256Digest::of(text(&vectors, "receipt_signing_input_jcs").as_bytes());
    assert_eq!(hex::encode(input.0), text(&vectors, "receipt_signing_input_sha256"));
}

fn report(nonce: Option<&Nonce>) -> Report {
    let keyset = Keyset {
        subject: None,
        not_after: 1,
        receipt_signing_keys: Vec::new(),
        e2ee_public_keys: Vec::new(),
        tls_public_keys: vec![protocol::TlsKey { spki_sha256: [7; 32], domain: None }],
    };
    Report::new(TeeType::None, &keyset, nonce, SourceProvenance::default(), serde_json::json!({})).expect("report")
}

#[test]
fn a_report_survives_json_and_checks_against_its_own_nonce_only() {
    let (nonce, other) = (Nonce::from_bytes([1; 32]), Nonce::from_bytes([2; 32]));
    let read: Report = serde_json::from_slice(&report(Some(&nonce)).to_json().expect("JSON")).expect("report");
    assert_eq!(read, report(Some(&nonce)));
    assert_eq!(read.check(Some(&nonce)), Ok(()));
    assert_eq!(read.check(Some(&other)), Err(Mismatch::ReportData));
    assert_eq!(read.check(None), Err(Mismatch::ReportData));
    assert_eq!(report(None).check(None), Ok(()));
}

#[test]
fn a_changed_report_is_refused() {
    let mut changed = report(None);
    changed.attestation.workload_keyset.tls_public_keys[0].spki_sha256[0] ^= 1;
    assert_eq!(changed.check(None), Err(Mismatch::KeysetDigest));
    changed.workload_keyset_digest = changed.attestation.workload_keyset.digest().expect("digest");
    assert_eq!(changed.check(None), Err(Mismatch::ReportData));
    let mut changed = report(None);
    changed.api_version = "aci/2".to_owned();
    assert_eq!(changed.check(None), Err(Mismatch::Version));
}

#[test]
fn a_report_of_unknown_hardware_or_with_an_unknown_keyset_member_is_not_read() {
    let json = String::from_utf8(report(None).to_json().expect("JSON")).expect("UTF-8");
    assert!(serde_json::from_str::<Report>(&json).is_ok());
    assert!(serde_json::from_str::<Report>(&json.replace("\"none\"", "\"simulated\"")).is_err());
    assert!(serde_json::from_str::<Report>(&json.replace("\"not_after\":1", "\"not_after\":1,\"x\":1")).is_err());
}
