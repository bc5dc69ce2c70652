//! Every TDX quote of the corpus gives the verdict and the fields of its manifest.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]
mod corpus;

use corpus::{Corpus, at, embedded};
use evidence::{
    Expected, Rule, Verdict,
    check::{Tdx, tdx, tdx_with_event_log},
};
use measurements::event_log::{Algorithm, EventType, Log};
use serde_json::Value;

/// The rules that an expectation's reason is about.
fn rules_of(reason: &str) -> &'static [Rule] {
    match reason {
        "TD debug attribute set" => &[Rule::T6],
        "collateral expired" => &[Rule::T2],
        "CRL stale at that time" | "PCK certificate not valid yet at that time" => &[Rule::T2],
        "root CA is not the Intel SGX root" => &[Rule::T2],
        "TEE type is SGX" => &[Rule::T1],
        reason if reason.starts_with("no TCB level matches") => &[Rule::T5],
        other => panic!("no rule for {other:?}"),
    }
}

/// The names of the collateral that an expectation is about: the one it names, or all that the item has.
fn collateral_of(item: &Value, expectation: &Value) -> Vec<Option<String>> {
    match expectation["collateral"].as_str() {
        None => vec![None],
        Some("any listed") => {
            let listed = item["expected"]
                .as_array()
                .expect("expectations")
                .iter()
                .filter_map(|other| other["collateral"].as_str());
            listed.filter(|name| *name != "any listed").map(|name| Some(name.to_owned())).collect()
        }
        Some(name) => vec![Some(name.to_owned())],
    }
}

#[test]
fn every_quote_has_its_verdict_and_fields() {
    let Some(corpus) = Corpus::open("TDX quotes") else { return };
    let (hardware, standard) = (embedded("hardware"), embedded("standard"));
    let mut verdicts = 0;
    for item in corpus.items("tdx-quote").chain(corpus.items("sgx-quote")) {
        let quote = corpus.file(item, "quote.bin").expect("a quote");
        for expectation in item["expected"].as_array().expect("expectations") {
            for name in collateral_of(item, expectation) {
                let collateral = name.map(|name| corpus.path(&format!("collateral/{name}/collateral.json")));
                let input = Tdx {
                    quote: &quote,
                    collateral: collateral.as_deref(),
                    policy: &hardware,
                    expected: &Expected::nothing(),
                    at: at(expectation),
                };
                let verdict = tdx(input);
                let context = format!("{}: {expectation}: {verdict:?}", item["id"]);
                let result = expectation["result"].as_str().expect("a result");
                if result == "reject" {
                    let rule = verdict.rule().unwrap_or_else(|| panic!("{context}"));
                    assert!(rules_of(expectation["reason"].as_str().unwrap()).contains(&rule), "{context}");
                    assert!(!tdx(Tdx { policy: &standard, ..input }).is_accepted(), "standard: {context}");
                } else {
                    check_accepted(item, expectation, &verdict, &context);
                    let up_to_date = result == "accept" && collateral.is_some();
                    assert_eq!(
                        tdx(Tdx { policy: &standard, ..input }).is_accepted(),
                        up_to_date,
                        "standard: {context}"
                    );
                }
                verdicts += 1;
            }
        }
    }
    assert!(verdicts >= 45, "the corpus has at least 45 verdicts about quotes: {verdicts}");
}

fn check_accepted(item: &Value, expectation: &Value, verdict: &Verdict, context: &str) {
    let Verdict::Accepted { claims } = verdict else { panic!("{context}") };
    for (name, value) in item["fields"].as_object().expect("fields") {
        assert_eq!(claims.get(name), Some(value), "{name} of {context}");
    }
    for name in ["pck_ca", "fmspc", "pceid", "sgx_comp_svn", "pcesvn", "sgx_type"] {
        assert_eq!(claims.get(name), item["checks"].get(name), "{name} of {context}");
    }
    let status = match expectation["result"].as_str().expect("a result") {
        "accept" => "UpToDate",
        "status OutOfDate" => "OutOfDate",
        "signature and chain valid; TCB status undetermined" => "undetermined",
        other => panic!("{other:?} of {context}"),
    };
    assert_eq!(claims["tcb_status"], status, "{context}");
    if let Some(tcb) = expectation.get("tcb_status") {
        assert_eq!(claims["tcb_status_platform"], tcb["platform"], "{context}");
        assert_eq!(claims["tcb_status_module"], tcb["module"], "{context}");
        assert_eq!(claims["tcb_level_date"], tcb["tcb_level_date"], "{context}");
        assert_eq!(claims["advisories"], tcb["advisories"], "{context}");
    }
}

