//! An appliance in this process: a self-signed P-256 certificate, a keyset, reports, scripted answers.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use lethe::{appliance::Options, attestation::Trust, pin::SpkiPin};
use protocol::{
    KEYSET_DIGEST_HEADER, Keyset, Nonce, PublicKey, Sha256Digest, TlsKey, algorithm,
    hpke::{Kem, SecretKey},
    report_data,
    secrets::{SecretsKey, open},
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    sign::{CertifiedKey, SingleCertAndKey},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    task::AbortHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    gateway::Gateway,
    notary::Notary,
    reply::{AnswerBody, Reply, object},
    tpm2::signer::Tpm,
};

/// How the report lies, if it does.
#[derive(Clone)]
pub enum Lie {
    None,
    /// The keyset names another TLS key.
    OtherSpki,
    /// The report answers this nonce, whatever was asked.
    Replay(String),
    /// No evidence can be had.
    Unavailable,
    /// The connection is closed behind the report, and whoever answers the next one holds another key.
    SwapBehindReport,
    /// `report_data` is of nothing.
    OtherReportData,
    /// The stated digest is another keyset's.
    OtherDigest,
    /// The keyset ended in 1970.
    Expired,
    /// The TLS key belongs to another domain.
    OtherDomain,
    /// The receipt key is an E2EE key too.
    OneKeyTwoRoles,
    /// Not a report.
    Bytes(Vec<u8>),
}

/// What an appliance was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// What an appliance with operators knows.
pub struct Held {
    key: SecretsKey,
    operators: Vec<[u8; 32]>,
    pub counter: u64,
    pub values: BTreeMap<String, String>,
    pub required: bool,
}

impl Held {
    pub fn of(operator: [u8; 32]) -> Self {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).unwrap();
        let key = SecretsKey { kid: "sec-1".to_owned(), secret: SecretKey::derive(Kem::X25519, &seed) };
        Self { key, operators: vec![operator], counter: 0, values: BTreeMap::new(), required: false }
    }

    fn page(&self, names: bool) -> Value {
        let waiting = self.required && self.values.is_empty();
        let mut page = json!({"counter": self.counter, "waiting": waiting});
        if names {
            page["names"] = self.values.keys().cloned().collect();
        }
        page
    }

    fn take(&mut self, message: &[u8]) -> Response<AnswerBody> {
        let refused = |code, word: &str| {
            object(code, &json!({"error": {"message": word, "type": "invalid_request_error", "code": word}}))
        };
        match open(&[&self.key], &self.operators, self.counter, message) {
            Ok((change, counter)) => {
                self.counter = counter;
                for name in change.unset {
                    self.values.remove(&name);
                }
                self.values.extend(change.set.into_iter().map(|(name, value)| (name, value.to_string())));
                object(StatusCode::OK, &self.page(true))
            }
            Err(protocol::Refusal::Signature) => refused(StatusCode::UNAUTHORIZED, "invalid_operator"),
            Err(protocol::Refusal::Rollback) => refused(StatusCode::CONFLICT, "rollback"),
            Err(_) => refused(StatusCode::BAD_REQUEST, "undecryptable"),
        }
    }
}

pub struct State {
    pub held: Mutex<Option<Held>>,
    pub lie: Mutex<Lie>,
    pub platform: Mutex<String>,
    tpm: Mutex<Option<Tpm>>,
    epoch: AtomicU8,
    pub ready: AtomicBool,
    /// It does not answer its health checks.
    pub deaf: AtomicBool,
    /// Time that it thinks about a question.
    pub delay: Mutex<Duration>,
    /// Answers to questions, in order; the last one is repeated.
    pub replies: Mutex<VecDeque<Reply>>,
    pub asked: Mutex<Vec<Asked>>,
    pub heard_hang_up: Arc<AtomicBool>,
    /// Takes sealed requests, where there is one.
    pub gateway: Mutex<Option<Arc<Gateway>>>,
    /// Makes receipts, where there is one.
    pub notary: Mutex<Option<Arc<Notary>>>,
    pub connections: Mutex<Vec<AbortHandle>>,
    pin: Mutex<Option<SpkiPin>>,
    certificate: Mutex<Option<CertificateDer<'static>>>,
    config: Mutex<Option<Arc<ServerConfig>>>,
}

pub struct Fake {
    pub address: SocketAddr,
    pub state: Arc<State>,
    listening: AbortHandle,
}

