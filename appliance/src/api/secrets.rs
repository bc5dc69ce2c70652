//! What an operator brought since the start: tokens, as digests, and the counter that no message may go back behind.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use deployment::{Clients, Document, Enrolment, OperatorKey, Token, token};
use protocol::secrets::{Change, Kept, SecretsKey, keep, open, restore};
use protocol::{Refusal, Sha256Digest};

use super::answer::Answer;
use super::error::ApiError;
use super::sealed::unknown_key;
use crate::identity::{Chain, Identity};

/// Most secrets at a time.
const MOST: usize = 256;

/// What a name is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// A bearer token.
    Token,
    /// A one-time token that enrols a device.
    Enrolment,
    /// A chain of certificates for the TLS key.
    Chain,
}

/// The one name of a chain. It ends with the key, and so with the boot: it is not kept, and nobody waits for it.
const CHAIN: &str = "TLS_CHAIN";

/// `TOKEN`, `ENROLMENT`, or one of them with `_` and more behind it; `None` where the document has no use for it.
fn purpose(name: &str, clients: &Clients) -> Option<Purpose> {
    let is = |word: &str| {
        name.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.len() > 1 && rest.starts_with('_'))
    };
    if name == CHAIN {
        Some(Purpose::Chain)
    } else if is("TOKEN") && clients.access.takes_tokens() {
        Some(Purpose::Token)
    } else if is("ENROLMENT") && clients.access.takes_devices() && clients.enrolment == Enrolment::Token {
        Some(Purpose::Enrolment)
    } else {
        None
    }
}

/// The secrets of a running server. Values are hashed and wiped as they come.
pub(super) struct Secrets {
    document: Arc<Document>,
    operators: Vec<[u8; 32]>,
    held: RwLock<Held>,
}

struct Held {
    kept: Kept,
    /// The document's clients and what was brought.
    clients: Arc<Clients>,
}

/// What a change comes to.
struct After {
    /// A digest for each name.
    digests: BTreeMap<String, [u8; 32]>,
    /// Where it changes: the chain that new connections are shown, or none but the certificate of the start.
    chain: Option<Option<Chain>>,
}

/// What an operator may know of the secrets.
pub(super) struct Standing {
    /// Counter of the last message.
    pub counter: u64,
    /// Names, in order.
    pub names: Vec<String>,
}

impl Secrets {
    /// The document's clients alone.
    pub(super) fn new(document: Arc<Document>) -> Self {
        let operators = document.secrets.operator_keys.iter().map(|OperatorKey(key)| *key).collect();
        let held = Held { kept: Kept::default(), clients: Arc::new(document.clients.clone()) };
        Self { document, operators, held: RwLock::new(held) }
    }

    /// Takes what an earlier boot sealed; false where it does not open here or is of no use.
    pub(super) fn restore(&self, file: &[u8], identity: &Identity) -> bool {
        let of_use = |kept: &Kept| {
            kept.digests.len() <= MOST
                && kept.digests.keys().all(|name| name != CHAIN && purpose(name, &self.document.clients).is_some())
        };
        let secret = identity.sealing_secret().filter(|_| !self.operators.is_empty());
        let opened = secret.and_then(|secret| restore(file, secret, &identity.origin().document_sha256).ok());
        let Some(kept) = opened.filter(of_use) else { return false };
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.clients = Arc::new(self.clients_with(&kept));
        held.kept = kept;
        true
    }

    fn read(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who may ask at this moment.
    pub(super) fn clients(&self) -> Arc<Clients> {
        Arc::clone(&self.read().clients)
    }

    /// Whether the document names operators.
    pub(super) fn are_taken(&self) -> bool {
        !self.operators.is_empty()
    }

    /// Whether nobody is served until an operator has come.
    pub(super) fn are_awaited(&self) -> bool {
        self.document.secrets.required && self.read().kept.digests.keys().all(|name| name == CHAIN)
    }

    /// Counter and names.
    pub(super) fn standing(&self) -> Standing {
        let held = self.read();
        Standing { counter: held.kept.counter, names: held.kept.digests.keys().cloned().collect() }
    }

    /// Opens an operator's message and does what it says, wholly or not at all; its counter counts in both cases.
    pub(super) fn take(&self, identity: &Identity, message: &[u8]) -> Result<Standing, Answer> {
        let live = identity.live();
        let keys: Vec<&SecretsKey> = live.all().map(|epoch| epoch.secrets()).collect();
        let last = self.read().kept.counter;
        let (change, counter) = open(&keys, &self.operators, last, message).map_err(refused)?;
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        // another message may have been accepted since, this one itself too
        if counter <= held.kept.counter {
            return Err(refused(Refusal::Rollback));
        }
        held.kept.counter = counter;
        let After { digests, chain } = self.changed(&held.kept.digests, &change, identity)?;
        held.kept.digests = digests;
        if let Some(chain) = chain {
            identity.tls().show(chain);
        }
        held.clients = Arc::new(self.clients_with(&held.kept));
        drop(held);
        Ok(self.standing())
    }

    fn changed(
        &self,
        present: &BTreeMap<String, [u8; 32]>,
        change: &Change,
        identity: &Identity,
    ) -> Result<After, ApiError> {
        let mut digests = present.clone();
        let mut chain = None;
        for name in &change.unset {
            if name == CHAIN {
                chain = Some(None);
            }
            digests.remove(name).ok_or(ApiError::NoSuchSecret)?;
        }
        for (name, value) in &change.set {
            let digest = match purpose(name, &self.document.clients).ok_or(ApiError::SecretName)? {
                Purpose::Token | Purpose::Enrolment => token::digest(value).map_err(|_| ApiError::SecretValue)?,
                Purpose::Chain => {
                    chain = Some(Some(identity.tls().judge(value).map_err(ApiError::Chain)?));
                    Sha256Digest::of(value.as_bytes()).0
                }
            };
            digests.insert(name.clone(), digest);
        }
        if digests.len() > MOST { Err(ApiError::SecretsFull { most: MOST }) } else { Ok(After { digests, chain }) }
    }

    fn clients_with(&self, kept: &Kept) -> Clients {
        let mut clients = self.document.clients.clone();
        for (name, sha256) in &kept.digests {
            let token = Token { name: name.clone(), sha256: *sha256 };
            match purpose(name, &self.document.clients) {
                Some(Purpose::Token) => clients.tokens.push(token),
                Some(Purpose::Enrolment) => clients.enrolments.push(token),
                Some(Purpose::Chain) | None => {}
            }
        }
        clients
    }

    /// A file with all of it, which only this machine with this image and document opens.
    pub(super) fn seal(&self, identity: &Identity) -> Result<Vec<u8>, ApiError> {
        let secret = identity.sealing_secret().ok_or(ApiError::CannotSeal)?;
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).map_err(|_| ApiError::Internal)?;
        let mut kept = self.read().kept.clone();
        kept.digests.remove(CHAIN);
        keep(&kept, secret, &identity.origin().document_sha256, &salt).map_err(|_| ApiError::Internal)
    }
}

/// The answer to a message that is not taken.
fn refused(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::UnknownKey => unknown_key(),
        Refusal::Signature => ApiError::OperatorRefused.into(),
        Refusal::Rollback => ApiError::Rollback.into(),
        Refusal::TooLong => ApiError::TooLarge { limit: protocol::secrets::MAX_MESSAGE as u64 }.into(),
        Refusal::Undecryptable | Refusal::Malformed => ApiError::Undecryptable.into(),
    }
}
