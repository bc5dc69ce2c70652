//! An appliance that has been verified, and the requests one can send to it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use evidence::Time;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
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
    call::Call,
    collateral::{CollateralError, Library},
    connection::{AnswerBody, Dialer, IdlePool, Patience, Peer},
    error::{Error, NetworkError, Refusal, ServerError, UsageError},
    line::Line,
    pin::SpkiPin,
    receipts::Receipts,
    retry::{self, RetryPolicy},
    sealed::{Gateway, Relay, Way, Wire, fetch_configs},
    terminal,
    token::Token,
    tunnel::Tunnel,
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
    /// Through whom connections to the appliance are opened; `None`: directly.
    pub tunnel: Option<Tunnel>,
    /// How long to wait for the network.
    pub patience: Patience,
    /// When to try again.
    pub retry: RetryPolicy,
    /// The bearer token to send.
    pub token: Option<Token>,
    /// What requests travel in.
    pub wire: Wire,
    /// Through whom sealed requests go; `None`: to the appliance itself. Attestation always goes to the appliance itself, through the tunnel if
    /// there is one.
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
            tunnel: None,
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

/// Fetches a report, with the given nonce or a fresh one, and examines it. Where it is accepted and requests will be sealed, the list
/// of OHTTP keys is asked for too, of the same TLS key; nothing else is sent.
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
    let dialer = Dialer::new(options.address.clone(), options.pin, patience)?.through(options.tunnel.clone());
    let connection = dialer.dial().await?;
    let peer = connection.peer().clone();
    let pool = Arc::new(IdlePool::default());
    let call = Call::get(&format!("/v1/aci/attestation?nonce={nonce}"));
    let request = call.with_body(&options.address, Bytes::new())?;
    let answer = connection.exchange(request, patience.silence).await?;
    let mut body = accepted(answer.map(|body| body.returning_to(&pool).into())).await?;
    let report = body.collect_up_to("the attestation report", MAX_REPORT_BYTES).await?;
    let channel = channel_of(options, &peer);
    let expectation = Expectation { nonce, origin: NonceOrigin::Ours, channel, at: now() };
    let given = options.endorsements.clone();
    let (endorsements, missing) = match &options.library {
        Some(library) => library.complete(&report, given).await,
        None => (given, Vec::new()),
    };
    let examination = examine(&report, &expectation, &options.trust, &endorsements);
    let gateway_keys = match &examination.verdict {
        Ok(_) if seals(options, &report) => {
            // What is dialled now joins the connections of the verified appliance: it has to hold the key of the report.
            let held = match &peer {
                Peer::Tls { pin, .. } => Some(*pin),
                Peer::Local => None,
            };
            let dialer = Dialer::new(options.address.clone(), held, patience)?.through(options.tunnel.clone());
            let way = Way::new(dialer, Arc::clone(&pool));
            fetch_configs(&way).await.or_else(|error| match error {
                // A list that is none is like a list without a key of the keyset.
                Error::Refused(Refusal::GatewayKeys) => Ok(Vec::new()),
                other => Err(other),
            })?
        }
        _ => Vec::new(),
    };
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

    /// Sends nothing more before the appliance is verified anew.
    pub(crate) fn outdate(&self) {
        self.line.outdate();
    }

    /// The appliance verified anew, with the keys it has now. Where no hardware vouches for them, the TLS key must still be the
    /// one that was verified: a new one could be an impostor's, whatever the policy puts up with.
    ///
    /// # Errors
    /// As [`attest`], and the refusal.
    pub async fn renewed(&self, options: &Options) -> Result<Self, Error> {
        match self.known_successor() {
            Some(next) => Ok(next),
            None => self.succeeded_by(attest(options, None).await?, options),
        }
    }

    /// The appliance with the keys that a request needed, if one has had to verify them and they are not over too.
    #[must_use]
    pub fn known_successor(&self) -> Option<Self> {
        let next = self.line.known_successor().filter(|next| !next.is_outdated())?;
        Some(Self { line: Arc::clone(next) })
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
            "ohttp_relay": self.line.options().relay.as_ref().map(Relay::authority),
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
    pub async fn send(&self, call: &Call, body: Bytes) -> Result<Response<AnswerBody>, Error> {
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
                let body = body.clone();
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
        let answer = self.send(&Call::get("/health"), Bytes::new()).await?;
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

pub(crate) async fn status_error(status: StatusCode, headers: &HeaderMap, body: &mut AnswerBody) -> Error {
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
        retry_after: retry::asked_wait(headers),
    }
    .into()
}
