//! Certificates of an authority for the attested key: asked for, installed, renewed and refused while the server runs.

use std::process::Command;
use std::sync::Arc;

use deployment::{OperatorKey as Listed, Secrets};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use protocol::Sha256Digest;
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, PublicKeyData};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, ServerName};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::client::{begin, get, post, tls};
use crate::secrets::{change, operator, sealed_by, send};
use crate::server::{Server, Setup};

const NAME: &str = "llm.example";

fn setup() -> Setup {
    let secrets = Secrets { operator_keys: vec![Listed(operator(1).public())], required: false };
    Setup { secrets, names: vec![NAME.to_owned(), "192.0.2.7".to_owned()], ..Setup::default() }
}

/// A certificate authority.
struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, "Test authority");
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        Self { certificate, issuer: Issuer::new(parameters, key) }
    }

    /// The chain for a public key, as authorities hand it out.
    fn chain(&self, key: &impl PublicKeyData, serial: u64) -> String {
        let mut parameters = CertificateParams::new(vec![NAME.to_owned(), "localhost".to_owned()]).expect("names");
        parameters.serial_number = Some(serial.into());
        parameters.signed_by(key, &self.issuer).expect("a certificate").pem()
    }
}

/// The key of a request for a certificate.
struct Requested(Vec<u8>);

impl PublicKeyData for Requested {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// What a DER element holds, its whole, and what follows it.
fn element(der: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let (start, length) = match der[1] {
        short @ 0..=0x7f => (2, usize::from(short)),
        0x81 => (3, usize::from(der[2])),
        0x82 => (4, usize::from(der[2]) << 8 | usize::from(der[3])),
        other => panic!("a length of form {other}"),
    };
    let end = start + length;
    (&der[start..end], &der[..end], &der[end..])
}

/// The key that a request names, if the request is signed with it.
fn proven(pem: &str) -> Requested {
    let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).expect("a request");
    let (body, _, rest) = element(&der);
    assert!(rest.is_empty());
    let (_, info, rest) = element(body);
    let (_, _, rest) = element(rest);
    let (signature, _, _) = element(rest);
    // P-256 in a SubjectPublicKeyInfo (RFC 5480)
    let spki = hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").expect("hex");
    let at = info.windows(spki.len()).position(|window| window == spki).expect("a key of P-256") + spki.len();
    let point = &info[at..at + 65];
    ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_ASN1, point)
        .verify(info, &signature[1..])
        .expect("signed with the key itself");
    for name in [NAME.as_bytes(), &[192, 0, 2, 7]] {
        assert!(info.windows(name.len()).any(|window| window == name));
    }
    Requested(point.to_vec())
}

async fn requested(server: &Server) -> Requested {
    let reply = server.get("/v1/operator/csr").await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "application/x-pem-file"));
    proven(std::str::from_utf8(&reply.body).expect("text"))
}

/// A request over a fresh connection of a client that trusts the authority alone; gives the certificate that it saw.
async fn asked(server: &Server, authority: &Authority, name: &'static str) -> Result<CertificateDer<'static>, String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificate.der().clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(server.address).await.expect("connected");
    let name = ServerName::try_from(name).expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| error.to_string())?;
    let seen = stream.get_ref().1.peer_certificates().expect("certificates")[0].clone().into_owned();
    assert_eq!(begin(stream, get("/health")).await.status(), 200);
    Ok(seen)
}

#[tokio::test]
async fn a_stock_client_trusts_a_chain_that_is_installed_and_renewed_while_the_server_runs() {
    let (server, authority) = (Server::start(setup()), Authority::new());
    let key = requested(&server).await;
    let spki = Sha256Digest::of(&key.subject_public_key_info()).0;
    let listed = || server.identity.published().keyset.tls_public_keys[0].spki_sha256;
    assert_eq!(spki, listed(), "the request is for the attested key");
    assert!(asked(&server, &authority, NAME).await.is_err(), "not before it is installed");

    let io = TokioIo::new(tls(&server, b"http/1.1").await);
    let (mut kept, connection) = hyper::client::conn::http1::handshake(io).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    let first = authority.chain(&key, 1);
    let reply = send(&server, &change(&[("TLS_CHAIN", &first)], &[]), 1).await;
    assert_eq!(reply.json(), json!({"counter": 1, "waiting": false, "names": ["TLS_CHAIN"]}));
    let seen = asked(&server, &authority, NAME).await.expect("trusted");
    assert_eq!(seen, CertificateDer::from_pem_slice(first.as_bytes()).expect("a certificate"));
    assert!(asked(&server, &authority, "other.example").await.is_err(), "another name");
    assert!(asked(&server, &Authority::new(), NAME).await.is_err(), "another authority");
    let open = kept.send_request(get("/health")).await.expect("an answer");
    assert_eq!(open.status(), 200, "an open connection goes on");
    open.into_body().collect().await.expect("the body");

    // renewal; intermediates behind it are passed on
    let second = authority.chain(&key, 2) + &authority.certificate.pem();
    assert_eq!(send(&server, &change(&[("TLS_CHAIN", &second)], &[]), 2).await.status, 200);
    assert_ne!(asked(&server, &authority, NAME).await.expect("trusted"), seen);
    assert_eq!(listed(), spki, "pins hold");
    let (port, root) = (server.address.port(), authority.certificate.pem());
    tokio::task::spawn_blocking(move || curl(port, &root)).await.expect("curl");
    assert_eq!(send(&server, &change(&[], &["TLS_CHAIN"]), 3).await.status, 200);
    assert!(asked(&server, &authority, NAME).await.is_err(), "its own certificate again");
    server.still_serves().await;
}

