//! Vendors' services, in this process, with bytes that the real ones signed: asked for the right things, cached, and checked
//! like everything else. Nothing here was run against the real services.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use evidence::{
    Expected, Policy, Time,
    check::{self, SevSnp, Tdx},
};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use lethe::{
    attestation::Endorsements,
    collateral::{Cache, CollateralError, Library, Service},
};
use rustls::{RootCertStore, ServerConfig, pki_types::PrivatePkcs8KeyDer};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::check::corpus::Corpus;

/// An answer: a header, if one is needed, and the body.
type Answer = (Option<(&'static str, String)>, Vec<u8>);

/// A vendor's service with answers by path, and what it was asked.
struct Vendor {
    library: Library,
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    folder: TempDir,
}

impl Vendor {
    async fn start(answers: HashMap<String, Answer>) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answers, noted) = (Arc::new(answers), asked.clone());
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, answers, noted) = (acceptor.clone(), answers.clone(), noted.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(|request: Request<Incoming>| {
                        let path = request.uri().to_string();
                        noted.lock().unwrap().push(path.clone());
                        let answer = answers.get(&path).cloned();
                        async move { Ok::<_, std::convert::Infallible>(response(answer)) }
                    });
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        let roots = Arc::new(roots);
        let service = |name| Service::new(name, &format!("https://localhost:{port}"), roots.clone()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let library = Library {
            amd: service("AMD"),
            intel: service("Intel"),
            intel_certificates: service("Intel"),
            cache: Some(Cache::at(folder.path().to_owned())),
            online: true,
        };
        Self { library, port, asked, folder }
    }

    fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// The same service as of a user who has never asked it.
    fn without_cache(&self) -> Library {
        Library { cache: None, ..self.library.clone() }
    }
}

fn response(answer: Option<Answer>) -> Response<Full<Bytes>> {
    let Some((header, body)) = answer else {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    if let Some((name, value)) = header {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

fn at(text: &str) -> Time {
    Time::parse(text).unwrap()
}

#[tokio::test]
async fn amds_certificate_and_list_are_fetched_once_and_verify_the_report() {
    let Some(corpus) = Corpus::open("fetching from AMD") else { return };
    let item = corpus.item("snp-milan-v3-oak-oc-release");
    let read = |name| std::fs::read(corpus.file(item, name).unwrap()).unwrap();
    let (report, leaf) = (read("report.bin"), read("leaf.der"));
    let crl = std::fs::read(corpus.path("crl/amd-milan/crl.der")).unwrap();
    let chip = item["fields"]["chip_id"].as_str().unwrap();
    let certificate = format!("/vcek/v1/Milan/{chip}?blSPL=04&teeSPL=00&snpSPL=24&ucodeSPL=219");
    let vendor = Vendor::start(HashMap::from([
        (certificate.clone(), (None, leaf.clone())),
        ("/vcek/v1/Milan/crl".to_owned(), (None, crl.clone())),
    ]))
    .await;
    let mut problems = Vec::new();
    let found = vendor.library.sev_snp(&report, Endorsements::default(), false, &mut problems).await;
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!((found.vek.as_deref(), found.crls.as_slice()), (Some(leaf.as_slice()), [crl].as_slice()));
    assert_eq!(vendor.asked(), [certificate, "/vcek/v1/Milan/crl".to_owned()]);
    let policy = Policy::embedded("hardware").unwrap();
    let expected = Expected::nothing();
    let input = SevSnp {
        report: &report,
        vek: found.vek.as_deref(),
        crls: &[&found.crls[0]],
        policy: &policy,
        expected: &expected,
        at: at("2025-11-01T00:00:00Z"),
    };
    let verdict = check::sev_snp(input);
    assert!(verdict.is_accepted(), "{verdict:?}");

    // From the cache, online and offline; what the user gave is not asked for.
    for online in [true, false] {
        let library = Library { online, ..vendor.library.clone() };
        assert_eq!(library.sev_snp(&report, Endorsements::default(), false, &mut problems).await, found);
    }
    let given = Endorsements { crls: vec![vec![1]], ..Endorsements::default() };
    let own = vendor.without_cache().sev_snp(&report, given.clone(), true, &mut problems).await;
    assert_eq!(own, given);
    assert!(vendor.asked().is_empty());

    // A damaged cache is no better than a forged certificate.
    for file in std::fs::read_dir(vendor.folder.path()).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    let damaged = vendor.library.sev_snp(&report, Endorsements::default(), false, &mut problems).await;
    let verdict = check::sev_snp(SevSnp { vek: damaged.vek.as_deref(), crls: &[&damaged.crls[0]], ..input });
    assert!(!verdict.is_accepted());
}

#[tokio::test]
async fn intels_four_answers_become_the_collateral_that_verifies_the_quote() {
    let Some(corpus) = Corpus::open("fetching from Intel") else { return };
    let quote = std::fs::read(corpus.file(corpus.item("tdx-v4-uptodate-b0c06f"), "quote.bin").unwrap()).unwrap();
    let text = std::fs::read(corpus.path("collateral/b0c06f-2025-06/collateral.json")).unwrap();
    let whole: Value = serde_json::from_slice(&text).unwrap();
    let part = |name: &str| whole[name].as_str().unwrap().to_owned();
    let escaped = |name: &str| part(name).replace('\n', "%0A").replace(' ', "%20");
    let signed = |member: &str, text: &str| {
        format!("{{\"{member}\":{},\"signature\":\"{}\"}}", part(text), part(&format!("{text}_signature"))).into_bytes()
    };
    let crl = hex::decode(part("pck_crl")).unwrap();
    let answers: [(&str, Answer); 4] = [
        (
            "/tdx/certification/v4/tcb?fmspc=B0C06F000000",
            (Some(("TCB-Info-Issuer-Chain", escaped("tcb_info_issuer_chain"))), signed("tcbInfo", "tcb_info")),
        ),
        (
            "/tdx/certification/v4/qe/identity",
            (
                Some(("SGX-Enclave-Identity-Issuer-Chain", escaped("qe_identity_issuer_chain"))),
                signed("enclaveIdentity", "qe_identity"),
            ),
        ),
        (
            "/sgx/certification/v4/pckcrl?ca=platform&encoding=der",
            (Some(("SGX-PCK-CRL-Issuer-Chain", escaped("pck_crl_issuer_chain"))), crl),
        ),
        ("/IntelSGXRootCA.der", (None, hex::decode(part("root_ca_crl")).unwrap())),
    ];
    let answers: HashMap<String, Answer> = answers.map(|(path, answer)| (path.to_owned(), answer)).into();
    let vendor = Vendor::start(answers.clone()).await;
    let mut problems = Vec::new();
    let found = vendor.library.tdx(&quote, Endorsements::default(), &mut problems).await.tdx;
    assert!(problems.is_empty(), "{problems:?}");
    let policy = Policy::embedded("standard").unwrap();
    let expected = Expected::nothing();
    let input = Tdx {
        quote: &quote,
        collateral: found.as_deref(),
        policy: &policy,
        expected: &expected,
        at: at("2025-06-25T00:00:00Z"),
    };
    let verdict = check::tdx(input);
    assert!(verdict.is_accepted(), "{verdict:?}");
    assert!(!check::tdx(Tdx { at: at("2026-11-21T00:00:00Z"), ..input }).is_accepted(), "expired like any other");

    assert_eq!(vendor.asked().len(), 4);
    assert_eq!(vendor.library.tdx(&quote, Endorsements::default(), &mut problems).await.tdx, found);
    assert!(vendor.asked().is_empty(), "the second time it comes from the cache");

    // One answer missing, or without its chain: none of it is taken.
    for path in answers.keys() {
        let mut fewer = answers.clone();
        fewer.remove(path);
        let vendor = Vendor::start(fewer).await;
        let mut problems = Vec::new();
        assert_eq!(vendor.library.tdx(&quote, Endorsements::default(), &mut problems).await.tdx, None);
        assert!(matches!(problems[..], [CollateralError::Status { status: 404, .. }]), "{problems:?}");
    }
    let mut bare = answers;
    if let Some((header, _)) = bare.get_mut("/tdx/certification/v4/qe/identity") {
        *header = None;
    }
    let vendor = Vendor::start(bare).await;
    let mut problems = Vec::new();
    assert_eq!(vendor.library.tdx(&quote, Endorsements::default(), &mut problems).await.tdx, None);
    assert!(matches!(problems[..], [CollateralError::Form { .. }]), "{problems:?}");
}

#[tokio::test]
async fn nobody_is_asked_offline_and_a_service_of_another_name_is_not_believed() {
    let vendor = Vendor::start(HashMap::from([("/".to_owned(), (None, Vec::new()))])).await;
    let mut problems = Vec::new();
    let none = Endorsements::default();
    assert_eq!(vendor.library.sev_snp(b"no report", none.clone(), false, &mut problems).await, none);
    assert!(matches!(problems[..], [CollateralError::Evidence { .. }]), "{problems:?}");

    let Some(corpus) = Corpus::open("services of vendors offline") else { return };
    let report = std::fs::read(corpus.file(corpus.item("snp-siena-v5-genoa-root"), "report.bin").unwrap()).unwrap();
    let offline = Library { online: false, ..vendor.library.clone() };
    problems.clear();
    assert_eq!(offline.sev_snp(&report, none.clone(), false, &mut problems).await, none);
    assert!(problems.is_empty() && vendor.asked().is_empty());

    // A certificate that no authority of ours has signed.
    let other = Vendor::start(HashMap::new()).await;
    let stranger = Library { amd: other.library.amd.clone(), cache: None, ..vendor.library.clone() };
    let impostor = Library {
        amd: Service::new("AMD", &format!("https://{}", other.address()), lethe::collateral::web_roots()).unwrap(),
        ..stranger
    };
    assert_eq!(impostor.sev_snp(&report, none.clone(), false, &mut problems).await, none);
    assert!(matches!(problems[..], [CollateralError::Unreachable { .. }, CollateralError::Unreachable { .. }]));
    assert!(other.asked().is_empty(), "nothing is said to a service that is not who it should be");
}