impl State {
    fn new(replies: Vec<Reply>) -> Arc<Self> {
        Arc::new(Self {
            held: Mutex::default(),
            lie: Mutex::new(Lie::None),
            platform: Mutex::new("none".to_owned()),
            tpm: Mutex::default(),
            epoch: AtomicU8::new(3),
            ready: AtomicBool::new(true),
            deaf: AtomicBool::new(false),
            delay: Mutex::default(),
            replies: Mutex::new(replies.into()),
            asked: Mutex::default(),
            heard_hang_up: Arc::default(),
            gateway: Mutex::default(),
            notary: Mutex::default(),
            connections: Mutex::default(),
            pin: Mutex::default(),
            certificate: Mutex::default(),
            config: Mutex::default(),
        })
    }

    /// Makes a key, a certificate for it, and the server that shows the certificate and signs with the key.
    pub fn make_key(&self) {
        let key = self.make_certificate();
        self.sign_with(&key);
    }

    fn make_certificate(&self) -> rcgen::KeyPair {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        *self.pin.lock().unwrap() = Some(SpkiPin::of_spki(&rcgen::PublicKeyData::subject_public_key_info(&key)));
        *self.certificate.lock().unwrap() = Some(certificate.der().clone());
        key
    }

    /// The server shows its certificate and signs with this key, which may be another.
    fn sign_with(&self, key: &rcgen::KeyPair) {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let der = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let signer = provider.key_provider.load_private_key(der).unwrap();
        let chain = vec![self.certificate.lock().unwrap().clone().unwrap()];
        // `with_single_cert` would notice that certificate and key do not belong together.
        let resolver = SingleCertAndKey::from(CertifiedKey::new(chain, signer));
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        *self.config.lock().unwrap() = Some(Arc::new(config));
    }

    /// From now on it has this TPM.
    pub fn have_tpm(&self, tpm: Tpm) {
        *self.platform.lock().unwrap() = "tpm2".to_owned();
        *self.tpm.lock().unwrap() = Some(tpm);
    }

