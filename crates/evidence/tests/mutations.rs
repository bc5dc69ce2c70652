//! Authentic evidence with one changed byte is refused, wherever the byte is.
//!
//! Each structure that a signature covers is taken from the corpus and changed, in one bit or in all bits of a byte. With
//! `LETHE_THOROUGH` set every structure of every item is changed at every byte, or at 400 places and more where it is large
//! (about three minutes of one processor); without, that is done for the first item of each kind, and at 80 places for the
//! others.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]
mod corpus;

use corpus::{Corpus, at, embedded, policy_for, time};
use evidence::{
    Expected, Policy, Time, Verdict,
    check::{Azure, SevSnp, Tdx, Tpm2, azure, sev_snp, tdx, tpm2},
    tdx::{Collateral, Evidence, verify},
    tpm::AttestationKey,
};
use serde_json::Value;

/// Changes of one byte: its lowest bit, and all of its bits.
const CHANGES: [u8; 2] = [0x01, 0xff];

/// Places to change in a structure: every byte of a short one, about `limit` of a longer one, its first and last bytes
/// always among them.
fn places(length: usize, limit: usize) -> Vec<usize> {
    if length <= limit {
        return (0..length).collect();
    }
    // A stride that does not divide the length walks over all alignments.
    (0..limit).map(|number| number * (length - 1) / (limit - 1)).collect()
}

/// How many places of a structure are changed: all that the thorough run changes for the first item of a kind, a sample for
/// the others.
fn limit(thorough: usize, number: usize) -> usize {
    if number == 0 || std::env::var_os("LETHE_THOROUGH").is_some() { thorough } else { thorough.min(80) }
}

/// Every changed copy is refused; returns how many there were.
fn all_refused(what: &str, bytes: &[u8], limit: usize, verdict: impl Fn(&[u8]) -> Verdict) -> usize {
    assert!(verdict(bytes).is_accepted(), "{what}: {:?}", verdict(bytes));
    let mut changed = bytes.to_vec();
    let mut count = 0;
    for place in places(bytes.len(), limit) {
        let change = CHANGES[place % 2];
        changed[place] ^= change;
        assert!(!verdict(&changed).is_accepted(), "{what}: byte {place} changed by {change:#x} is accepted");
        changed[place] ^= change;
        count += 1;
    }
    count
}

/// Every prefix is refused.
fn no_prefix_accepted(what: &str, bytes: &[u8], verdict: impl Fn(&[u8]) -> Verdict) {
    for length in places(bytes.len(), limit(bytes.len(), 1)) {
        assert!(!verdict(&bytes[..length]).is_accepted(), "{what}: the first {length} bytes are accepted");
    }
}

#[test]
fn changed_sev_snp_reports_certificates_and_lists_are_refused() {
    let Some(corpus) = Corpus::open("changed SEV-SNP evidence") else { return };
    let milan_list = corpus.path("crl/amd-milan/crl.der");
    let mut items = 0;
    for item in corpus.items("snp-report") {
        let Some(expectation) = item["expected"].as_array().unwrap().iter().find(|each| each["result"] == "accept")
        else {
            continue;
        };
        let policy = policy_for(expectation["policy"].as_str().unwrap());
        let (report, leaf) = (corpus.file(item, "report.bin").unwrap(), corpus.file(item, "leaf.der").unwrap());
        let check = |report: &[u8], leaf: &[u8], crls: &[&[u8]], at: Time| {
            sev_snp(SevSnp { report, vek: Some(leaf), crls, policy: &policy, expected: &Expected::nothing(), at })
        };
        let (name, at) = (item["id"].as_str().unwrap(), at(expectation));
        all_refused(name, &report, limit(1184, items), |report| check(report, &leaf, &[], at));
        all_refused(name, &leaf, limit(1400, items), |leaf| check(&report, leaf, &[], at));
        no_prefix_accepted(name, &report, |report| check(report, &leaf, &[], at));
        no_prefix_accepted(name, &leaf, |leaf| check(&report, leaf, &[], at));
        if item["id"] == "snp-milan-v3-oak-oc-release" {
            let fresh = time("2026-01-15T00:00:00Z");
            all_refused("Milan's list", &milan_list, 1000, |list| check(&report, &leaf, &[list], fresh));
            no_prefix_accepted("Milan's list", &milan_list, |list| check(&report, &leaf, &[list], fresh));
        }
        items += 1;
    }
    assert!(items >= 8, "{items}");
}

/// Name, quote with its padding, length without it, collateral, time.
type Accepted<'a> = (&'a str, Vec<u8>, usize, Option<Collateral>, Time);

