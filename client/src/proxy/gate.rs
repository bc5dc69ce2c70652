//! One appliance behind the proxy: verified or not, and what happens when its keys change.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use http::Response;
use hyper::body::Bytes;
use tokio::{sync::Mutex, time::Instant};

use crate::{
    address::Address,
    appliance::{Appliance, Options, attest},
    attestation::Labels,
    call::Call,
    connection::AnswerBody,
    error::{Error, Refusal},
    retry::RetryPolicy,
    token::Token,
};

/// What is known of an appliance at a time.
#[derive(Clone)]
struct Knowledge {
    /// As it was verified last; `None` before the first time.
    appliance: Option<Arc<Appliance>>,
    /// What the last report proved, accepted or not.
    labels: Labels,
    /// Why the last verification failed; `None` while all is well.
    closed: Option<String>,
    /// The refusal, if it was one: then nothing is sent, whatever was verified before.
    refused: Option<Refusal>,
    /// When it was verified last.
    since: Instant,
    /// Counts verifications, failed ones too.
    round: u64,
}

/// Holds an appliance, and decides whether another key may take the place of the one that was verified. Nothing is sent
/// through a gate that is not open.
pub struct Gate {
    options: Options,
    knowledge: RwLock<Knowledge>,
    /// Held while verifying, so that a crowd of requests does it once.
    verifying: Mutex<()>,
}

impl Gate {
    /// Verifies and opens the gate.
    ///
    /// # Errors
    /// As [`Appliance::open`].
    pub async fn open(options: Options) -> Result<Self, Error> {
        let gate = Self::closed(options);
        gate.verify_with(&gate.options).await?;
        Ok(gate)
    }

    /// A gate to an appliance that nobody has looked at.
    #[must_use]
    pub fn closed(options: Options) -> Self {
        let knowledge = Knowledge {
            appliance: None,
            labels: Labels::unexamined(),
            closed: Some("not verified yet".to_owned()),
            refused: None,
            since: Instant::now(),
            round: 0,
        };
        Self { options, knowledge: RwLock::new(knowledge), verifying: Mutex::new(()) }
    }

    fn knowledge(&self) -> Knowledge {
        self.knowledge.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the user asked of it.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Where it leads.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.options.address
    }

    /// The token for requests that bring none.
    #[must_use]
    pub fn token(&self) -> Option<&Token> {
        self.options.token.as_ref()
    }

    /// The appliance as it was verified last, whatever became of it since.
    #[must_use]
    pub fn appliance(&self) -> Option<Arc<Appliance>> {
        self.knowledge().appliance
    }

    /// What the last report proved, accepted or not.
    #[must_use]
    pub fn labels(&self) -> Labels {
        self.knowledge().labels
    }

