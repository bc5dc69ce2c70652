//! Every TPM quote, attestation key certificate and Azure machine of the corpus gives the verdict of its manifest.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]
mod corpus;

use corpus::{Corpus, at, policy_for, test_policy, time};
use evidence::{
    Expected, Policy, Rule, Verdict,
    check::{Azure, Tpm2, azure, tpm2},
    tpm::AttestationKey,
};
use serde_json::{Map, Value};

fn accepted(verdict: Verdict, context: &str) -> Map<String, Value> {
    match verdict {
        Verdict::Accepted { claims } => claims,
        Verdict::Refused(refusal) => panic!("{context}: {refusal}"),
    }
}

#[test]
fn google_quotes_are_accepted_in_every_bank_and_their_log_replays() {
    let Some(corpus) = Corpus::open("Google's TPM quotes") else { return };
    let item = corpus.item("tpm-gce-cos-85-nonce9009");
    let file = |name: &str| corpus.file(item, name).expect("a file");
    let (key, log) = (file("ak_spki.der"), file("eventlog.bin"));
    for expectation in item["expected"].as_array().expect("expectations") {
        let hardware = policy_for(expectation["policy"].as_str().unwrap());
        let sha1 = test_policy("sha1-bank");
        for bank in ["sha1", "sha256", "sha384"] {
            let policy: &Policy = if bank == "sha1" { &sha1 } else { &hardware };
            let (quote, signature) = (file(&format!("quote_{bank}.msg")), file(&format!("quote_{bank}.sig")));
            let pcrs = file(&format!("pcrs_{bank}.json"));
            let nonce = hex::decode(item["checks"]["quotes"][bank]["nonce_hex"].as_str().unwrap()).unwrap();
            let input = Tpm2 {
                quote: &quote,
                signature: &signature,
                ak: AttestationKey::Pinned(&key),
                nonce: Some(&nonce),
                pcrs: Some(&pcrs),
                event_log: Some(&log),
                boot: None,
                policy,
                expected: &Expected::nothing(),
                at: at(expectation),
            };
            let claims = accepted(tpm2(input), bank);
            assert_eq!(claims["event_log"], "replayed");
            let values: Value = serde_json::from_slice(&pcrs).unwrap();
            assert_eq!(claims["pcrs"][bank].as_object(), values.as_object(), "{bank}");
            assert_eq!(tpm2(Tpm2 { nonce: Some(&[0x90, 0x08]), ..input }).rule(), Some(Rule::P4));
            if bank == "sha1" {
                assert_eq!(tpm2(Tpm2 { policy: &hardware, ..input }).rule(), Some(Rule::P5));
            }
        }
    }
}

#[test]
fn a_quote_in_json_evidence_is_accepted_with_its_nonce() {
    let Some(corpus) = Corpus::open("the TPM quote of JSON evidence") else { return };
    let item = corpus.item("tpm-trustee-swtpm");
    let file = |name: &str| corpus.file(item, name).expect("a file");
    let (quote, signature, key) = (file("quote.msg"), file("quote.sig"), file("ak_spki.der"));
    let evidence: Value = serde_json::from_slice(&file("tpm_evidence.json")).unwrap();
    let pcrs = evidence["tpm_quote"]["pcrs"].to_string();
    let nonce = hex::decode(item["checks"]["nonce_hex"].as_str().unwrap()).unwrap();
    for expectation in item["expected"].as_array().expect("expectations") {
        let policy = policy_for(expectation["policy"].as_str().unwrap());
        let input = Tpm2 {
            quote: &quote,
            signature: &signature,
            ak: AttestationKey::Pinned(&key),
            nonce: Some(&nonce),
            pcrs: Some(pcrs.as_bytes()),
            event_log: None,
            boot: None,
            policy: &policy,
            expected: &Expected::nothing(),
            at: at(expectation),
        };
        let claims = accepted(tpm2(input), "trustee");
        assert_eq!(claims["nonce"], item["checks"]["nonce_hex"]);
        assert_eq!(claims["pcr_select"]["sha256"], item["checks"]["pcr_select"][0][1]);
    }
}

