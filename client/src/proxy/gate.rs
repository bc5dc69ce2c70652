//! The verified appliance behind the proxy, and what happens when its key changes.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use http::Response;
use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::{
    appliance::{Appliance, Call, CallBody, Options},
    connection::{AnswerBody, RequestBody},
    error::{Error, Refusal},
    retry::RetryPolicy,
};

/// Counters of the proxy, for `GET /lethe/status`.
#[derive(Debug, Default)]
struct Counters {
    forwarded: AtomicU64,
    failed: AtomicU64,
}

/// Holds the appliance that was verified, and decides whether another key may take its place.
pub struct Gate {
    options: Options,
    appliance: RwLock<Arc<Appliance>>,
    /// Held while verifying again, so that a crowd of requests does it once.
    verifying: Mutex<()>,
    /// Why the last verification after a changed key failed; `None` while all is well.
    closed: RwLock<Option<String>>,
    counters: Counters,
}

impl Gate {
    /// Verifies and opens the gate.
    ///
    /// # Errors
    /// As [`Appliance::open`].
    pub async fn open(options: Options) -> Result<Self, Error> {
        let appliance = Appliance::open(&options).await?;
        Ok(Self {
            options,
            appliance: RwLock::new(Arc::new(appliance)),
            verifying: Mutex::new(()),
            closed: RwLock::new(None),
            counters: Counters::default(),
        })
    }

    /// The appliance that requests go to now.
    #[must_use]
    pub fn appliance(&self) -> Arc<Appliance> {
        self.appliance.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a request whose body can be sent again, and verifies anew before it if the keys have changed.
    ///
    /// # Errors
    /// As [`Appliance::send`]; the refusal if a changed key is not proven.
    pub async fn send(&self, call: &Call, body: Bytes) -> Result<Response<AnswerBody>, Error> {
        let result = self.send_to_the_current(call, body).await;
        self.note(&result);
        result
    }

    async fn send_to_the_current(&self, call: &Call, body: Bytes) -> Result<Response<AnswerBody>, Error> {
        let appliance = self.with_current_keyset().await?;
        match appliance.send(call, CallBody::Bytes(body.clone())).await {
            Err(Error::Refused(Refusal::Pin(_))) => {
                let appliance = self.verify_again(&appliance).await?;
                appliance.send(call, CallBody::Bytes(body)).await
            }
            other => other,
        }
    }

    /// The appliance, verified anew if an answer has named another keyset.
    async fn with_current_keyset(&self) -> Result<Arc<Appliance>, Error> {
        let appliance = self.appliance();
        if appliance.is_outdated() { self.verify_again(&appliance).await } else { Ok(appliance) }
    }

    /// Sends a request whose body can be sent only once. A changed key fails it; the next request finds the new key.
    ///
    /// # Errors
    /// As [`Gate::send`].
    pub async fn send_once(&self, call: &Call, body: RequestBody) -> Result<Response<AnswerBody>, Error> {
        let result = self.send_once_to_the_current(call, body).await;
        self.note(&result);
        result
    }

    async fn send_once_to_the_current(&self, call: &Call, body: RequestBody) -> Result<Response<AnswerBody>, Error> {
        let appliance = self.with_current_keyset().await?;
        let result = appliance.send(call, CallBody::Stream(body)).await;
        if let Err(Error::Refused(Refusal::Pin(_))) = &result {
            // The request is lost either way; what counts is what the gate knows afterwards, and that it has noted.
            let _ = self.verify_again(&appliance).await;
        }
        result
    }

    fn note(&self, result: &Result<Response<AnswerBody>, Error>) {
        let counter = if result.is_ok() { &self.counters.forwarded } else { &self.counters.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        if result.is_ok() {
            *self.closed.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Attests the server anew. Its new key is taken only if the user did not demand the old one and hardware vouches for
    /// it: without hardware a new key cannot be told from an impostor's, whatever the policy puts up with.
    async fn verify_again(&self, failed: &Arc<Appliance>) -> Result<Arc<Appliance>, Error> {
        let _alone = self.verifying.lock().await;
        let current = self.appliance();
        if !Arc::ptr_eq(&current, failed) {
            return Ok(current);
        }
        let result = self.replacement(failed).await;
        match &result {
            Ok(appliance) => {
                *self.appliance.write().unwrap_or_else(PoisonError::into_inner) = appliance.clone();
            }
            Err(error) => {
                *self.closed.write().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
            }
        }
        result
    }

    async fn replacement(&self, failed: &Appliance) -> Result<Arc<Appliance>, Error> {
        let options = Options { retry: RetryPolicy::once(), ..self.options.clone() };
        Ok(Arc::new(failed.renewed(&options).await?))
    }

    /// The state, for people and programs.
    #[must_use]
    pub fn status(&self) -> Value {
        let appliance = self.appliance();
        let verified = appliance.verified();
        let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner).clone();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "appliance": appliance.address().to_string(),
            "state": if closed.is_some() { "closed" } else { "open" },
            "reason": closed,
            "platform": verified.platform(),
            "tls_key": verified.pin().map(|pin| pin.to_string()),
            "tls_key_demanded": self.options.pin.is_some(),
            "keyset_digest": verified.keyset_digest().to_string(),
            "policy": self.options.trust.policy_name,
            "allow_no_tee": self.options.trust.allow_no_tee,
            "labels": verified.labels(),
            "forwarded": self.counters.forwarded.load(Ordering::Relaxed),
            "failed": self.counters.failed.load(Ordering::Relaxed),
        })
    }
}
