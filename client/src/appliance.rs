//! An appliance that has been verified, and the requests one can send to it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use evidence::Time;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use protocol::{Nonce, ohttp::KeyConfig};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    address::Address,
    attestation::{
        self, Bundle, Channel, Endorsements, Examination, Expectation, MAX_REPORT_BYTES, NonceOrigin, Trust, Verified,
        examine,
    },
    collateral::{CollateralError, Library},
    connection::{AnswerBody, Dialer, IdlePool, Patience, Peer, RequestBody},
    error::{Error, NetworkError, ServerError, UsageError},
    line::Line,
    pin::SpkiPin,
    receipts::Receipts,
    retry::RetryPolicy,
    sealed::{Gateway, Relay, Way, Wire, fetch_configs},
    terminal,
    token::Token,
};

/// Longest answers that are read whole, in bytes.
const MAX_ERROR_BYTES: usize = 64 * 1024;
const MAX_LIST_BYTES: usize = 1024 * 1024;

/// How to reach an appliance and what to demand of it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it is.
    pub address: Address,
    /// The TLS key it must have; `None`: the one it shows first.
    pub pin: Option<SpkiPin>,
    /// What is trusted and asked.
    pub trust: Trust,
    /// What vendors say about the platform, as far as the user has it.
    pub endorsements: Endorsements,
    /// Where the rest of that comes from; `None`: nowhere.
    pub library: Option<Library>,
    /// How long to wait for the network.
    pub patience: Patience,
    /// When to try again.
    pub retry: RetryPolicy,
    /// The bearer token to send.
    pub token: Option<Token>,
    /// What requests travel in.
    pub wire: Wire,
    /// Through whom sealed requests go; `None`: to the appliance itself. Attestation always goes to the appliance itself.
    pub relay: Option<Relay>,
    /// What is asked of receipts.
    pub receipts: Receipts,
}

impl Options {
    /// The defaults for an address: no pin, no token.
    #[must_use]
    pub fn new(address: Address, trust: Trust) -> Self {
        Self {
            address,
            pin: None,
            trust,
            endorsements: Endorsements::default(),
            library: None,
            patience: Patience::default(),
            retry: RetryPolicy::default(),
            token: None,
            wire: Wire::default(),
            relay: None,
            receipts: Receipts::default(),
        }
    }

    /// Under `--wait` the first attempts are short: a forwarded port takes connections before anything listens behind it.
    fn patience_of_attempt(&self, attempt: u32) -> Patience {
        let mut patience = self.patience;
        if self.retry.until.is_some() {
            patience.connect = patience.connect.min(Duration::from_secs(2) * (attempt + 1));
        }
        patience
    }
}

/// A report that came over a connection, and what was found in it.
pub struct Attested {
    /// The findings.
    pub examination: Examination,
    /// Who sent the report.
    pub peer: Peer,
    /// The report's bytes.
    pub report: Vec<u8>,
    /// What it had to match.
    pub expectation: Expectation,
    /// What vendors said about the platform.
    pub endorsements: Endorsements,
    /// Why some of that is missing.
    pub missing: Vec<CollateralError>,
    /// The gateway's list of keys, where requests may be sealed; nothing in it is believed for itself.
    pub(crate) gateway_keys: Vec<KeyConfig>,
    pub(crate) pool: Arc<IdlePool>,
}

/// Fetches a report, with the given nonce or a fresh one, and examines it. Beside that, the list of OHTTP keys is asked for where
/// requests will be sealed, and nothing else is sent.
///
/// # Errors
/// As the network and the server fail; [`Refusal::Pin`](crate::error::Refusal::Pin) if the server holds another key than the pinned one. A
/// refused report is not an error here: see [`Attested::examination`].
pub async fn attest(options: &Options, nonce: Option<Nonce>) -> Result<Attested, Error> {
    options.retry.run(|attempt| attest_once(options, nonce, options.patience_of_attempt(attempt))).await
}