#[test]
fn attestation_key_certificates_chain_to_the_given_root_at_their_time() {
    let Some(corpus) = Corpus::open("attestation key certificates") else { return };
    let google = corpus.item("tpm-gce-ak-cert");
    let (leaf, intermediate) =
        (corpus.file(google, "ak.der").unwrap(), corpus.file(google, "intermediate.der").unwrap());
    let (google_root, azure_root) =
        (corpus.path("roots/gcp-vtpm/ek_ak_root.pem"), corpus.path("roots/azure-vtpm/root_2023.pem"));
    let establish = |roots: &[&[u8]], at: &str| {
        AttestationKey::Certified { certificate: &leaf, intermediates: &[&intermediate], roots }.establish(time(at))
    };
    let now = "2026-11-21T00:00:00Z";
    assert_eq!(establish(&[&google_root], now).expect("Google's chain").origin(), "certified");
    assert_eq!(establish(&[&azure_root], now).expect_err("another root").rule(), Rule::P2);
    assert_eq!(establish(&[], now).expect_err("no root").rule(), Rule::P2);
    assert_eq!(establish(&[&google_root], "2025-01-01T00:00:00Z").expect_err("too early").rule(), Rule::P2);

    let azure_item = corpus.item("tpm-azure-ak-certs");
    let intermediates =
        [corpus.path("roots/azure-vtpm/intermediate_01.pem"), corpus.path("roots/azure-vtpm/intermediate_03.pem")];
    let intermediates: Vec<&[u8]> = intermediates.iter().map(Vec::as_slice).collect();
    for expectation in azure_item["expected"].as_array().expect("expectations") {
        for name in ["ak_01.der", "ak_03.der"] {
            let certificate = corpus.file(azure_item, name).unwrap();
            let key = AttestationKey::Certified {
                certificate: &certificate,
                intermediates: &intermediates,
                roots: &[&azure_root],
            };
            let established = key.establish(at(expectation));
            assert_eq!(
                established.is_ok(),
                expectation["result"] == "accept",
                "{name} of {expectation}: {established:?}"
            );
        }
    }
}

/// Input for one of Azure's machines; borrowed parts live in `parts`.
struct Machine {
    hcl_report: Vec<u8>,
    vek: Option<Vec<u8>>,
    td_quote: Option<Vec<u8>>,
    quote: Option<(Vec<u8>, Vec<u8>)>,
    pcrs: Option<Vec<u8>>,
    nonce: Option<Vec<u8>>,
}

impl Machine {
    fn of(corpus: &Corpus, item: &Value) -> Self {
        let file = |name: &str| corpus.file(item, name);
        Self {
            hcl_report: file("hcl_report.bin").expect("a report"),
            vek: file("vcek.der"),
            td_quote: file("td_quote.bin").or_else(|| file("quote.bin")),
            quote: file("tpm_quote.msg").zip(file("tpm_quote.sig")),
            pcrs: file("pcrs.json"),
            nonce: item["checks"]["tpm_quote_nonce_hex"].as_str().map(|nonce| hex::decode(nonce).unwrap()),
        }
    }
}

#[test]
fn every_azure_machine_has_its_verdict_and_fields() {
    let Some(corpus) = Corpus::open("Azure's machines") else { return };
    let mut machines = 0;
    for item in corpus.items("azure-cvm") {
        let machine = Machine::of(&corpus, item);
        for expectation in item["expected"].as_array().expect("expectations") {
            let policy = policy_for(expectation["policy"].as_str().unwrap_or("any"));
            let collateral = expectation["collateral"].as_str();
            let collateral = collateral.map(|name| corpus.path(&format!("collateral/{name}/collateral.json")));
            let input = Azure {
                hcl_report: &machine.hcl_report,
                vek: machine.vek.as_deref(),
                crls: &[],
                td_quote: machine.td_quote.as_deref(),
                collateral: collateral.as_deref(),
                quote: machine.quote.as_ref().map(|(quote, signature)| (quote.as_slice(), signature.as_slice())),
                pcrs: machine.pcrs.as_deref(),
                nonce: machine.nonce.as_deref(),
                event_log: None,
                policy: &policy,
                expected: &Expected::nothing(),
                at: at(expectation),
            };
            let context = item["id"].to_string();
            assert_eq!(expectation["result"], "accept");
            let claims = accepted(azure(input), &context);
            for (name, value) in item["fields"].as_object().expect("fields") {
                assert_eq!(claims.get(name), Some(value), "{name} of {context}");
            }
            for name in ["hcl_version", "hw_report_kind", "runtime_claims"] {
                if let Some(value) = item["checks"].get(name) {
                    assert_eq!(claims.get(name), Some(value), "{name} of {context}");
                }
            }
            if let Some(nonce) = item["checks"].get("tpm_quote_nonce_hex") {
                assert_eq!(&claims["vtpm"]["nonce"], nonce, "{context}");
                let other = azure(Azure { nonce: Some(b"another"), ..input });
                assert_eq!(other.rule(), Some(Rule::P4), "{context}");
            }
            machines += 1;
        }
    }
    assert_eq!(machines, 6);
}