#[test]
fn t9_an_event_dropped_added_or_moved_is_refused() {
    let Some(corpus) = Corpus::open("changed event logs of TDX") else { return };
    let hardware = embedded("hardware");
    for id in ["tdx-v4-gce-cos113-with-ccel", "tdx-v4-qemu-direct-with-ccel"] {
        let item = corpus.item(id);
        let (quote, log) = (corpus.file(item, "quote.bin").unwrap(), corpus.file(item, "ccel.bin").unwrap());
        let expected = Expected::nothing();
        let at = corpus::time("2026-11-21T00:00:00Z");
        let input = Tdx { quote: &quote, collateral: None, policy: &hardware, expected: &expected, at };
        let parsed = Log::parse(&log).expect("a log");
        let starts = parsed.events.iter().map(|event| event.offset).chain([parsed.end]);
        let starts: Vec<usize> = starts.map(|offset| usize::try_from(offset).unwrap()).collect();
        let (head, tail) = (&log[..starts[0]], &log[starts[starts.len() - 1]..]);
        let events: Vec<&[u8]> = starts.windows(2).map(|pair| &log[pair[0]..pair[1]]).collect();
        let judged = |events: &[&[u8]]| tdx_with_event_log(input, &[&[head][..], events, &[tail]].concat().concat());
        assert!(judged(&events).is_accepted(), "{id}: put together again");
        let mut moved = 0;
        for (index, event) in parsed.events.iter().enumerate() {
            if event.kind == EventType::NO_ACTION {
                continue;
            }
            let with = |change: &dyn Fn(&mut Vec<&[u8]>)| {
                let mut events = events.clone();
                change(&mut events);
                judged(&events).rule()
            };
            assert_eq!(with(&|events| _ = events.remove(index)), Some(Rule::T9), "{id}: {index} dropped");
            assert_eq!(with(&|events| events.insert(index, events[index])), Some(Rule::T9), "{id}: {index} twice");
            let next = parsed.events.iter().enumerate().skip(index + 1).find(|(_, other)| {
                other.register == event.register && other.digest(Algorithm::Sha384) != event.digest(Algorithm::Sha384)
            });
            if let Some((next, _)) = next {
                assert_eq!(with(&|events| events.swap(index, next)), Some(Rule::T9), "{id}: {index} and {next} moved");
                moved += 1;
            }
        }
        assert!(moved > 10, "{id}: {moved}");
    }
}

#[test]
fn the_event_log_of_a_quote_replays_and_that_of_another_boot_is_refused() {
    let Some(corpus) = Corpus::open("event logs of TDX") else { return };
    let hardware = embedded("hardware");
    let mut refused = 0;
    for id in ["tdx-v4-gce-cos113-with-ccel", "tdx-v4-qemu-direct-with-ccel"] {
        let item = corpus.item(id);
        let file = |name: &str| corpus.file(item, name);
        let quote = file("quote.bin").expect("a quote");
        let input = Tdx {
            quote: &quote,
            collateral: None,
            policy: &hardware,
            expected: &Expected::nothing(),
            at: corpus::time("2026-11-21T00:00:00Z"),
        };
        let log = file("ccel.bin").expect("a log");
        let verdict = tdx_with_event_log(input, &log);
        let Verdict::Accepted { claims } = &verdict else { panic!("{id}: {verdict:?}") };
        assert_eq!(claims["event_log"], "replayed");
        assert_eq!(tdx_with_event_log(input, &[]).rule(), Some(Rule::T9), "{id}: no log");
        assert_eq!(tdx_with_event_log(input, &log[..1000]).rule(), Some(Rule::T9), "{id}: half of a log");
        if let Some(other) = file("ccel_other_boot.bin") {
            assert_eq!(tdx_with_event_log(input, &other).rule(), Some(Rule::T9), "{id}: another boot");
            refused += 1;
        }
    }
    assert_eq!(refused, 1);
}

#[test]
fn t15_rtmr0_of_real_machines_has_known_events_alone() {
    let Some(corpus) = Corpus::open("boots of TDX") else { return };
    let (hardware, expected) = (embedded("hardware"), Expected::nothing());
    // Both boots break a later rule: another image after events of RTMR0 that are all known.
    for id in ["tdx-v4-gce-cos113-with-ccel", "tdx-v4-qemu-direct-with-ccel"] {
        let item = corpus.item(id);
        let (quote, log) = (corpus.file(item, "quote.bin").unwrap(), corpus.file(item, "ccel.bin").unwrap());
        let evidence = evidence::tdx::Evidence { quote: &quote, collateral: None };
        let at = corpus::time("2026-11-21T00:00:00Z");
        let verified = evidence::tdx::verify(evidence, &hardware, &expected, at).expect("a quote");
        assert_eq!(verified.machine(), evidence::Known::Undetermined);
        let parsed = Log::parse(&log).expect("a log");
        let started = parsed.events.iter().filter(|event| event.kind == EventType::EFI_BOOT_SERVICES_APPLICATION);
        let images: Vec<&[u8]> = started.filter_map(|event| event.digest(Algorithm::Sha384)).collect();
        for images in [&images[..], &[]] {
            assert_eq!(verified.judge_image(&log, images).expect_err(id).rule(), Rule::T9, "{id}");
        }
    }
}