async fn attest_once(options: &Options, nonce: Option<Nonce>, patience: Patience) -> Result<Attested, Error> {
    let nonce = match nonce {
        Some(nonce) => nonce,
        None => fresh_nonce().map_err(UsageError::Random)?,
    };
    let dialer = Dialer::new(options.address.clone(), options.pin, patience)?;
    let connection = dialer.dial().await?;
    let peer = connection.peer().clone();
    let pool = Arc::new(IdlePool::default());
    let call = Call::get(&format!("/v1/aci/attestation?nonce={nonce}"));
    let request = call.with_body(&options.address, whole(Bytes::new()))?;
    let answer = connection.exchange(request, patience.silence).await?;
    let mut body = accepted(answer.map(|body| body.returning_to(&pool).into())).await?;
    let report = body.collect_up_to("the attestation report", MAX_REPORT_BYTES).await?;
    let way = Way::new(dialer, Arc::clone(&pool));
    let gateway_keys = match seals(options, &report) {
        // A list that is none is like a list without a key of the keyset; the report is judged first.
        true => fetch_configs(&way).await.or_else(|error| match error {
            Error::Refused(_) => Ok(Vec::new()),
            other => Err(other),
        })?,
        false => Vec::new(),
    };
    let channel = channel_of(options, &peer);
    let expectation = Expectation { nonce, origin: NonceOrigin::Ours, channel, at: now() };
    let given = options.endorsements.clone();
    let (endorsements, missing) = match &options.library {
        Some(library) => library.complete(&report, given).await,
        None => (given, Vec::new()),
    };
    let examination = examine(&report, &expectation, &options.trust, &endorsements);
    Ok(Attested { examination, peer, report, expectation, endorsements, missing, gateway_keys, pool })
}

/// Whether requests will be sealed, should the report be accepted. The gateway's keys are asked for at once: with a relay, the
/// appliance then sees the client at no other time than this.
fn seals(options: &Options, report: &[u8]) -> bool {
    let offered =
        || attestation::parse(report).is_ok_and(|report| Gateway::is_offered(&report.attestation.workload_keyset));
    options.wire != Wire::Tls && offered()
}

fn fresh_nonce() -> Result<Nonce, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(Nonce::from_bytes(bytes))
}

fn channel_of(options: &Options, peer: &Peer) -> Channel {
    match (peer, &options.address) {
        (Peer::Tls { pin, .. }, Address::Https(endpoint)) => {
            Channel::Tls { host: endpoint.host().to_owned(), pin: *pin, demanded: options.pin.is_some() }
        }
        _ => Channel::Local,
    }
}

/// The clock of this machine.
#[must_use]
pub fn now() -> Time {
    // A clock before 1970 makes every certificate too young, so that everything is refused.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_unix(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

impl Attested {
    /// The appliance, if the report was accepted.
    ///
    /// # Errors
    /// The refusal.
    pub fn into_appliance(self, options: &Options) -> Result<Appliance, Error> {
        Ok(Appliance { line: Arc::new(Line::new(self, options)?) })
    }

    /// The report with all that its verdict rests on; nothing for a report that is no text.
    #[must_use]
    pub fn bundle(&self) -> Option<Bundle> {
        Bundle::new(&self.report, &self.expectation, &self.endorsements)
    }
}

/// One request, without its body and what belongs to the connection.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Headers beside `Host`, `Content-Length` and `Transfer-Encoding`.
    pub headers: HeaderMap,
}

/// The body of a request.
pub enum CallBody {
    /// Bytes at hand, which can be sent again on another connection.
    Bytes(Bytes),
    /// Bytes that come while they are sent.
    Stream(RequestBody),
}