/// Quotes with the collateral under which they are accepted.
fn accepted_quotes(corpus: &Corpus) -> Vec<Accepted<'_>> {
    let mut quotes = Vec::new();
    for item in corpus.items("tdx-quote") {
        for expectation in item["expected"].as_array().unwrap() {
            let result = expectation["result"].as_str().unwrap();
            if result == "reject" || expectation["collateral"] == "90c06f-2026-03" {
                continue;
            }
            let collateral = expectation["collateral"].as_str().map(|name| {
                Collateral::from_json(&corpus.path(&format!("collateral/{name}/collateral.json"))).expect("collateral")
            });
            let length = usize::try_from(item["checks"]["quote_len_without_padding"].as_u64().unwrap()).unwrap();
            let quote = corpus.file(item, "quote.bin").unwrap();
            quotes.push((item["id"].as_str().unwrap(), quote, length, collateral, at(expectation)));
        }
    }
    quotes
}

#[test]
fn changed_tdx_quotes_are_refused() {
    let Some(corpus) = Corpus::open("changed TDX quotes") else { return };
    let policy = embedded("hardware");
    let quotes = accepted_quotes(&corpus);
    assert!(quotes.len() >= 6, "{}", quotes.len());
    for (number, (name, quote, length, _, at)) in quotes.iter().enumerate() {
        let check = |quote: &[u8]| {
            tdx(Tdx { quote, collateral: None, policy: &policy, expected: &Expected::nothing(), at: *at })
        };
        // One quote byte by byte; the others at many places.
        all_refused(name, &quote[..*length], limit(if number == 0 { usize::MAX } else { 500 }, number), check);
        no_prefix_accepted(name, &quote[..*length], check);
        let mut tailed = quote[..*length].to_vec();
        tailed.extend([0, 0, 1]);
        assert!(!check(&tailed).is_accepted(), "{name}: bytes behind the quote");
    }
}

#[test]
fn changed_collateral_is_refused() {
    let Some(corpus) = Corpus::open("changed collateral") else { return };
    let policy = embedded("hardware");
    let mut judged = 0;
    for (name, quote, _, collateral, at) in accepted_quotes(&corpus) {
        let Some(collateral) = collateral else { continue };
        let check = |collateral: &Collateral| {
            verify(Evidence { quote: &quote, collateral: Some(collateral) }, &policy, &Expected::nothing(), at).is_ok()
        };
        assert!(check(&collateral), "{name}");
        type Part = fn(&mut Collateral) -> &mut String;
        let hexadecimal: [Part; 4] = [
            |c| &mut c.root_ca_crl,
            |c| &mut c.pck_crl,
            |c| &mut c.tcb_info_signature,
            |c| &mut c.qe_identity_signature,
        ];
        let text: [Part; 5] = [
            |c| &mut c.tcb_info,
            |c| &mut c.qe_identity,
            |c| &mut c.pck_crl_issuer_chain,
            |c| &mut c.tcb_info_issuer_chain,
            |c| &mut c.qe_identity_issuer_chain,
        ];
        for (number, part) in hexadecimal.into_iter().chain(text).enumerate() {
            let mut changed = collateral.clone();
            let original = part(&mut changed).clone();
            let is_hexadecimal = number < hexadecimal.len();
            let bytes = if is_hexadecimal { hex::decode(&original).unwrap() } else { original.clone().into_bytes() };
            // Chains may end with a line end or without: what follows the last certificate is not signed.
            let signed = bytes.trim_ascii_end().len();
            let bytes = if is_hexadecimal { &bytes[..] } else { &bytes[..signed] };
            for place in places(bytes.len(), limit(400, judged)) {
                let mut altered = bytes.to_vec();
                altered[place] ^= 0x01;
                let altered = if is_hexadecimal { hex::encode(altered) } else { String::from_utf8(altered).unwrap() };
                *part(&mut changed) = altered;
                assert!(!check(&changed), "{name}: byte {place} of part {number} changed is accepted");
            }
        }
        judged += 1;
    }
    assert!(judged >= 4, "{judged}");
}

#[test]
fn changed_tpm_quotes_signatures_and_registers_are_refused() {
    let Some(corpus) = Corpus::open("changed TPM quotes") else { return };
    let policy = embedded("hardware");
    let item = corpus.item("tpm-gce-cos-85-nonce9009");
    let file = |name: &str| corpus.file(item, name).unwrap();
    let (key, at) = (file("ak_spki.der"), time("2026-11-21T00:00:00Z"));
    for bank in ["sha256", "sha384"] {
        let (quote, signature) = (file(&format!("quote_{bank}.msg")), file(&format!("quote_{bank}.sig")));
        let values: Value = serde_json::from_slice(&file(&format!("pcrs_{bank}.json"))).unwrap();
        let pcrs = values.to_string();
        let expected = Expected::nothing();
        let input = Tpm2 {
            quote: &quote,
            signature: &signature,
            ak: AttestationKey::Pinned(&key),
            nonce: None,
            pcrs: Some(pcrs.as_bytes()),
            event_log: None,
            boot: None,
            policy: &policy,
            expected: &expected,
            at,
        };
        all_refused("quote", &quote, usize::MAX, |quote| tpm2(Tpm2 { quote, ..input }));
        all_refused("signature", &signature, usize::MAX, |signature| tpm2(Tpm2 { signature, ..input }));
        no_prefix_accepted("quote", &quote, |quote| tpm2(Tpm2 { quote, ..input }));
        all_refused("key", &key, usize::MAX, |key| tpm2(Tpm2 { ak: AttestationKey::Pinned(key), ..input }));
        for index in 0..24 {
            let mut changed = values.clone();
            let value = &mut changed[index.to_string()];
            let mut bytes = hex::decode(value.as_str().unwrap()).unwrap();
            bytes[index % 20] ^= 1;
            *value = Value::String(hex::encode(bytes));
            let changed = changed.to_string();
            let verdict = tpm2(Tpm2 { pcrs: Some(changed.as_bytes()), ..input });
            assert_eq!(verdict.rule(), Some(evidence::Rule::P5), "PCR {index}");
        }
    }
}

