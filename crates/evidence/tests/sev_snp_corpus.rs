//! Every SEV-SNP report of the corpus gives the verdict and the fields of its manifest.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]
mod corpus;

use corpus::{Corpus, at, policy_for};
use evidence::{
    Expected, Rule, Verdict,
    check::{SevSnp, sev_snp},
};

/// The rule that an expectation's reason is about.
fn rule_of(reason: &str) -> Rule {
    match reason {
        "debug policy bit set" => Rule::S8,
        "vmpl 1" => Rule::S9,
        "VLEK signed" => Rule::S2,
        reason if reason.contains("expired") => Rule::S3,
        "no VCEK/VLEK endorsement" | "certificate not signed by any ASK/ASVK" => Rule::S3,
        other => panic!("no rule for {other:?}"),
    }
}

#[test]
fn every_report_has_its_verdict_and_fields() {
    let Some(corpus) = Corpus::open("SEV-SNP reports") else { return };
    let mut verdicts = 0;
    for item in corpus.items("snp-report") {
        let (report, leaf) = (corpus.file(item, "report.bin").expect("a report"), corpus.file(item, "leaf.der"));
        for expectation in item["expected"].as_array().expect("expectations") {
            let policy = policy_for(expectation["policy"].as_str().expect("a policy"));
            let input = SevSnp {
                report: &report,
                vek: leaf.as_deref(),
                crls: &[],
                policy: &policy,
                expected: &Expected::nothing(),
                at: at(expectation),
            };
            let verdict = sev_snp(input);
            let context = format!("{}: {expectation}: {verdict:?}", item["id"]);
            match expectation["result"].as_str() {
                Some("accept") => {
                    let Verdict::Accepted { claims } = &verdict else { panic!("{context}") };
                    for (name, value) in item["fields"].as_object().expect("fields") {
                        assert_eq!(claims.get(name), Some(value), "{name} of {context}");
                    }
                }
                Some("reject") => {
                    assert_eq!(verdict.rule(), Some(rule_of(expectation["reason"].as_str().unwrap())), "{context}")
                }
                other => panic!("{other:?} of {context}"),
            }
            verdicts += 1;
        }
    }
    assert!(verdicts >= 13, "the corpus has at least 13 verdicts about reports: {verdicts}");
}
