//! What is accepted and what is refused, each beside its twin.

use lethe::{
    appliance::{Appliance, attest},
    attestation::{AttestationKeys, Outcome, Subject},
    error::{Error, NetworkError, Refusal, ServerError},
    pin::SpkiPin,
    retry::RetryPolicy,
};

use crate::fake::{Fake, Lie, options};

async fn refusal(fake: &Fake) -> Refusal {
    match Appliance::open(&fake.options()).await {
        Err(Error::Refused(refusal)) => refusal,
        Err(other) => panic!("another error: {other:?}"),
        Ok(_) => panic!("accepted"),
    }
}

#[tokio::test]
async fn an_honest_appliance_is_accepted_when_no_tee_is_demanded() {
    let fake = Fake::start(vec![]).await;
    let appliance = Appliance::open(&fake.options()).await.unwrap();
    assert_eq!(appliance.verified().pin(), Some(fake.pin()));
    assert_eq!(appliance.verified().platform(), "none");
    assert!(!appliance.verified().is_proven_by_hardware());
    assert_eq!(appliance.models().await.unwrap(), ["test/model"]);
}

#[tokio::test]
async fn platform_none_is_refused_unless_allowed() {
    let fake = Fake::start(vec![]).await;
    let mut options = fake.options();
    options.trust.allow_no_tee = false;
    assert!(matches!(Appliance::open(&options).await.err(), Some(Error::Refused(Refusal::NoTee))));
    // Nothing but the report was asked for.
    assert!(fake.state.asked.lock().unwrap().iter().all(|asked| asked.path.starts_with("/v1/aci/attestation?nonce=")));
}

#[tokio::test]
async fn platform_none_is_refused_where_something_is_to_be_proven() {
    let fake = Fake::start(vec![]).await;
    let mut options = fake.options();
    options.trust.document = Some([7; 32]);
    let error = Appliance::open(&options).await.err();
    assert!(
        matches!(&error, Some(Error::Refused(Refusal::Contradicted { subject: Subject::Hardware, .. }))),
        "{error:?}"
    );
    options.trust.document = None;
    options.trust.attestation_key = AttestationKeys::Pinned(b"a key".to_vec());
    assert!(Appliance::open(&options).await.is_err());
}

#[tokio::test]
async fn evidence_that_cannot_be_judged_is_refused_even_when_no_tee_is_allowed() {
    let fake = Fake::start(vec![]).await;
    for platform in ["sev_snp", "tdx", "tpm2"] {
        *fake.state.platform.lock().unwrap() = platform.to_owned();
        assert_eq!(refusal(&fake).await, Refusal::NoEvidence(platform));
    }
    *fake.state.platform.lock().unwrap() = "of-the-future".to_owned();
    assert!(matches!(refusal(&fake).await, Refusal::Malformed(reason) if reason.contains("of-the-future")));
}

#[tokio::test]
async fn the_demanded_key_is_accepted_and_another_is_not() {
    let fake = Fake::start(vec![]).await;
    let mut options = fake.options();
    options.pin = Some(fake.pin());
    let attested = attest(&options, None).await.unwrap();
    assert_eq!(attested.examination.labels.outcome(Subject::Keys), Some(Outcome::Accepted));

    let asked = fake.state.asked.lock().unwrap().len();
    let other = SpkiPin::of_spki(b"another key");
    options.pin = Some(other);
    match Appliance::open(&options).await.err() {
        Some(Error::Refused(Refusal::Pin(mismatch))) => {
            assert_eq!((mismatch.expected, mismatch.seen), (other, fake.pin()));
        }
        error => panic!("{error:?}"),
    }
    assert_eq!(fake.state.asked.lock().unwrap().len(), asked, "nothing was sent to the other key");
}

#[tokio::test]
async fn the_certificate_without_its_key_is_not_enough() {
    let fake = Fake::start(vec![]).await;
    for pin in [None, Some(fake.pin())] {
        let mut options = fake.options();
        options.pin = pin;
        options.retry = RetryPolicy::once();
        assert!(Appliance::open(&options).await.is_ok());
    }
    let asked = fake.state.asked.lock().unwrap().len();
    fake.lose_key();
    for pin in [None, Some(fake.pin())] {
        let mut options = fake.options();
        options.pin = pin;
        options.retry = RetryPolicy::once();
        let error = Appliance::open(&options).await.err();
        assert!(matches!(error, Some(Error::Network(NetworkError::Handshake { .. }))), "{error:?}");
    }
    assert_eq!(fake.state.asked.lock().unwrap().len(), asked);
}