#[test]
fn changed_azure_reports_are_refused() {
    let Some(corpus) = Corpus::open("changed Azure reports") else { return };
    let policy: Policy = embedded("hardware");
    let machines = corpus.items("azure-cvm").filter(|item| item["checks"].get("hcl_version").is_some());
    for (machine, item) in machines.enumerate() {
        let file = |name: &str| corpus.file(item, name);
        let (hcl_report, vek, td_quote) = (file("hcl_report.bin").unwrap(), file("vcek.der"), file("td_quote.bin"));
        let (quote, signature) = (file("tpm_quote.msg").unwrap(), file("tpm_quote.sig").unwrap());
        let (pcrs, expected) = (file("pcrs.json").unwrap(), Expected::nothing());
        let input = Azure {
            hcl_report: &hcl_report,
            vek: vek.as_deref(),
            crls: &[],
            td_quote: td_quote.as_deref(),
            collateral: None,
            quote: Some((&quote, &signature)),
            pcrs: Some(&pcrs),
            nonce: None,
            event_log: None,
            policy: &policy,
            expected: &expected,
            at: time("2026-11-21T00:00:00Z"),
        };
        let name = item["id"].as_str().unwrap();
        // A TD report is not signed itself: its quote repeats what counts of it, and the rest may change.
        let runtime = 32 + 1184;
        if td_quote.is_none() {
            all_refused(name, &hcl_report, limit(1300, machine), |hcl_report| azure(Azure { hcl_report, ..input }));
        }
        all_refused(name, &hcl_report[runtime..], limit(1300, machine), |tail| {
            let hcl_report = [&hcl_report[..runtime], tail].concat();
            azure(Azure { hcl_report: &hcl_report, ..input })
        });
        all_refused(name, &quote, limit(usize::MAX, machine), |quote| {
            azure(Azure { quote: Some((quote, &signature)), ..input })
        });
        all_refused(name, &signature, limit(usize::MAX, machine), |signature| {
            azure(Azure { quote: Some((&quote, signature)), ..input })
        });
    }
}

#[cfg(feature = "nvidia")]
#[test]
fn changed_nvidia_reports_and_chains_are_refused() {
    use base64::Engine as _;
    use evidence::check::{Nvidia, nvidia};

    let Some(corpus) = Corpus::open("changed NVIDIA reports") else { return };
    let base64 = base64::engine::general_purpose::STANDARD;
    for (number, item) in corpus.items("nvidia-gpu").enumerate() {
        let (report, chain) = (corpus.file(item, "report.bin").unwrap(), corpus.file(item, "chain.pem").unwrap());
        let trailing = usize::try_from(item["checks"]["trailing_bytes"].as_u64().unwrap()).unwrap();
        let signed = &report[..report.len() - trailing];
        let (name, expected) = (item["id"].as_str().unwrap(), Expected::nothing());
        let check = |report: &[u8], chain: &[u8]| {
            nvidia(Nvidia {
                report,
                chain,
                nonce: None,
                rims: &[],
                expected: &expected,
                at: time("2026-11-21T00:00:00Z"),
            })
        };
        all_refused(name, signed, limit(500, number), |report| check(report, &chain));
        no_prefix_accepted(name, signed, |report| check(report, &chain));
        let text = String::from_utf8(chain.clone()).unwrap();
        let certificates: Vec<Vec<u8>> = text
            .split("-----BEGIN CERTIFICATE-----")
            .skip(1)
            .map(|block| block.split("-----END").next().unwrap().split_whitespace().collect::<String>())
            .map(|body| base64.decode(body).unwrap())
            .collect();
        for index in 0..certificates.len() {
            all_refused(name, &certificates[index], limit(400, number), |changed| {
                let mut certificates = certificates.clone();
                certificates[index] = changed.to_vec();
                let block =
                    |der| format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", base64.encode(der));
                check(&report, certificates.iter().map(block).collect::<String>().as_bytes())
            });
        }
    }
}
