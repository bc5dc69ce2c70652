//! The line to a verified appliance: what carries its requests, opens their answers, and checks the receipts.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use hyper::body::Bytes;
use protocol::{KEYSET_DIGEST_HEADER, ohttp::ChunkOpener, receipt::RECEIPT_ID_HEADER};
use tokio::sync::OnceCell;

use crate::{
    answer::AnswerBody,
    appliance::{Attested, Options, attest},
    attestation::{Bundle, Verified},
    call::{Call, Repeat},
    connection::Dialer,
    error::{Error, Refusal, UsageError},
    receipts::{Case, Demand, IN_TRAILER, MAX_HELD_BYTES, RECEIPT_FIELD, Receipts, Witnessed},
    retry::RetryPolicy,
    sealed::{Gateway, Outcome, Way, Wire, opened},
    sse,
};

/// Everything between a request and its answer.
pub(crate) struct Line {
    verified: Verified,
    /// To the appliance; every connection proves the verified key.
    direct: Way,
    /// Around it, for what is sealed.
    around: Option<Way>,
    gateway: Option<Gateway>,
    options: Options,
    /// The report with all its verdict rests on, where transcripts are saved.
    bundle: Option<String>,
    /// An answer named another keyset than the verified one: nothing more is sent.
    outdated: AtomicBool,
    /// The line with the keys that the appliance had when these were of no use any more.
    successor: OnceCell<Arc<Line>>,
}

impl Line {
    /// The line to an appliance whose report was accepted.
    ///
    /// # Errors
    /// The refusal; [`Refusal::NoOhttp`] and [`Refusal::GatewayKeys`] where requests have to be sealed and cannot be.
    pub(crate) fn new(attested: Attested, options: &Options) -> Result<Self, Error> {
        let bundle = options.receipts.archive.is_some().then(|| attested.bundle()).flatten();
        let verified = attested.examination.verdict?;
        let gateway = match (Gateway::is_offered(verified.keyset()), options.wire, &options.relay) {
            (_, Wire::Tls, Some(_)) => return Err(UsageError::RelayWithoutOhttp.into()),
            (_, Wire::Tls, None) | (false, Wire::Auto, None) => None,
            (false, ..) => return Err(Refusal::NoOhttp.into()),
            (true, ..) => {
                let chosen = Gateway::choose(verified.keyset(), &attested.gateway_keys);
                Some(chosen.ok_or(Refusal::GatewayKeys)?)
            }
        };
        let dialer =
            Dialer::new(options.address.clone(), verified.pin(), options.patience)?.through(options.tunnel.clone());
        let around = options.relay.as_ref().map(|relay| relay.way(options.patience)).transpose()?;
        Ok(Self {
            verified,
            direct: Way::new(dialer, attested.pool),
            around,
            gateway,
            options: options.clone(),
            bundle: bundle.as_ref().map(Bundle::render),
            outdated: AtomicBool::new(false),
            successor: OnceCell::new(),
        })
    }

