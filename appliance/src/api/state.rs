//! What all requests share.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use deployment::{Clients, Document, Limits, Model, Wires};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::devices::Devices;
use super::event::{Event, EventSink};
use super::rate::Rate;
use super::receipts::Receipts;
use super::secrets::Secrets;
use super::template::Render;
use crate::identity::Identity;
use crate::inference::Submit;

/// What the server is built from.
pub struct Parts {
    /// The deployment document.
    pub document: Arc<Document>,
    /// Keys, keyset and evidence.
    pub identity: Arc<Identity>,
    /// The scheduler.
    pub submit: Arc<dyn Submit>,
    /// The model's chat template, where it has one.
    pub template: Option<Arc<dyn Render>>,
    /// Where events go.
    pub events: Arc<dyn EventSink>,
    /// Secrets that an earlier boot sealed, as the host gave them.
    pub sealed: Option<Vec<u8>>,
}

/// How many requests for evidence may wait. One after the other is answered, each in milliseconds to seconds.
const EVIDENCE_QUEUE: usize = 16;

/// How often the machine is asked for evidence: so many times at once, then eight times a second, whoever asks. A secure processor
/// serves the whole host, and keeps a guest waiting that asks too often.
const EVIDENCE_BURST: u32 = 32;
const EVIDENCE_INTERVAL: Duration = Duration::from_millis(125);

/// What all requests share.
pub struct State {
    parts: Parts,
    fingerprint: String,
    started: u64,
    bodies: Arc<Semaphore>,
    sealed_bodies: Arc<Semaphore>,
    receipts: Receipts,
    devices: Devices,
    secrets: Secrets,
    evidence: Arc<Semaphore>,
    evidence_rate: Rate,
}

impl State {
    /// Brings the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        let model = &parts.document.model;
        let software = Sha256::new().chain_update(env!("CARGO_PKG_VERSION")).chain_update(model.sha256).finalize();
        let fingerprint = format!("fp_{}", hex::encode(software.get(..6).unwrap_or_default()));
        let limits = &parts.document.limits;
        // bodies of requests that could be queued, and some more that are on their way
        let bodies = limits.queue_requests.saturating_add(parts.document.engine.parallel_sequences).saturating_add(32);
        let bodies = usize::try_from(bodies).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        let secrets = Secrets::new(Arc::clone(&parts.document));
        if let Some(file) = &parts.sealed {
            let opened = secrets.restore(file, &parts.identity);
            parts.events.event(if opened { Event::Unsealed } else { Event::NotUnsealed });
        }
        Arc::new(Self {
            fingerprint,
            receipts: Receipts::new(&parts.document, parts.submit.facts().chat_template.as_deref()),
            started: unix_seconds(),
            devices: Devices::default(),
            secrets,
            bodies: Arc::new(Semaphore::new(bodies)),
            sealed_bodies: Arc::new(Semaphore::new(bodies)),
            evidence: Arc::new(Semaphore::new(EVIDENCE_QUEUE)),
            evidence_rate: Rate::new(EVIDENCE_BURST, EVIDENCE_INTERVAL),
            parts,
        })
    }

    /// The scheduler.
    #[must_use]
    pub fn submit(&self) -> &dyn Submit {
        self.parts.submit.as_ref()
    }

    /// The chat template, where the model has one.
    #[must_use]
    pub fn template(&self) -> Option<&dyn Render> {
        self.parts.template.as_deref()
    }

    /// Keys, keyset and evidence.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.parts.identity
    }

    /// The document's guard rails.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.parts.document.limits
    }

    /// Who may ask at this moment: the document's clients, and those that an operator let in.
    #[must_use]
    pub fn clients(&self) -> Arc<Clients> {
        self.secrets.clients()
    }

    /// What operators brought.
    #[must_use]
    pub(super) const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Keys, keyset and evidence, to be taken to another thread.
    #[must_use]
    pub fn identity_handle(&self) -> Arc<Identity> {
        Arc::clone(&self.parts.identity)
    }

    /// Places for requests for evidence, waiting ones included.
    #[must_use]
    pub const fn evidence(&self) -> &Arc<Semaphore> {
        &self.evidence
    }

    /// How often the machine is asked for evidence.
    pub(super) const fn evidence_rate(&self) -> &Rate {
        &self.evidence_rate
    }

    /// The model and its names.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.parts.document.model
    }

    /// Where events go.
    #[must_use]
    pub fn events(&self) -> &dyn EventSink {
        self.parts.events.as_ref()
    }

    /// `system_fingerprint` of answers: changes with the software's version and the model's digest.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Seconds since 1970 when the server was built, by the host's clock.
    #[must_use]
    pub const fn started(&self) -> u64 {
        self.started
    }

    /// Places for request bodies in memory, so that open streams times the body limit cannot exceed the machine.
    #[must_use]
    pub const fn bodies(&self) -> &Arc<Semaphore> {
        &self.bodies
    }

    /// As [`State::bodies`], for messages that show only when they are open who sent them: strangers with such messages cannot take
    /// the places of clients with a token.
    #[must_use]
    pub const fn sealed_bodies(&self) -> &Arc<Semaphore> {
        &self.sealed_bodies
    }

    /// The receipts that can be fetched.
    #[must_use]
    pub(super) const fn receipts(&self) -> &Receipts {
        &self.receipts
    }

    /// The devices that enrolled.
    #[must_use]
    pub(super) const fn devices(&self) -> &Devices {
        &self.devices
    }

    /// The names that the document gives to the server.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.parts.document.listen.names
    }

    /// Encrypted wires.
    #[must_use]
    pub fn wires(&self) -> &Wires {
        &self.parts.document.wires
    }

    /// All ids of the model, its name first.
    pub fn model_ids(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.model().name.as_str()).chain(self.model().aliases.iter().map(String::as_str))
    }

    /// The document's spelling of a model id, or `None` for an unknown one.
    #[must_use]
    pub fn find_model(&self, id: &str) -> Option<&str> {
        self.model_ids().find(|known| *known == id)
    }

    /// Time budget of a request.
    #[must_use]
    pub fn request_budget(&self) -> Duration {
        Duration::from_millis(self.limits().request_budget_ms)
    }

    /// The guard rails that bear on fields.
    #[must_use]
    pub fn field_limits(&self) -> openai::Limits {
        let limits = self.limits();
        openai::Limits {
            max_tokens: limits.max_tokens,
            max_temperature: limits.max_temperature,
            max_stop: limits.max_stop,
            max_top_logprobs: limits.max_top_logprobs,
        }
    }
}

/// Seconds since 1970 by the host's clock, for fields that clients expect and nothing rests on.
pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
