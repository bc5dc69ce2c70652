//! How long each check takes. Run it alone, on a quiet machine: `cargo test --release -p evidence --test timing -- --ignored --nocapture`.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]
mod corpus;

use std::time::{Duration, Instant};

use corpus::{Corpus, embedded, time};
use evidence::{
    Expected, Verdict,
    check::{Azure, SevSnp, Tdx, Tpm2, azure, sev_snp, tdx, tpm2},
    tpm::AttestationKey,
};

/// Prints the median of fifty runs; generous limits catch a check that has become slow by a factor.
fn measure(what: &str, limit: Duration, check: impl Fn() -> Verdict) {
    let mut times: Vec<Duration> = (0..50)
        .map(|_| {
            let start = Instant::now();
            assert!(check().is_accepted(), "{what}");
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("{what}: median {:?}, fastest {:?}", times[25], times[0]);
    assert!(times[0] < limit, "{what}: {:?}", times[0]);
}

#[test]
#[ignore = "prints times; means something on a quiet machine only"]
fn time_of_each_check() {
    let Some(corpus) = Corpus::open("the time of checks") else { return };
    let (policy, expected, now) = (embedded("hardware"), Expected::nothing(), time("2026-11-21T00:00:00Z"));
    let file = |id: &str, name: &str| corpus.file(corpus.item(id), name).unwrap();

    let (report, leaf) =
        (file("snp-milan-v3-oak-oc-release", "report.bin"), file("snp-milan-v3-oak-oc-release", "leaf.der"));
    let list = corpus.path("crl/amd-milan/crl.der");
    let snp = SevSnp {
        report: &report,
        vek: Some(&leaf),
        crls: &[&list],
        policy: &policy,
        expected: &expected,
        at: time("2026-01-15T00:00:00Z"),
    };
    measure("sev-snp, with revocation list", Duration::from_millis(20), || sev_snp(snp));

    let quote = file("tdx-v4-uptodate-b0c06f", "quote.bin");
    let collateral = corpus.path("collateral/b0c06f-2025-06/collateral.json");
    let with = Tdx {
        quote: &quote,
        collateral: Some(&collateral),
        policy: &policy,
        expected: &expected,
        at: time("2025-06-25T00:00:00Z"),
    };
    measure("tdx, with collateral", Duration::from_millis(60), || tdx(with));
    measure("tdx, without collateral", Duration::from_millis(60), || tdx(Tdx { collateral: None, ..with }));

    let google = |name: &str| file("tpm-gce-cos-85-nonce9009", name);
    let (quote, signature, key) = (google("quote_sha256.msg"), google("quote_sha256.sig"), google("ak_spki.der"));
    let (pcrs, log) = (google("pcrs_sha256.json"), google("eventlog.bin"));
    measure("tpm2, with event log", Duration::from_millis(20), || {
        tpm2(Tpm2 {
            quote: &quote,
            signature: &signature,
            ak: AttestationKey::Pinned(&key),
            nonce: None,
            pcrs: Some(&pcrs),
            event_log: Some(&log),
            boot: None,
            policy: &policy,
            expected: &expected,
            at: now,
        })
    });

    let machine = |name: &str| file("azure-snp-milan-a", name);
    let (hcl, vek) = (machine("hcl_report.bin"), machine("vcek.der"));
    let (quote, signature, pcrs) = (machine("tpm_quote.msg"), machine("tpm_quote.sig"), machine("pcrs.json"));
    measure("azure, sev-snp", Duration::from_millis(20), || {
        azure(Azure {
            hcl_report: &hcl,
            vek: Some(&vek),
            crls: &[],
            td_quote: None,
            collateral: None,
            quote: Some((&quote, &signature)),
            pcrs: Some(&pcrs),
            nonce: None,
            event_log: None,
            policy: &policy,
            expected: &expected,
            at: now,
        })
    });

    #[cfg(feature = "nvidia")]
    {
        use evidence::check::{Nvidia, nvidia};
        let (report, chain) = (file("gpu-h100-nvtrust", "report.bin"), file("gpu-h100-nvtrust", "chain.pem"));
        let input = Nvidia { report: &report, chain: &chain, nonce: None, rims: &[], expected: &expected, at: now };
        measure("nvidia", Duration::from_millis(40), || nvidia(input));
    }
}