#[tokio::test]
async fn a_tls_key_that_is_not_in_the_keyset_is_refused() {
    let fake = Fake::start(vec![]).await;
    fake.lie(Lie::OtherSpki);
    assert_eq!(refusal(&fake).await, Refusal::TlsKeyNotInKeyset);
    fake.lie(Lie::OtherDomain);
    assert_eq!(refusal(&fake).await, Refusal::TlsKeyNotInKeyset);
    fake.lie(Lie::None);
    assert!(Appliance::open(&fake.options()).await.is_ok());
}

#[tokio::test]
async fn a_report_for_another_nonce_is_refused() {
    let fake = Fake::start(vec![]).await;
    let nonce = "5a".repeat(32);
    fake.lie(Lie::Replay(nonce.clone()));
    assert_eq!(refusal(&fake).await, Refusal::ReportData);
    // The same report is right for whoever asked with that nonce.
    let attested = attest(&fake.options(), protocol::Nonce::parse(&nonce).ok()).await.unwrap();
    assert!(attested.examination.verdict.is_ok());
}

#[tokio::test]
async fn reports_that_contradict_themselves_are_refused() {
    let fake = Fake::start(vec![]).await;
    for (lie, expected, subject) in [
        (Lie::OtherReportData, Refusal::ReportData, Subject::Freshness),
        (Lie::OtherDigest, Refusal::KeysetDigest, Subject::Keys),
        (Lie::OneKeyTwoRoles, Refusal::KeyReused, Subject::Keys),
    ] {
        fake.lie(lie);
        let attested = attest(&fake.options(), None).await.unwrap();
        assert_eq!(attested.examination.labels.outcome(subject), Some(Outcome::Refused));
        assert_eq!(attested.examination.verdict.err(), Some(expected));
    }
    fake.lie(Lie::Expired);
    assert!(matches!(refusal(&fake).await, Refusal::KeysetExpired { not_after: 1, .. }));
}

#[tokio::test]
async fn what_is_not_a_report_is_refused() {
    let fake = Fake::start(vec![]).await;
    for bytes in [b"".as_slice(), b"{}", b"[]", b"{\"api_version\":\"aci/1\"}"] {
        fake.lie(Lie::Bytes(bytes.to_vec()));
        assert!(matches!(refusal(&fake).await, Refusal::Malformed(_)));
    }
    fake.lie(Lie::Bytes(vec![b' '; lethe::attestation::MAX_REPORT_BYTES + 1]));
    let error = Appliance::open(&fake.options()).await.err();
    assert!(matches!(error, Some(Error::Server(ServerError::TooLarge { .. }))), "{error:?}");
}

#[tokio::test]
async fn every_request_has_a_nonce_of_its_own() {
    let fake = Fake::start(vec![]).await;
    for _ in 0..3 {
        attest(&fake.options(), None).await.unwrap();
    }
    let asked = fake.state.asked.lock().unwrap();
    let nonces: std::collections::HashSet<_> = asked.iter().map(|asked| asked.path.clone()).collect();
    assert_eq!(nonces.len(), 3);
}

#[tokio::test]
async fn a_key_that_changes_after_verification_is_refused() {
    let fake = Fake::start(vec![]).await;
    let appliance = Appliance::open(&fake.options()).await.unwrap();
    assert!(appliance.health().await.unwrap().ready);
    fake.restart();
    assert!(matches!(appliance.models().await, Err(Error::Refused(Refusal::Pin(_)))));
}

#[tokio::test]
async fn a_closed_port_is_a_network_error_and_is_waited_for_when_asked() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let late = tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        Fake::on(tokio::net::TcpListener::bind(address).await.unwrap(), vec![])
    });
    let mut options = options(&format!("https://{address}"));
    options.trust.allow_no_tee = true;
    options.retry = RetryPolicy::once();
    assert!(matches!(Appliance::open(&options).await.err(), Some(Error::Network(NetworkError::Connect { .. }))));
    options.retry.until = Some(tokio::time::Instant::now() + std::time::Duration::from_secs(20));
    assert!(Appliance::open(&options).await.is_ok());
    drop(late.await.unwrap());
}

#[tokio::test]
async fn a_port_behind_which_nobody_speaks_tls_is_waited_for_too() {
    // As a forwarded port of a machine that is still booting: it takes connections and closes them.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let late = tokio::spawn(async move {
        for _ in 0..3 {
            drop(listener.accept().await.unwrap());
        }
        Fake::on(listener, vec![])
    });
    let mut options = options(&format!("https://{address}"));
    options.trust.allow_no_tee = true;
    options.retry = RetryPolicy::once();
    assert!(matches!(Appliance::open(&options).await.err(), Some(Error::Network(NetworkError::Handshake { .. }))));
    options.retry.until = Some(tokio::time::Instant::now() + std::time::Duration::from_secs(20));
    assert!(Appliance::open(&options).await.is_ok());
    drop(late.await.unwrap());
}