    /// Why the last verification failed.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        self.knowledge().closed
    }

    /// Whether a request would be sent without verifying first.
    #[must_use]
    pub fn is_open(&self) -> bool {
        current(&self.knowledge()).is_some()
    }

    /// Whether the appliance did not prove what is asked of it: more than a key that is due, or a network that is down.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        let knowledge = self.knowledge();
        knowledge.refused.is_some() || knowledge.appliance.is_none()
    }

    /// How long ago it was verified.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.knowledge().since.elapsed()
    }

    /// Sends a request, after verifying anew if the keys have changed. A server that holds another TLS key than the verified one has
    /// been sent nothing, so that any request can be sent once more.
    ///
    /// # Errors
    /// As [`Appliance::send`]; the refusal if a changed key is not proven.
    pub async fn send(&self, call: &Call, body: Bytes) -> Result<Response<AnswerBody>, Error> {
        let appliance = self.verified().await?;
        match appliance.send(call, body.clone()).await {
            Err(Error::Refused(Refusal::Pin(_))) => {
                let appliance = self.verify_again(Some(&appliance)).await?;
                self.heard(appliance.send(call, body).await)
            }
            other => self.heard(other),
        }
    }

    /// The appliance, verified anew if the last time failed or an answer has named another keyset.
    async fn verified(&self) -> Result<Arc<Appliance>, Error> {
        let knowledge = self.knowledge();
        match current(&knowledge) {
            Some(appliance) => Ok(appliance),
            None => self.verify_again(knowledge.appliance.as_ref()).await,
        }
    }

    /// An answer came over the verified key: a verification that failed because of the network has no meaning any more.
    fn heard(&self, result: Result<Response<AnswerBody>, Error>) -> Result<Response<AnswerBody>, Error> {
        if result.is_ok() && self.knowledge().closed.is_some() {
            let mut knowledge = self.knowledge.write().unwrap_or_else(PoisonError::into_inner);
            if knowledge.refused.is_none() {
                knowledge.closed = None;
            }
        }
        result
    }

    /// Closes the gate until the appliance has been verified anew.
    pub fn expire(&self) {
        if let Some(appliance) = self.appliance() {
            appliance.outdate();
        }
    }

    /// Verifies, whether there is need or not.
    ///
    /// # Errors
    /// As [`Appliance::open`] the first time, later as [`Appliance::renewed`].
    pub async fn verify(&self) -> Result<Arc<Appliance>, Error> {
        self.verify_again(self.appliance().as_ref()).await
    }

    async fn verify_again(&self, failed: Option<&Arc<Appliance>>) -> Result<Arc<Appliance>, Error> {
        let round = self.knowledge().round;
        let _alone = self.verifying.lock().await;
        let knowledge = self.knowledge();
        if let Some(appliance) = current(&knowledge)
            && failed.is_none_or(|failed| !Arc::ptr_eq(failed, &appliance))
        {
            return Ok(appliance);
        }
        if let Some(refusal) = knowledge.refused.filter(|_| knowledge.round != round) {
            // Somebody else asked while this waited, and was refused.
            return Err(refusal.into());
        }
        // A request that needed the new keys has had them verified already.
        if let Some(next) = knowledge.appliance.and_then(|appliance| appliance.known_successor()) {
            return self.note(Some(next.verified().labels().clone()), Ok(next));
        }
        let options = Options { retry: RetryPolicy::once(), ..self.options.clone() };
        self.verify_with(&options).await
    }

    /// Attests the server. Its new key is taken only if the user did not demand the old one and hardware vouches for it:
    /// without hardware a new key cannot be told from an impostor's, whatever the policy puts up with.
    async fn verify_with(&self, options: &Options) -> Result<Arc<Appliance>, Error> {
        let before = self.appliance();
        let (labels, result) = match attest(options, None).await {
            Ok(attested) => {
                let labels = attested.examination.labels.clone();
                let result = match &before {
                    Some(before) => before.succeeded_by(attested, options),
                    None => attested.into_appliance(options),
                };
                (Some(labels), result)
            }
            Err(error) => (None, Err(error)),
        };
        self.note(labels, result)
    }

    /// Remembers what a verification found.
    fn note(&self, labels: Option<Labels>, result: Result<Appliance, Error>) -> Result<Arc<Appliance>, Error> {
        let result = result.map(Arc::new);
        let mut knowledge = self.knowledge.write().unwrap_or_else(PoisonError::into_inner);
        knowledge.round += 1;
        if let Some(labels) = labels {
            knowledge.labels = labels;
        }
        match &result {
            Ok(appliance) => {
                knowledge.appliance = Some(appliance.clone());
                knowledge.closed = None;
                knowledge.refused = None;
                knowledge.since = Instant::now();
            }
            Err(error) => {
                knowledge.closed = Some(error.to_string());
                if let Error::Refused(refusal) = error {
                    knowledge.refused = Some(refusal.clone());
                }
            }
        }
        result
    }
}

/// The appliance that requests may go to as it is.
fn current(knowledge: &Knowledge) -> Option<Arc<Appliance>> {
    let appliance = knowledge.appliance.as_ref().filter(|appliance| !appliance.is_outdated())?;
    knowledge.refused.is_none().then(|| appliance.clone())
}