impl Call {
    /// `GET path`.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), headers: HeaderMap::new() }
    }

    /// `POST path` with a JSON body.
    #[must_use]
    pub fn post_json(path: &str) -> Self {
        let mut call = Self { method: Method::POST, ..Self::get(path) };
        call.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        call
    }

    /// The request, with a body and what belongs to the address.
    pub(crate) fn with_body(&self, address: &Address, body: RequestBody) -> Result<Request<RequestBody>, NetworkError> {
        let mut builder = Request::builder().method(self.method.clone()).uri(&self.path);
        if let Some(headers) = builder.headers_mut() {
            headers.clone_from(&self.headers);
            let host = HeaderValue::from_str(&address.authority()).map_err(|_| NetworkError::UnusableRequest)?;
            headers.insert(header::HOST, host);
        }
        builder.body(body).map_err(|_| NetworkError::UnusableRequest)
    }
}

/// A body of bytes at hand.
pub(crate) fn whole(bytes: Bytes) -> RequestBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// An appliance that the policy accepts. Requests to it are sealed to a key that was verified, or every connection to it proves
/// the TLS key that was.
pub struct Appliance {
    line: Arc<Line>,
}

impl Appliance {
    /// Connects and verifies.
    ///
    /// # Errors
    /// As [`attest`], and the refusal.
    pub async fn open(options: &Options) -> Result<Self, Error> {
        attest(options, None).await?.into_appliance(options)
    }

    /// What was verified.
    #[must_use]
    pub fn verified(&self) -> &Verified {
        self.line.verified()
    }

    /// Whether an answer has named another keyset than the verified one. Then it sends nothing any more.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.line.is_outdated()
    }

    /// The appliance verified anew, with the keys it has now. Where no hardware vouches for them, the TLS key must still be the
    /// one that was verified: a new one could be an impostor's, whatever the policy puts up with.
    ///
    /// # Errors
    /// As [`attest`], and the refusal.
    pub async fn renewed(&self, options: &Options) -> Result<Self, Error> {
        if let Some(next) = self.line.known_successor().filter(|next| !next.is_outdated()) {
            return Ok(Self { line: Arc::clone(next) });
        }
        self.succeeded_by(attest(options, None).await?, options)
    }

    /// The appliance with the keys of a later report about it, by the rule of [`Appliance::renewed`].
    ///
    /// # Errors
    /// The refusal.
    pub fn succeeded_by(&self, attested: Attested, options: &Options) -> Result<Self, Error> {
        self.line.check_successor(&attested)?;
        attested.into_appliance(options)
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.line.options().address
    }

    /// The token that is sent with [`Appliance::ask`].
    #[must_use]
    pub fn token(&self) -> Option<&Token> {
        self.line.options().token.as_ref()
    }

    /// What is asked of receipts, and what became of them.
    #[must_use]
    pub fn receipts(&self) -> &Receipts {
        self.line.receipts()
    }

    /// What requests travel in, and what became of receipts, for people and programs.
    #[must_use]
    pub fn transport(&self) -> Value {
        json!({
            "wire": self.line.wire_name(),
            "ohttp_relay": self.line.options().relay.as_ref().map(ToString::to_string),
            "receipts": self.receipts().status(),
        })
    }

    /// Sends one request once and gives the answer, whatever its status. A pooled connection that proves to be closed does
    /// not count as an attempt, and neither does a key or a clock that the gateway does not accept any more: then the appliance
    /// is verified anew, or its time is taken over, once.
    ///
    /// # Errors
    /// The network's; [`Refusal::Pin`](crate::error::Refusal::Pin) if the server now holds another key;
    /// [`Refusal::KeysetChanged`](crate::error::Refusal::KeysetChanged) if an earlier answer named another keyset;
    /// [`Refusal::Receipt`](crate::error::Refusal::Receipt) for an answer in one piece with a bad receipt.
    pub async fn send(&self, call: &Call, body: CallBody) -> Result<Response<AnswerBody>, Error> {
        self.line.send(call, body).await
    }

    /// Sends a request with the token, again if need be, and gives the body of a successful answer.
    ///
    /// # Errors
    /// The network's; [`ServerError::Status`] for an answer other than success.
    pub async fn ask(&self, mut call: Call, body: Bytes) -> Result<AnswerBody, Error> {
        if let Some(token) = self.token() {
            call.headers.insert(header::AUTHORIZATION, bearer(token)?);
        }
        let call = &call;
        self.line
            .options()
            .retry
            .run(|_| {
                let body = CallBody::Bytes(body.clone());
                async move { accepted(self.send(call, body).await?).await }
            })
            .await
    }

    /// The ids of the models it serves.
    ///
    /// # Errors
    /// As [`Appliance::ask`].
    pub async fn models(&self) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct List {
            data: Vec<Model>,
        }
        #[derive(Deserialize)]
        struct Model {
            id: String,
        }
        let mut body = self.ask(Call::get("/v1/models"), Bytes::new()).await?;
        let bytes = body.collect_up_to("the list of models", MAX_LIST_BYTES).await?;
        let list: List =
            serde_json::from_slice(&bytes).map_err(|_| ServerError::Malformed("its list of models is not one"))?;
        Ok(list.data.into_iter().map(|model| model.id).collect())
    }

    /// What `/health` says, ready or not.
    ///
    /// # Errors
    /// The network's; [`ServerError::Malformed`] for an answer that is not about health.
    pub async fn health(&self) -> Result<Health, Error> {
        let answer = self.send(&Call::get("/health"), CallBody::Bytes(Bytes::new())).await?;
        let (head, mut body) = answer.into_parts();
        if ![StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE].contains(&head.status) {
            return Err(status_error(head.status, &head.headers, &mut body).await);
        }
        let bytes = body.collect_up_to("the state of health", MAX_ERROR_BYTES).await?;
        serde_json::from_slice(&bytes).map_err(|_| ServerError::Malformed("its state of health is not one").into())
    }
}