/// curl with nothing but `--cacert`.
fn curl(port: u16, root: &str) {
    let file = std::env::temp_dir().join(format!("lethe-ca-{}.pem", std::process::id()));
    std::fs::write(&file, root).expect("written");
    let mut command = Command::new("curl");
    command
        .args([
            "-sS",
            "--max-time",
            "20",
            "--noproxy",
            "*",
            "--resolve",
            &format!("{NAME}:{port}:127.0.0.1"),
            "--cacert",
        ])
        .arg(&file);
    match command.arg(format!("https://{NAME}:{port}/health")).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(String::from_utf8_lossy(&output.stdout).contains("\"ready\":true"));
        }
        Err(error) => eprintln!("SKIPPED: curl with --cacert: {error}"),
    }
    let _ = std::fs::remove_file(file);
}

#[tokio::test]
async fn a_chain_for_another_key_or_of_another_form_is_refused_and_so_is_one_that_is_not_the_operators() {
    let (server, authority) = (Server::start(setup()), Authority::new());
    let key = requested(&server).await;
    let good = authority.chain(&key, 1);
    let other = authority.chain(&KeyPair::generate().expect("a key"), 1);
    let broken = good.replacen("MII", "MIA", 1);
    let nine = good.repeat(9);
    let behind = other.clone() + &good;
    let private = KeyPair::generate().expect("a key").serialize_pem();
    let cases = [&other, &behind, &broken, &nine, &private, &"-----BEGIN CERTIFICATE-----".to_owned(), &"x".to_owned()];
    for (counter, chain) in (1..).zip(cases) {
        let reply = send(&server, &change(&[("TLS_CHAIN", chain)], &[]), counter).await;
        assert_eq!(reply.error(), (400, "tls_chain".to_owned()), "{counter}");
    }
    let wanted = change(&[("TLS_CHAIN", &good)], &[]);
    let strangers = sealed_by(&server, &operator(9), &wanted, 20, 0);
    assert_eq!(server.send(post("/v1/operator/secrets", strangers)).await.error().1, "invalid_operator");
    assert_eq!(server.send(post("/v1/operator/secrets", good.clone())).await.error().1, "undecryptable", "unsigned");
    assert_eq!(send(&server, &wanted, 3).await.error(), (409, "rollback".to_owned()), "an older counter");
    assert!(asked(&server, &authority, NAME).await.is_err(), "nothing was installed");
    assert_eq!(send(&server, &wanted, 20).await.status, 200);
    assert!(asked(&server, &authority, NAME).await.is_ok());
}

#[tokio::test]
async fn a_request_has_the_names_that_are_asked_for_and_none_is_made_without_an_operator() {
    let server = Server::start(setup());
    let of = async |query: &str| server.get(&format!("/v1/operator/csr{query}")).await;
    assert_eq!(of("?names=a.example,b.example").await.status, 200);
    for query in [
        "?names=",
        "?names=a.example,",
        "?names=*.example",
        "?names=a%20b",
        &format!("?names={}", "a,".repeat(32) + "a"),
    ] {
        assert_eq!(of(query).await.error(), (400, "tls_names".to_owned()), "{query}");
    }
    assert_eq!(of("?name=a").await.error(), (400, "unknown_parameter".to_owned()));
    let nameless = Server::start(Setup { names: Vec::new(), ..setup() });
    assert_eq!(nameless.get("/v1/operator/csr").await.error(), (400, "tls_names".to_owned()));
    let closed = Server::say(&["a"]);
    assert_eq!(closed.get("/v1/operator/csr").await.error(), (404, "unknown_url".to_owned()));
}
