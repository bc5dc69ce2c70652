//! A live appliance with a TPM: verified before the first byte of a question, and again when its keys change.

use lethe::{
    appliance::{Appliance, Options},
    attestation::{AttestationKeys, Outcome, Reference, References, Subject},
    chat::{Message, Question, Role},
    error::{Error, Refusal},
    proxy::Gate,
};
use measurements::release::{Digest, MANIFEST, Part, Release};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{bytes, signer::Tpm};
use crate::{
    fake::{Fake, Lie},
    releases::{Signer, note, release},
    reply::Reply,
};

/// An appliance with a TPM, and options of a user who knows all of it.
async fn start() -> (Fake, Options) {
    let fake = Fake::start(vec![Reply::Whole("hi")]).await;
    let tpm = Tpm::new();
    let mut options = fake.options();
    options.trust.allow_no_tee = false;
    options.trust.attestation_key = AttestationKeys::Pinned(tpm.ak());
    let reference = Reference::read(&bytes("manifest.json"), "manifest.json", &[], None).unwrap();
    options.trust.references = References::new(vec![reference]);
    options.trust.document = Some(Sha256::digest(bytes("document.toml")).into());
    fake.state.have_tpm(tpm);
    (fake, options)
}

async fn refusal(options: &Options) -> Refusal {
    match Appliance::open(options).await {
        Err(Error::Refused(refusal)) => refusal,
        Err(other) => panic!("another error: {other:?}"),
        Ok(_) => panic!("accepted"),
    }
}

fn question() -> Question {
    Question {
        model: "test/model".to_owned(),
        messages: vec![Message { role: Role::User, content: "Hello?".to_owned() }],
        max_tokens: None,
        temperature: None,
        seed: None,
    }
}

fn attestations(fake: &Fake) -> usize {
    let asked = fake.state.asked.lock().unwrap();
    asked.iter().filter(|asked| asked.path.starts_with("/v1/aci/attestation")).count()
}

#[tokio::test]
async fn an_appliance_that_proves_everything_is_accepted_without_any_flag() {
    let (fake, options) = start().await;
    let appliance = Appliance::open(&options).await.unwrap();
    assert!(appliance.verified().is_proven_by_hardware());
    assert!(appliance.verified().labels().iter().all(|label| label.outcome == Outcome::Accepted));
    assert_eq!(appliance.answer(&question()).await.unwrap().0, "hi");
    assert_eq!(fake.state.questions().len(), 1);
}

#[tokio::test]
async fn whoever_proves_less_gets_no_question() {
    let (fake, options) = start().await;
    let mut stranger = options.clone();
    stranger.trust.attestation_key = AttestationKeys::Nobody;
    assert!(matches!(refusal(&stranger).await, Refusal::NotProven { subject: Subject::Hardware, .. }));
    let mut unknown = options.clone();
    unknown.trust.references = References::default();
    assert!(matches!(refusal(&unknown).await, Refusal::NotProven { subject: Subject::Image, .. }));
    let mut other = options.clone();
    other.trust.document = Some([0; 32]);
    assert!(matches!(refusal(&other).await, Refusal::Contradicted { subject: Subject::Configuration, .. }));
    // A quote that was made for somebody else's question, in a report that says it is for ours.
    let mut tpm = Tpm::new();
    tpm.stuck = Some([7; 32]);
    fake.state.have_tpm(tpm);
    assert!(matches!(refusal(&options).await, Refusal::NotBound(_)));
    fake.state.have_tpm(Tpm::new());
    for (lie, expected) in [
        (Lie::Replay("5a".repeat(32)), Refusal::ReportData),
        (Lie::OtherSpki, Refusal::TlsKeyNotInKeyset),
        (Lie::OtherDigest, Refusal::KeysetDigest),
    ] {
        fake.lie(lie);
        assert_eq!(refusal(&options).await, expected);
    }
    // Platform `none` does not become acceptable because more was asked of it.
    fake.lie(Lie::None);
    *fake.state.platform.lock().unwrap() = "none".to_owned();
    assert_eq!(refusal(&options).await, Refusal::NoTee);
    let mut willing = options.clone();
    willing.trust.allow_no_tee = true;
    assert!(matches!(refusal(&willing).await, Refusal::Contradicted { subject: Subject::Hardware, .. }));
    assert!(fake.state.questions().is_empty());
}