/// `Bearer` and the token, marked as sensitive.
///
/// # Errors
/// None in fact: a token has no character that a header has not.
pub fn bearer(token: &Token) -> Result<HeaderValue, Error> {
    let text = zeroize::Zeroizing::new(format!("Bearer {}", token.secret()));
    let mut value = HeaderValue::from_str(&text).map_err(|_| NetworkError::UnusableRequest)?;
    value.set_sensitive(true);
    Ok(value)
}

/// What an appliance says of its own state.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Health {
    /// The process answers.
    pub live: bool,
    /// The engine answers.
    pub ready: bool,
    /// Whatever else it says.
    #[serde(flatten)]
    pub more: serde_json::Map<String, Value>,
}

/// The body of a successful answer; any other becomes an error.
async fn accepted(answer: Response<AnswerBody>) -> Result<AnswerBody, Error> {
    let (head, mut body) = answer.into_parts();
    if head.status == StatusCode::OK {
        Ok(body)
    } else {
        Err(status_error(head.status, &head.headers, &mut body).await)
    }
}

async fn status_error(status: StatusCode, headers: &HeaderMap, body: &mut AnswerBody) -> Error {
    #[derive(Default, Deserialize)]
    struct Outer {
        error: Inner,
    }
    #[derive(Default, Deserialize)]
    struct Inner {
        #[serde(default)]
        message: String,
        code: Option<String>,
        r#type: Option<String>,
    }
    let bytes = body.collect_up_to("the error", MAX_ERROR_BYTES).await.unwrap_or_default();
    let Outer { error } = serde_json::from_slice(&bytes).unwrap_or_default();
    let message =
        if error.message.is_empty() { status.canonical_reason().unwrap_or("no reason") } else { &error.message };
    ServerError::Status {
        status: status.as_u16(),
        message: terminal::one_line(message, 500),
        code: error.code.or(error.r#type).map(|code| terminal::one_line(&code, 80)),
        retry_after: retry_after(headers),
    }
    .into()
}

/// `Retry-After` in seconds; its date form would need the two clocks to agree and is ignored.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