    pub(crate) fn verified(&self) -> &Verified {
        &self.verified
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn receipts(&self) -> &Receipts {
        &self.options.receipts
    }

    /// The bundle of this keyset, where transcripts are saved.
    pub(crate) fn bundle(&self) -> Option<&str> {
        self.bundle.as_deref()
    }

    pub(crate) fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Acquire)
    }

    pub(crate) fn outdate(&self) {
        self.outdated.store(true, Ordering::Release);
    }

    /// The successor, if one was needed.
    pub(crate) fn known_successor(&self) -> Option<&Arc<Self>> {
        self.successor.get()
    }

    /// What requests travel in.
    pub(crate) fn wire_name(&self) -> &'static str {
        match &self.gateway {
            Some(gateway) if gateway.is_post_quantum() => "ohttp-chunked (X-Wing)",
            Some(_) => "ohttp-chunked (X25519)",
            None => "tls",
        }
    }

    /// Whether a later report may take the place of this one. Where no hardware vouches for the keys, the TLS key must still be the
    /// one that was verified: a new one could be an impostor's, whatever the policy puts up with.
    ///
    /// # Errors
    /// [`Refusal::Pin`].
    pub(crate) fn check_successor(&self, attested: &Attested) -> Result<(), Refusal> {
        if let Ok(now) = &attested.examination.verdict
            && !now.is_proven_by_hardware()
            && let (Some(expected), Some(seen)) = (self.verified.pin(), now.pin())
            && expected != seen
        {
            return Err(Refusal::Pin(crate::tls::PinMismatch { expected, seen }));
        }
        Ok(())
    }

    /// The line with the keys that the appliance has now. It is verified once, whoever asks and however often.
    ///
    /// # Errors
    /// As [`attest`], and the refusal.
    pub(crate) async fn successor(&self) -> Result<Arc<Self>, Error> {
        let verify = || async {
            let options = Options { retry: RetryPolicy::once(), ..self.options.clone() };
            let attested = attest(&options, None).await?;
            self.check_successor(&attested)?;
            Ok::<_, Error>(Arc::new(Self::new(attested, &self.options)?))
        };
        self.outdate();
        let next = self.successor.get_or_try_init(verify).await.cloned()?;
        // An answer can last longer than an epoch.
        if next.is_outdated() { Box::pin(next.successor()).await } else { Ok(next) }
    }

    /// Sends one request and gives the answer, whatever its status; its receipt is checked at its end.
    pub(crate) async fn send(self: &Arc<Self>, call: &Call, body: Bytes) -> Result<Response<AnswerBody>, Error> {
        if self.is_outdated() {
            return Err(Refusal::KeysetChanged.into());
        }
        let inference = call.is_inference();
        let mut asking = call.clone();
        if inference && self.gateway.is_some() && self.receipts().demand != Demand::Off {
            asking.headers.insert(HeaderName::from_static(RECEIPT_FIELD), HeaderValue::from_static(IN_TRAILER));
        }
        let (line, answer) = self.pass(&asking, &body).await?;
        // Of a sealed answer the end is held back whatever is asked of receipts: without its final chunk it is none.
        let held = self.gateway.is_some() || self.receipts().are_wanted();
        if inference && held && answer.status().is_success() {
            line.witness(call, body, answer).await
        } else {
            Ok(answer)
        }
    }

    /// Sends a request, a second time if the gateway does not know the key any more: then the appliance is verified anew, once.
    pub(crate) async fn pass(
        self: &Arc<Self>,
        call: &Call,
        body: &Bytes,
    ) -> Result<(Arc<Self>, Response<AnswerBody>), Error> {
        if let Some(answer) = self.attempt(call, body).await? {
            return Ok((Arc::clone(self), answer));
        }
        if call.repeat() == Repeat::Unsent && self.around.is_some() {
            // Only the appliance's own word says that nothing was done, and a relay can put these words into its mouth.
            return Err(Refusal::KeysetChanged.into());
        }
        let next = self.successor().await?;
        match next.attempt(call, body).await? {
            Some(answer) => Ok((next, answer)),
            None => Err(Refusal::KeysetChanged.into()),
        }
    }

    /// Sends a request; `None` if the gateway does not know the key.
    async fn attempt(&self, call: &Call, body: &Bytes) -> Result<Option<Response<AnswerBody>>, Error> {
        let Some(gateway) = &self.gateway else {
            let address = self.direct.dialer().address();
            let write = || Ok((call.with_body(address, body.clone())?, ()));
            let (answer, ()) = self.direct.exchange(call.repeat(), write).await?;
            self.note_keyset(answer.headers());
            return Ok(Some(answer));
        };
        let answer = match self.sealed(gateway, call, body).await? {
            Outcome::OtherKeys => return Ok(None),
            Outcome::Answer(answer) => answer,
            Outcome::Date(theirs, _) => {
                gateway.set_clock(theirs);
                match self.sealed(gateway, call, body).await? {
                    Outcome::OtherKeys => return Ok(None),
                    Outcome::Answer(answer) | Outcome::Date(_, answer) => answer,
                }
            }
        };
        self.note_keyset(answer.headers());
        Ok(Some(answer))
    }

    async fn sealed(&self, gateway: &Gateway, call: &Call, body: &Bytes) -> Result<Outcome, Error> {
        let way = self.around.as_ref().unwrap_or(&self.direct);
        let authority = self.options.address.authority();
        let relay = self.options.relay.as_ref();
        let write = || gateway.seal(call, body, &authority, way, relay);
        let (answer, opener): (_, ChunkOpener) = way.exchange(call.repeat(), write).await?;
        opened(answer, opener, relay.is_some()).await
    }

    /// A hint that costs a verification. Without the header there is none: the keys are the verified ones either way.
    fn note_keyset(&self, headers: &HeaderMap) {
        if let Some(digest) = headers.get(KEYSET_DIGEST_HEADER)
            && digest.as_bytes() != self.verified.keyset_digest().to_string().as_bytes()
        {
            self.outdate();
        }
    }

    /// Sees to the receipt of an answer: of an event stream at its end, of any other answer before the caller has it.
    async fn witness(
        self: Arc<Self>,
        call: &Call,
        request: Bytes,
        answer: Response<AnswerBody>,
    ) -> Result<Response<AnswerBody>, Error> {
        let demand = self.receipts().demand;
        let (head, body) = answer.into_parts();
        let id = head.headers.get(RECEIPT_ID_HEADER).map(|id| id.to_str().unwrap_or_default().to_owned());
        if id.is_none() && demand != Demand::Off {
            self.receipts().count_missing();
            if demand == Demand::Require {
                return Err(Refusal::NoReceipt.into());
            }
        }
        if id.is_none() && self.receipts().archive.is_none() && self.gateway.is_none() {
            return Ok(Response::from_parts(head, body));
        }
        let case = Case {
            method: call.method.clone(),
            path: call.route().to_owned(),
            authorization: call.headers.get(header::AUTHORIZATION).cloned(),
            request,
            id: id.filter(|_| demand != Demand::Off),
            line: self,
        };
        let streamed = sse::is_event_stream(&head.headers);
        let silence = body.silence();
        let mut body = AnswerBody::new(Witnessed::new(body, case), silence);
        if !streamed {
            body = AnswerBody::whole(body.collect_up_to("the answer", MAX_HELD_BYTES).await?.into());
        }
        Ok(Response::from_parts(head, body))
    }
}
