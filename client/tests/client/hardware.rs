//! Evidence of real processors inside of reports. It was made for other reports, so that keys and freshness are always refused
//! here; what is tested is which label everything else lands on.

use evidence::{Policy, Time};
use lethe::{
    attestation::{
        Channel, Endorsements, Examination, Expectation, NonceOrigin, Outcome, Reference, References, Subject, Trust,
        examine,
    },
    error::Refusal,
};
use measurements::release::{Banks, Digest};
use protocol::{Keyset, Nonce, report_data};
use serde_json::{Value, json};

use crate::{
    check::corpus::Corpus,
    releases::{Signer, note, release},
};

const NONCE: Nonce = Nonce::from_bytes([7; 32]);
const DOCUMENT: &[u8] = b"version = 1\n";

fn report(platform: &str, evidence: Value) -> Vec<u8> {
    let keyset = Keyset {
        subject: None,
        not_after: 253_402_300_799,
        receipt_signing_keys: vec![],
        e2ee_public_keys: vec![],
        tls_public_keys: vec![],
    };
    let digest = keyset.digest().unwrap();
    json!({
        "api_version": "aci/1",
        "workload_keyset_digest": digest,
        "attestation": {
            "tee_type": platform, "workload_keyset": keyset, "evidence": evidence, "source_provenance": {},
            "report_data": hex::encode(report_data(digest, Some(&NONCE))),
        },
        "service_capabilities": {"supported_e2ee_versions": [], "serving": "direct"},
    })
    .to_string()
    .into_bytes()
}

fn judge(report: &[u8], trust: &Trust, endorsements: &Endorsements, at: &str) -> Examination {
    let at = Time::parse(at).unwrap();
    let expected = Expectation { nonce: NONCE, origin: NonceOrigin::Ours, channel: Channel::Local, at };
    examine(report, &expected, trust, endorsements)
}

fn outcomes(examination: &Examination) -> [Outcome; 6] {
    Subject::ALL.map(|subject| examination.labels.outcome(subject).unwrap())
}

fn trust(policy: &str) -> Trust {
    Trust::new(Policy::embedded(policy).unwrap(), policy.to_owned())
}

/// A signed release whose first launch digest is this.
fn released(launch: [u8; 48]) -> References {
    let image = Banks { sha256: Digest([1; 32]), sha384: Digest([2; 48]) };
    let signer = Signer::new(1);
    let note = note(&release(image, launch), &[&signer]);
    References::new(vec![Reference::read(note.as_bytes(), "0.2.0.note", &[signer.key()], None).unwrap()])
}

use Outcome::{Accepted, NotProven, Refused};

#[test]
fn an_amd_report_lands_on_its_labels() {
    let Some(corpus) = Corpus::open("SEV-SNP evidence in reports") else { return };
    let item = corpus.item("snp-milan-v3-recomputable");
    let read = |name| std::fs::read(corpus.file(item, name).unwrap()).unwrap();
    let bytes = read("report.bin");
    let evidence = |bytes: &[u8]| json!({"sev_snp": {"report": hex::encode(bytes)}, "document": hex::encode(DOCUMENT), "document_binding": "host-data"});
    let endorsements = Endorsements { vek: Some(read("leaf.der")), ..Endorsements::default() };
    let (good, at) = (report("sev_snp", evidence(&bytes)), "2026-11-21T00:00:00Z");

    // Authentic, of an image that nobody named, started with another document, over other keys.
    let plain = judge(&good, &trust("hardware"), &endorsements, at);
    assert_eq!(outcomes(&plain), [Accepted, NotProven, Refused, NotProven, Refused, Refused], "{:?}", plain.labels);
    assert!(plain.verdict.is_err());
    assert_eq!(plain.claims["product"], "milan");

    let measurement: [u8; 48] =
        hex::decode(item["fields"]["measurement"].as_str().unwrap()).unwrap().try_into().unwrap();
    let mut known = trust("hardware");
    known.references = released(measurement);
    assert_eq!(outcomes(&judge(&good, &known, &endorsements, at))[1], Accepted);
    known.references = released([3; 48]);
    assert_eq!(outcomes(&judge(&good, &known, &endorsements, at))[1], Refused);

    // The default policy knows better than to believe this processor; without its certificate nothing is known at all.
    let standard = judge(&good, &trust("standard"), &endorsements, at);
    assert_eq!(outcomes(&standard), [Refused, NotProven, NotProven, NotProven, NotProven, NotProven]);
    let alone = judge(&good, &trust("hardware"), &Endorsements::default(), at);
    assert!(matches!(&alone.verdict, Err(Refusal::Evidence(refusal)) if refusal.rule().name() == "S3"));
    let mut forged = bytes;
    forged[0x90] ^= 1;
    let forged = judge(&report("sev_snp", evidence(&forged)), &known, &endorsements, at);
    assert!(matches!(&forged.verdict, Err(Refusal::Evidence(refusal)) if refusal.rule().name() == "S5"));
    assert!(forged.claims.is_empty(), "nothing is claimed of a forgery");
}

