//! Evidence of a machine with a TPM, from the firmware's first measurement to the verifier: OVMF and swtpm, emulated.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this package is test code: what cannot go on says why and ends"
)]

use std::time::Duration;

use evidence::tpm::{AttestationKey, Boot, Evidence, Firmware, Registers, verify};
use evidence::{Expected, Policy, Refusal, Rule, Time};
use lethe_tests::machine::{Machine, TPM};
use lethe_tests::{document, program};
use measurements::authenticode;
use protocol::{Nonce, Report, report_data_slot};
use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha384};

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("hexadecimal text")).expect("hexadecimal text")
}

/// What hardware signs for a report: the TPM takes the SHA-256 of the 64 bytes.
fn qualifying_data(report: &Report, nonce: &Nonce) -> [u8; 32] {
    Sha256::digest(report_data_slot(report.workload_keyset_digest, Some(nonce))).into()
}

/// Judges a report as a client would that pinned this key and has this image and this document.
fn judge(report: &Report, ak: &[u8], nonce: &Nonce, document: &[u8], image: &[u8]) -> Result<(), Refusal> {
    let tpm = &report.attestation.evidence["tpm2"];
    let (quote, signature, log) = (bytes(&tpm["quote"]), bytes(&tpm["signature"]), bytes(&tpm["event_log"]));
    let registers = Registers::from_json(tpm["pcrs"].to_string().as_bytes())?;
    let evidence =
        Evidence { quote: &quote, signature: &signature, registers: Some(&registers), event_log: Some(&log) };
    let digests = authenticode::digests(image).expect("the image is a PE file");
    let images = [digests.sha256.as_slice(), digests.sha384.as_slice()];
    let boot = Boot { images: &images, document, firmware: Firmware::Standard, load_options: &[] };
    let key = AttestationKey::Pinned(ak).establish(Time::from_unix(0))?;
    let policy = Policy::embedded("standard").expect("the policy is built in");
    let nonce = qualifying_data(report, nonce);
    verify(evidence, key, Some(&nonce), Some(&boot), &policy, &Expected::nothing()).map(drop)
}

/// PCR 12 after exactly one measurement of the document.
fn measured(document: &[u8]) -> [(&'static str, Vec<u8>); 2] {
    let sha256 = Sha256::new().chain_update([0; 32]).chain_update(Sha256::digest(document)).finalize().to_vec();
    let sha384 = Sha384::new().chain_update([0; 48]).chain_update(Sha384::digest(document)).finalize().to_vec();
    [("sha256", sha256), ("sha384", sha384)]
}

#[test]
fn a_quote_proves_image_document_and_keys_and_nothing_else_is_accepted_for_it() {
    let model = program::tiny_model();
    let image = std::fs::read(program::image()).expect("the image is readable");
    let toml = document::for_model(&model, "").into_bytes();
    let machine = Machine::boot_with("tpm2", &model, &toml, &TPM);
    // The first one warms the machine's code up; an emulated processor takes a multiple of a real one's time.
    let fastest =
        (0..5).map(|byte| machine.report_in_time(&Nonce::from_bytes([byte; 32])).1).min().expect("five reports");
    assert!(fastest < Duration::from_secs(1), "evidence over a nonce took {fastest:?}");
    let log = machine.log();
    assert!(log.contains("lethe: stage platform platform=tpm2"), "{log}");
    assert!(log.lines().any(|line| line.contains("stage document") && line.contains("binding=pcr12")), "{log}");

    let nonce = Nonce::from_bytes([7; 32]);
    let report_one = machine.report(&nonce);
    assert_eq!(report_one.check(Some(&nonce)), Ok(()));
    assert_eq!(report_one.attestation.tee_type.name(), "tpm2");
    let evidence = &report_one.attestation.evidence;
    assert_eq!(evidence["document_binding"], "pcr12");
    assert_eq!(bytes(&evidence["document"]), toml, "the evidence carries the document's exact bytes");
    for (bank, value) in measured(&toml) {
        assert_eq!(bytes(&evidence["tpm2"]["pcrs"][bank]["12"]), value, "PCR 12 of {bank}");
        assert!(bytes(&evidence["tpm2"]["pcrs"][bank]["11"]).iter().all(|byte| *byte == 0));
    }
    let ak = bytes(&evidence["tpm2"]["ak"]);
    judge(&report_one, &ak, &nonce, &toml, &image).expect("the quote, its log and its document are accepted");

    // The same evidence for anything else is refused, each by its own rule.
    let refused = |result: Result<(), Refusal>| result.expect_err("it is refused").rule();
    let other = Nonce::from_bytes([8; 32]);
    assert_eq!(refused(judge(&report_one, &ak, &other, &toml, &image)), Rule::P4, "a replayed quote");
    let document = [toml.as_slice(), b"\n"].concat();
    assert_eq!(refused(judge(&report_one, &ak, &nonce, &document, &image)), Rule::P10, "another document");
    let mut changed = image.clone();
    *changed.last_mut().expect("it has bytes") ^= 1;
    assert_eq!(refused(judge(&report_one, &ak, &nonce, &toml, &changed)), Rule::P7, "another image");
    let mut swapped = report_one.clone();
    swapped.workload_keyset_digest = protocol::Sha256Digest([1; 32]);
    assert_eq!(refused(judge(&swapped, &ak, &nonce, &toml, &image)), Rule::P4, "another keyset");

    // A quote is made anew for each nonce, by the same key, while the machine is locked down.
    let report_two = machine.report(&other);
    assert_eq!(bytes(&report_two.attestation.evidence["tpm2"]["ak"]), ak);
    judge(&report_two, &ak, &other, &toml, &image).expect("the second quote is accepted");
    assert_ne!(report_two.attestation.evidence["tpm2"]["quote"], evidence["tpm2"]["quote"]);
}

#[test]
fn another_document_and_another_tpm_show() {
    let model = program::tiny_model();
    let image = std::fs::read(program::image()).expect("the image is readable");
    let toml = document::for_model(&model, "# another document\n").into_bytes();
    let machine = Machine::boot_with("tpm2-other", &model, &toml, &TPM);
    let nonce = Nonce::from_bytes([7; 32]);
    let report = machine.report(&nonce);
    let tpm = &report.attestation.evidence["tpm2"];
    let first = document::for_model(&model, "").into_bytes();
    for ((bank, value), (_, not)) in measured(&toml).into_iter().zip(measured(&first)) {
        assert_eq!(bytes(&tpm["pcrs"][bank]["12"]), value);
        assert_ne!(value, not);
    }
    let ak = bytes(&tpm["ak"]);
    judge(&report, &ak, &nonce, &toml, &image).expect("its own document is accepted");
    // A key of another TPM: a point of the same curve, its own generator.
    let mut stranger = ak.clone();
    let generator = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
                     4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
    let place = stranger.len() - 64;
    stranger[place..].copy_from_slice(&hex::decode(generator.replace(' ', "")).expect("hexadecimal text"));
    let refused = judge(&report, &stranger, &nonce, &toml, &image).expect_err("another key did not sign it");
    assert_eq!(refused.rule(), Rule::P3);
}