#[tokio::test]
async fn a_document_for_another_image_is_refused_beside_this_one() {
    let (fake, mut options) = start().await;
    options.trust.document = None;
    let manifest = bytes("manifest.json");
    let digest = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
    let naming = |image: &str| format!("{}\n[image]\n{image}\n", String::from_utf8(bytes("document.toml")).unwrap());
    let spaced = [manifest.as_slice(), b"\n"].concat();
    let read = |bytes: &[u8]| Reference::read(bytes, "manifest.json", &[], None).unwrap();
    let (own, same_image) = (read(&manifest), read(&spaced));
    let has = |image: &str| Tpm::new().with_document(&naming(image));
    let good = format!("manifest_sha256 = \"{}\"", digest(&manifest));

    fake.state.have_tpm(has(""));
    assert!(Appliance::open(&options).await.is_ok(), "it goes with any image");
    fake.state.have_tpm(has(&good).say("image_manifest_sha256", digest(&manifest).into()));
    assert!(Appliance::open(&options).await.is_ok());
    // Any of the manifests that the user named, in any order.
    for references in [vec![own.clone(), same_image.clone()], vec![same_image.clone(), own.clone()]] {
        options.trust.references = References::new(references);
        assert!(Appliance::open(&options).await.is_ok());
    }
    options.trust.references = References::new(vec![same_image]);
    assert!(matches!(refusal(&options).await, Refusal::Contradicted { subject: Subject::Image, .. }));
    // A release names its manifest among its files, or does not.
    let signer = Signer::new(1);
    let image: Value = serde_json::from_slice(&manifest).unwrap();
    let mut made = release(serde_json::from_value(image["authenticode"].clone()).unwrap(), [1; 48]);
    let signed = |release: &Release| {
        vec![Reference::read(note(release, &[&signer]).as_bytes(), "note", &[signer.key()], None).unwrap()]
    };
    options.trust.references = References::new(signed(&made));
    assert!(matches!(refusal(&options).await, Refusal::Contradicted { subject: Subject::Image, .. }));
    let part = Part { sha256: Digest(Sha256::digest(&manifest).into()), size: manifest.len() as u64 };
    made.files.insert(MANIFEST.to_owned(), part);
    options.trust.references = References::new(signed(&made));
    assert!(Appliance::open(&options).await.is_ok());

    options.trust.references = References::new(vec![own]);
    for tpm in [
        has(&format!("manifest_sha256 = \"{}\"", digest(&spaced))),
        has(&format!("manifest_sha256 = [\"{}\"]", digest(&manifest))),
        has(&good).say("image_manifest_sha256", digest(&spaced).into()),
        has("").say("image_manifest_sha256", digest(&manifest).into()),
    ] {
        fake.state.have_tpm(tpm);
        assert!(matches!(refusal(&options).await, Refusal::Contradicted { subject: Subject::Image, .. }));
    }
    assert!(fake.state.questions().is_empty());
}

#[tokio::test]
async fn another_keyset_is_verified_before_the_next_question() {
    let (fake, options) = start().await;
    let appliance = Appliance::open(&options).await.unwrap();
    appliance.answer(&question()).await.unwrap();
    let before = appliance.verified().keyset_digest();
    fake.state.next_epoch();
    // The answer that brings the news is still one of the verified TLS key.
    appliance.answer(&question()).await.unwrap();
    assert!(appliance.is_outdated());
    let refused = appliance.answer(&question()).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::KeysetChanged))));
    assert_eq!((fake.state.questions().len(), attestations(&fake)), (2, 1));
    let appliance = appliance.renewed(&options).await.unwrap();
    assert_ne!(appliance.verified().keyset_digest(), before);
    appliance.answer(&question()).await.unwrap();
    assert!(!appliance.is_outdated());
    assert_eq!((fake.state.questions().len(), attestations(&fake)), (3, 2));
}

#[tokio::test]
async fn a_gate_verifies_another_keyset_by_itself_and_closes_where_it_is_not_proven() {
    let (fake, options) = start().await;
    let gate = Gate::open(options).await.unwrap();
    let ask = async || {
        let call = lethe::call::Call::post_json("/v1/chat/completions");
        gate.send(&call, "{}".into()).await.map(|answer| answer.status().as_u16())
    };
    assert_eq!(ask().await.unwrap(), 200);
    fake.state.next_epoch();
    assert_eq!(ask().await.unwrap(), 200);
    assert_eq!(attestations(&fake), 1);
    assert_eq!(ask().await.unwrap(), 200);
    assert_eq!(attestations(&fake), 2);

    // A new boot: hardware vouches for the new TLS key.
    fake.restart();
    assert_eq!(ask().await.unwrap(), 200);
    let asked = fake.state.questions().len();
    // And one for which it does not.
    let mut tpm = Tpm::new();
    tpm.stuck = Some([7; 32]);
    fake.state.have_tpm(tpm);
    fake.restart();
    assert!(matches!(ask().await, Err(Error::Refused(Refusal::NotBound(_)))));
    assert!(gate.is_refused() && !gate.is_open());
    // Nor for the keys of another epoch.
    fake.state.have_tpm(Tpm::new());
    assert_eq!(ask().await.unwrap(), 200);
    fake.state.next_epoch();
    assert_eq!(ask().await.unwrap(), 200);
    fake.lie(Lie::Replay("5a".repeat(32)));
    assert!(matches!(ask().await, Err(Error::Refused(Refusal::ReportData))));
    assert_eq!(fake.state.questions().len(), asked + 2, "no question went to keys that were not proven");
}

#[tokio::test]
async fn without_hardware_another_keyset_counts_under_the_same_tls_key_alone() {
    let fake = Fake::start(vec![Reply::Whole("hi")]).await;
    let options = fake.options();
    let appliance = Appliance::open(&options).await.unwrap();
    fake.state.next_epoch();
    appliance.answer(&question()).await.unwrap();
    assert!(appliance.is_outdated());
    assert!(appliance.renewed(&options).await.is_ok());
    fake.restart();
    assert!(matches!(appliance.renewed(&options).await.err(), Some(Error::Refused(Refusal::Pin(_)))));
}