    /// From now on another end-to-end key is in the keyset.
    pub fn next_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    pub fn questions(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.path.starts_with("/v1/chat")).cloned().collect()
    }

    fn serve<S>(self: &Arc<Self>, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let state = self.clone();
        let task = tokio::spawn(async move {
            let service = service_fn(|request| {
                let state = state.clone();
                async move { state.answer(request).await }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        self.connections.lock().unwrap().push(task.abort_handle());
    }

    pub fn epoch(&self) -> u8 {
        self.epoch.load(Ordering::SeqCst)
    }

    pub fn platform(&self) -> String {
        self.platform.lock().unwrap().clone()
    }

    /// How often it was asked for a report.
    pub fn attested(&self) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.path.starts_with("/v1/aci/attestation")).count()
    }

    async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Result<Response<AnswerBody>, io::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes().to_vec();
        let path = head.uri.to_string();
        let gateway = self.gateway.lock().unwrap().clone();
        let answer = match (path.as_str(), gateway) {
            ("/.well-known/ohttp-gateway", Some(gateway)) if head.method == "POST" => {
                gateway.answer(self, head.headers, body).await
            }
            _ => self.respond(path, head.headers, body).await,
        };
        let mut answer = answer.ok_or_else(|| io::Error::other("hang up"))?;
        if matches!(*self.lie.lock().unwrap(), Lie::SwapBehindReport) {
            answer.headers_mut().insert("connection", "close".parse().unwrap());
            self.make_key();
        }
        Ok(answer)
    }

    /// Answers a request, however it came; `None` to hang up.
    pub async fn respond(
        self: &Arc<Self>,
        path: String,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Option<Response<AnswerBody>> {
        self.asked.lock().unwrap().push(Asked { path: path.clone(), headers: headers.clone(), body: body.clone() });
        if path.starts_with("/v1/chat") {
            let delay = *self.delay.lock().unwrap();
            tokio::time::sleep(delay).await;
        }
        if path == "/health" && self.deaf.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let not_found = || {
            let error = json!({"error": {"message": "no such route", "type": "not_found"}});
            Some(object(StatusCode::NOT_FOUND, &error))
        };
        let notary = self.notary.lock().unwrap().clone();
        let gateway = self.gateway.lock().unwrap().clone();
        let answer = match (path.split('?').next().unwrap(), notary, gateway) {
            ("/.well-known/ohttp-gateway", _, Some(gateway)) => Some(gateway.list(self.epoch())),
            (path, Some(notary), _) if path.starts_with("/v1/aci/receipts/") => {
                let receipt = notary.fetch(path.rsplit('/').next().unwrap(), &headers);
                receipt.map(|json| object(StatusCode::OK, &serde_json::from_str(&json).unwrap())).or_else(not_found)
            }
            ("/v1/aci/attestation", ..) => Some(self.report(path.rsplit('=').next().unwrap())),
            ("/v1/models", ..) => {
                Some(object(StatusCode::OK, &json!({"object": "list", "data": [{"id": "test/model"}]})))
            }
            ("/health", ..) => {
                let ready = self.ready.load(Ordering::SeqCst);
                let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                Some(object(status, &json!({"live": true, "ready": ready, "platform": "none"})))
            }
            ("/v1/operator/secrets", ..) => self.held.lock().unwrap().as_mut().map(|held| match body.is_empty() {
                true => object(StatusCode::OK, &held.page(false)),
                false => held.take(&body),
            }),
            ("/v1/operator/csr", ..) => self.held.lock().unwrap().is_some().then(|| {
                let text = format!("-----BEGIN CERTIFICATE REQUEST-----\n{path}\n-----END CERTIFICATE REQUEST-----\n");
                object(StatusCode::OK, &Value::Null)
                    .map(|_| http_body_util::Full::from(text).map_err(|never| match never {}).boxed_unsync())
            }),
            ("/v1/operator/seal", ..) => self.held.lock().unwrap().as_mut().map(|held| match held.take(&body) {
                taken if taken.status() != StatusCode::OK => taken,
                _ => object(StatusCode::OK, &json!("sealed")),
            }),
            ("/v1/chat/completions" | "/v1/files", notary, _) => {
                let answer = self.next_reply().answer(&self.heard_hang_up);
                match notary {
                    Some(notary) => answer.map(|answer| notary.witness(self, &path, &headers, &body, answer)),
                    None => answer,
                }
            }
            _ => not_found(),
        };
        let mut answer = answer?;
        let digest = self.keyset().digest().unwrap().to_string();
        answer.headers_mut().insert(KEYSET_DIGEST_HEADER, digest.parse().unwrap());
        Some(answer)
    }

    fn next_reply(&self) -> Reply {
        let mut replies = self.replies.lock().unwrap();
        if replies.len() > 1 { replies.pop_front().unwrap() } else { replies.front().unwrap().clone() }
    }

    fn report(&self, nonce: &str) -> Response<AnswerBody> {
        let lie = self.lie.lock().unwrap().clone();
        if matches!(lie, Lie::Unavailable) {
            return object(StatusCode::INTERNAL_SERVER_ERROR, &Value::Null);
        }
        let value = self.report_for(&lie, nonce);
        if let Lie::Bytes(bytes) = lie {
            let text = String::from_utf8(bytes).unwrap();
            return object(StatusCode::OK, &Value::Null)
                .map(|_| http_body_util::Full::from(text).map_err(|never| match never {}).boxed_unsync());
        }
        object(StatusCode::OK, &value)
    }

    pub fn keyset(&self) -> Keyset {
        let (lie, pin) = (self.lie.lock().unwrap().clone(), *self.pin.lock().unwrap());
        let spki_sha256 = match (&lie, pin) {
            (Lie::OtherSpki, _) | (_, None) => [0; 32],
            (_, Some(pin)) => *pin.as_bytes(),
        };
        let domain = matches!(lie, Lie::OtherDomain).then(|| "other.example".to_owned());
        let byte = if matches!(lie, Lie::OneKeyTwoRoles) { 2 } else { self.epoch.load(Ordering::SeqCst) };
        let mut e2ee_public_keys = vec![key("e2ee-1", "of-the-future", byte)];
        if let Some(held) = &*self.held.lock().unwrap() {
            e2ee_public_keys.push(PublicKey {
                key_id: held.key.kid.clone(),
                algo: algorithm::SECRETS.to_owned(),
                public_key: hex::encode(held.key.secret.public_key().as_bytes()),
            });
        }
        let gateway = self.gateway.lock().unwrap().clone();
        e2ee_public_keys.extend(gateway.iter().flat_map(|gateway| gateway.published(self.epoch())));
        let notary = self.notary.lock().unwrap().clone();
        let receipt_key = notary.map_or_else(|| key("receipt-1", "ed25519", 2), |notary| notary.public_key());
        Keyset {
            e2ee_public_keys,
            not_after: if matches!(lie, Lie::Expired) { 1 } else { 253_402_300_799 },
            receipt_signing_keys: vec![receipt_key],
            subject: None,
            tls_public_keys: if pin.is_some() { vec![TlsKey { domain, spki_sha256 }] } else { vec![] },
        }
    }

    fn report_for(&self, lie: &Lie, nonce: &str) -> Value {
        let keyset = self.keyset();
        let mut digest = keyset.digest().unwrap();
        let nonce = if let Lie::Replay(old) = lie { old } else { nonce };
        let mut data = report_data(digest, Some(&Nonce::parse(nonce).unwrap()));
        match lie {
            Lie::OtherReportData => data = [0xab; 32],
            Lie::OtherDigest => digest = Sha256Digest::of(b"another keyset"),
            _ => {}
        }
        let platform = self.platform.lock().unwrap().clone();
        let tpm = self.tpm.lock().unwrap();
        let evidence = tpm.as_ref().filter(|_| platform == "tpm2").map_or_else(|| json!({}), |tpm| tpm.evidence(&data));
        json!({
            "api_version": "aci/1",
            "workload_keyset_digest": digest,
            "attestation": {
                "tee_type": platform, "workload_keyset": keyset, "report_data": hex::encode(data),
                "source_provenance": {"repo_url": null}, "evidence": evidence,
            },
            "service_capabilities": {"supported_e2ee_versions": [], "serving": "direct", "of_the_future": true},
        })
    }
}

fn key(key_id: &str, algo: &str, byte: u8) -> PublicKey {
    PublicKey { key_id: key_id.to_owned(), algo: algo.to_owned(), public_key: hex::encode([byte; 32]) }
}

impl Fake {
    /// An appliance on a port of its own, with answers to questions.
    pub async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, replies)
    }

    pub fn on(listener: TcpListener, replies: Vec<Reply>) -> Self {
        let state = State::new(replies);
        state.make_key();
        let address = listener.local_addr().unwrap();
        let serving = state.clone();
        let listening = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let config = serving.config.lock().unwrap().clone().unwrap();
                let state = serving.clone();
                tokio::spawn(async move {
                    if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
                        state.serve(stream);
                    }
                });
            }
        })
        .abort_handle();
        Self { address, state, listening }
    }

    /// An appliance behind a UNIX socket.
    pub fn local(path: &Path, replies: Vec<Reply>) -> Arc<State> {
        let listener = UnixListener::bind(path).unwrap();
        let state = State::new(replies);
        let serving = state.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                serving.serve(stream);
            }
        });
        state
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub fn pin(&self) -> SpkiPin {
        self.state.pin.lock().unwrap().unwrap()
    }

    pub fn lie(&self, lie: Lie) {
        *self.state.lie.lock().unwrap() = lie;
    }

    /// As a restart does: new key, all connections closed.
    pub fn restart(&self) {
        self.state.make_key();
        for connection in self.state.connections.lock().unwrap().drain(..) {
            connection.abort();
        }
    }

    /// As a crash does: nobody listens any more, all connections closed.
    pub fn kill(&self) {
        self.listening.abort();
        for connection in self.state.connections.lock().unwrap().drain(..) {
            connection.abort();
        }
    }

    /// Its certificate in PEM form.
    pub fn certificate_pem(&self) -> String {
        let der = self.state.certificate.lock().unwrap().clone().unwrap();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der))
    }

    /// From now on it answers questions like this.
    pub fn reply(&self, reply: Reply) {
        *self.state.replies.lock().unwrap() = [reply].into();
    }

    /// How often it was asked a question.
    pub fn count(&self) -> usize {
        self.state.questions().len()
    }

    /// From now on the server has the certificate, which is public, but not its key.
    pub fn lose_key(&self) {
        self.state.sign_with(&rcgen::KeyPair::generate().unwrap());
    }

    /// From now on it takes sealed requests.
    pub fn seal(&self, gateway: Gateway) -> Arc<Gateway> {
        let gateway = Arc::new(gateway);
        *self.state.gateway.lock().unwrap() = Some(Arc::clone(&gateway));
        gateway
    }

    /// From now on it gives receipts.
    pub fn give_receipts(&self) -> Arc<Notary> {
        let notary = Arc::new(Notary::new());
        *self.state.notary.lock().unwrap() = Some(Arc::clone(&notary));
        notary
    }

    /// Options that accept platform `none` and retry quickly.
    pub fn options(&self) -> Options {
        let mut options = options(&self.url());
        options.trust.allow_no_tee = true;
        options.retry.first = Duration::from_millis(10);
        options.patience.silence = Duration::from_secs(10);
        options
    }
}

/// Options of the standard policy, with nothing that is trusted.
pub fn options(url: &str) -> Options {
    Options::new(url.parse().unwrap(), Trust::by_policy("standard").unwrap())
}

/// Waits until something holds, or gives up after ten seconds.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen");
}
