//! Every NVIDIA report of the corpus gives the verdict and the fields of its manifest.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]
#![cfg(feature = "nvidia")]

mod corpus;

use corpus::{Corpus, at, negated, time};
use evidence::{
    Expected, Rule, Verdict,
    check::{Nvidia, nvidia},
    nvidia::{Evidence, verify_set},
};

#[test]
fn every_device_has_its_verdict_and_fields() {
    let Some(corpus) = Corpus::open("NVIDIA's reports") else { return };
    let mut devices = 0;
    for item in corpus.items("nvidia-gpu") {
        let (report, chain) = (corpus.file(item, "report.bin").unwrap(), corpus.file(item, "chain.pem").unwrap());
        let nonce = hex::decode(item["fields"]["nonce"].as_str().unwrap()).unwrap();
        for expectation in item["expected"].as_array().expect("expectations") {
            assert_eq!(expectation["result"], "accept");
            let expected = Expected::nothing();
            let input = Nvidia {
                report: &report,
                chain: &chain,
                nonce: Some(&nonce),
                rims: &[],
                expected: &expected,
                at: at(expectation),
            };
            let Verdict::Accepted { claims } = nvidia(input) else { panic!("{}: {:?}", item["id"], nvidia(input)) };
            for (name, value) in item["fields"].as_object().expect("fields") {
                assert_eq!(claims.get(name), Some(value), "{name} of {}", item["id"]);
            }
            assert_eq!(nvidia(Nvidia { nonce: Some(&[0; 32]), ..input }).rule(), Some(Rule::G1));
            let other = Expected::nothing().with("measurement1", &[1; 48]);
            assert_eq!(nvidia(Nvidia { expected: &other, ..input }).rule(), Some(Rule::G4));
            devices += 1;
        }
    }
    assert_eq!(devices, 10);
}

#[test]
fn the_devices_of_one_machine_share_a_nonce_and_none_stands_for_two() {
    let Some(corpus) = Corpus::open("a machine with several of NVIDIA's devices") else { return };
    let read = |id: &str| {
        let item = corpus.item(id);
        (corpus.file(item, "report.bin").unwrap(), corpus.file(item, "chain.pem").unwrap())
    };
    let nonce = hex::decode(corpus.item("gpu-hgx-gpu0")["fields"]["nonce"].as_str().unwrap()).unwrap();
    let machine: Vec<_> = ["gpu-hgx-gpu0", "gpu-hgx-gpu1", "gpu-hgx-gpu2", "gpu-hgx-switch0", "gpu-hgx-switch1"]
        .into_iter()
        .map(read)
        .collect();
    let mut set: Vec<Evidence<'_>> = machine.iter().map(|(report, chain)| Evidence { report, chain }).collect();
    let now = time("2026-11-21T00:00:00Z");
    assert_eq!(verify_set(&set, &nonce, now).expect("one machine").len(), 5);
    assert_eq!(verify_set(&[], &nonce, now).expect_err("nothing").rule(), Rule::G1);

    let other = read("gpu-h100-nvtrust");
    set.push(Evidence { report: &other.0, chain: &other.1 });
    assert_eq!(verify_set(&set, &nonce, now).expect_err("another nonce").rule(), Rule::G1);
    set.pop();
    set.push(set[0]);
    assert_eq!(verify_set(&set, &nonce, now).expect_err("twice").rule(), Rule::G2);
    // The same chain in other bytes, the same signature with its other sign.
    let rewrapped = [b"\n", machine[0].1.as_slice(), b"\n"].concat();
    let mut signed = machine[0].0.clone();
    let s = signed.len() - 48;
    let n = "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973";
    let negated = negated(&hex::decode(n).unwrap(), &signed[s..]);
    signed[s..].copy_from_slice(&negated);
    set[5] = Evidence { report: &signed, chain: &rewrapped };
    assert_eq!(verify_set(&set[5..], &nonce, now).expect("one device").len(), 1);
    assert_eq!(verify_set(&set, &nonce, now).expect_err("twice, in other bytes").rule(), Rule::G2);
    // A genuine report beside another device's chain.
    set.pop();
    set[0].chain = &machine[1].1;
    set.remove(1);
    assert_eq!(verify_set(&set, &nonce, now).expect_err("another chain").rule(), Rule::G3);
}