#[test]
fn an_amd_certificate_may_come_from_the_hosts_table() {
    let Some(corpus) = Corpus::open("certificate tables in reports") else { return };
    let item = corpus.item("snp-milan-v3-recomputable");
    let read = |name| std::fs::read(corpus.file(item, name).unwrap()).unwrap();
    let leaf = read("leaf.der");
    let mut table = hex::decode("63da758de6644564adc5f4b93be8accd").unwrap();
    table.extend(48_u32.to_le_bytes());
    table.extend(u32::try_from(leaf.len()).unwrap().to_le_bytes());
    table.extend([0; 24]);
    table.extend(&leaf);
    let bytes = read("report.bin");
    let with = |table: &[u8]| {
        let evidence = json!({"sev_snp": {"report": hex::encode(&bytes), "certificates": hex::encode(table)}});
        judge(&report("sev_snp", evidence), &trust("hardware"), &Endorsements::default(), "2026-11-21T00:00:00Z")
    };
    assert_eq!(outcomes(&with(&table))[0], Accepted);
    assert_eq!(outcomes(&with(&table[..60]))[0], Refused);
}

#[test]
fn an_intel_quote_lands_on_its_labels() {
    let Some(corpus) = Corpus::open("TDX evidence in reports") else { return };
    let item = corpus.item("tdx-v4-uptodate-b0c06f");
    let bytes = std::fs::read(corpus.file(item, "quote.bin").unwrap()).unwrap();
    let collateral = std::fs::read(corpus.path("collateral/b0c06f-2025-06/collateral.json")).unwrap();
    let endorsements = Endorsements { tdx: Some(collateral), ..Endorsements::default() };
    let evidence = |bytes: &[u8]| json!({"tdx": {"quote": hex::encode(bytes)}, "document": hex::encode(DOCUMENT)});
    let (good, then) = (report("tdx", evidence(&bytes)), "2025-06-25T00:00:00Z");

    let plain = judge(&good, &trust("standard"), &endorsements, then);
    assert_eq!(outcomes(&plain), [Accepted, NotProven, Refused, NotProven, Refused, Refused], "{:?}", plain.labels);
    assert_eq!(plain.claims["tcb_status"], "UpToDate");
    let late = judge(&good, &trust("standard"), &endorsements, "2026-11-21T00:00:00Z");
    assert_eq!(outcomes(&late)[0], Refused);
    let alone = judge(&good, &trust("standard"), &Endorsements::default(), then);
    assert!(matches!(&alone.verdict, Err(Refusal::Evidence(refusal)) if refusal.rule().name() == "T3"));
    let mut forged = bytes;
    forged[0x100] ^= 1;
    let forged = judge(&report("tdx", evidence(&forged)), &trust("standard"), &endorsements, then);
    assert_eq!(outcomes(&forged), [Refused, NotProven, NotProven, NotProven, NotProven, NotProven]);
}

#[test]
fn the_log_of_a_td_names_what_it_started() {
    let Some(corpus) = Corpus::open("boot logs of TDX in reports") else { return };
    let item = corpus.item("tdx-v4-gce-cos113-with-ccel");
    let read = |name| std::fs::read(corpus.file(item, name).unwrap()).unwrap();
    let evidence =
        json!({"tdx": {"quote": hex::encode(read("quote.bin")), "event_log": hex::encode(read("ccel.bin"))}});
    let mut trust = trust("hardware");
    trust.references = released([0; 48]);
    // Shim and GRUB: neither is the image.
    let judged = judge(&report("tdx", evidence), &trust, &Endorsements::default(), "2026-11-21T00:00:00Z");
    assert_eq!(outcomes(&judged)[..2], [Accepted, Refused], "{:?}", judged.labels);
    assert!(matches!(&judged.verdict, Err(Refusal::NotBound(_) | Refusal::Evidence(_))));
}
