//! Receipts: a signed log of what happened to each request for inference (ACI section 7).

mod account;
mod ledger;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ::http::{HeaderName, HeaderValue, StatusCode};
use deployment::Document;
use hyper::body::Bytes;
use protocol::receipt::event::{Launch, Model, Prompt, Transport};
use protocol::receipt::{Chain, Draft, Head, RECEIPT_ID_HEADER, Receipt, ReceiptKey};
use protocol::{JcsError, Sha256Digest};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

pub(super) use account::Account;
use ledger::{Kept, Kind, Ledger};

use super::answer::{Answer, AnswerBody, AnswerStream, no_query};
use super::attestation::signing_algorithm;
use super::call::{Call, Tenant, Wire};
use super::error::ApiError;
use super::query::parameters;
use super::state::{State, unix_seconds};
use crate::identity::{Identity, Published};

/// The receipts of this boot, and what each says of the model.
pub struct Receipts {
    ledger: Mutex<Ledger>,
    model: Model,
}

impl Receipts {
    /// None yet. `chat_template` is the model's.
    pub(super) fn new(document: &Document, chat_template: Option<&str>) -> Self {
        let most = usize::try_from(document.receipts.count).unwrap_or(usize::MAX);
        let life = Duration::from_secs(document.receipts.seconds.into());
        let model = Model {
            name: document.model.name.clone(),
            gguf_sha256: Sha256Digest(document.model.sha256),
            chat_template_sha256: chat_template.map(|template| Sha256Digest::of(template.as_bytes())),
        };
        Self { ledger: Mutex::new(Ledger::new(life, most)), model }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The present keyset, and the tenant's chain under it.
    ///
    /// Both are of one moment: with a keyset that was looked up before, and is over now, the ledger would begin the chains anew, and
    /// those of the present keyset once more after that. Nothing that holds the keyset's lock asks for the ledger's.
    fn place(&self, identity: &Identity, tenant: Tenant) -> (Arc<Published>, Option<Arc<Mutex<Chain>>>) {
        let mut ledger = self.ledger();
        let published = identity.published();
        let chain = ledger.chain(tenant, published.digest);
        (published, chain)
    }
}

/// The receipt of an answer that carries it: empty until the last byte is known, and for good where there is none.
#[derive(Clone, Default)]
pub struct Slip(Arc<OnceLock<String>>);

impl Slip {
    /// The receipt in printable ASCII.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// Sees to the receipt of an answer: the header now, the receipt when the last byte is known.
///
/// Nobody in particular gets receipts for answers only: refusals are free, and would push out what others want to fetch.
pub(super) fn witnessed(
    state: &Arc<State>,
    call: &Call,
    account: &Arc<Account>,
    request: Sha256Digest,
    mut answer: Answer,
) -> Answer {
    if call.tenant == Tenant(None) && answer.status != StatusCode::OK {
        return answer;
    }
    let mut random = [0; 16];
    // without random bytes nobody could fetch it, and an id that can be guessed is none
    if getrandom::fill(&mut random).is_err() {
        return ApiError::Internal.into();
    }
    let id = format!("rcpt-{}", hex::encode(random));
    answer.headers.extend(HeaderValue::try_from(&id).ok().map(|id| (HeaderName::from_static(RECEIPT_ID_HEADER), id)));
    let (state, account, slip) = (Arc::clone(state), Arc::clone(account), answer.slip.clone());
    let pending =
        Pending { state, call: call.clone(), id, account, request, answered: answer.status == StatusCode::OK, slip };
    answer.body = match answer.body {
        AnswerBody::Whole(body) => {
            pending.file(Sha256Digest::of(&body), true);
            AnswerBody::Whole(body)
        }
        AnswerBody::Stream(inner) => {
            AnswerBody::Stream(Box::new(Witnessed { inner, hash: Sha256::new(), pending: Some(pending) }))
        }
    };
    answer
}

/// A receipt that waits for the end of its answer.
struct Pending {
    state: Arc<State>,
    call: Call,
    id: String,
    account: Arc<Account>,
    request: Sha256Digest,
    answered: bool,
    slip: Slip,
}

impl Pending {
    /// Signs and keeps the receipt. `to_the_end` is false where the client took less than there was.
    fn file(self, response: Sha256Digest, to_the_end: bool) {
        let facts = self.account.known();
        let (identity, receipts) = (self.state.identity(), self.state.receipts());
        let (published, chain) = receipts.place(identity, self.call.tenant);
        let head = Head {
            receipt_id: self.id.clone(),
            chat_id: facts.chat_id.clone(),
            model: facts.model.clone(),
            workload_keyset_digest: published.digest,
            endpoint: self.call.path().to_owned(),
            method: self.call.method().to_owned(),
            served_at: unix_seconds(),
        };
        let mut draft = Draft::new(head, self.request);
        self.describe(&mut draft, &facts);
        draft.push(&Launch {
            tee_type: identity.tee_type().name().to_owned(),
            measurement: identity.measurement().map(str::to_owned),
            boot_id: hex::encode(identity.boot_id()),
            epoch: published.epoch,
        });
        let Ok(receipt) = sign(draft, chain.as_deref(), response, identity.receipt()) else { return };
        if matches!(self.call.wire, Wire::Sealed { carries_receipt: true, .. }) {
            // set once: this takes the place of itself
            let _ = self.slip.0.set(receipt.field());
        }
        let complete = self.answered && to_the_end && facts.usage.is_some();
        let kept = Kept::new(&receipt, self.call.tenant, complete.then_some((self.request, response)));
        let kind = if self.answered { Kind::Answer } else { Kind::Refusal };
        receipts.ledger().file(kind, self.id, facts.chat_id, kept, Instant::now());
    }

    fn describe(&self, draft: &mut Draft, facts: &account::Facts) {
        if facts.forwarded {
            // the bytes that were parsed are those that came
            draft.forwarded(self.request);
            let chat_template_sha256 = self.state.receipts().model.chat_template_sha256.filter(|_| facts.template);
            draft.push(&Model { chat_template_sha256, ..self.state.receipts().model.clone() });
        }
        if let Some(prompt_sha256) = facts.prompt {
            draft.push(&Prompt { prompt_sha256 });
        }
        if let Some(sampling) = &facts.sampling {
            draft.push(sampling);
        }
        if let Some(usage) = &facts.usage {
            draft.push(usage);
        }
        if let Wire::Sealed { name, message, .. } = &self.call.wire {
            draft.push(&Transport {
                wire: (*name).to_owned(),
                request_ciphertext_hash: Some(*message),
                response_ciphertext_hash: None,
            });
        }
    }
}

/// Signs with the tenant's place in its chain, where it has one. The tenant's next receipt has to wait for that, and nobody else's.
fn sign(
    mut draft: Draft,
    chain: Option<&Mutex<Chain>>,
    response: Sha256Digest,
    key: &ReceiptKey,
) -> Result<Receipt, JcsError> {
    let Some(chain) = chain else { return draft.sign(response, key) };
    let mut chain = chain.lock().unwrap_or_else(PoisonError::into_inner);
    draft.push(&chain.place());
    let receipt = draft.sign(response, key)?;
    chain.advance(&receipt);
    Ok(receipt)
}

/// A stream whose bytes are hashed as they are handed out.
struct Witnessed {
    inner: Box<dyn AnswerStream>,
    hash: Sha256,
    pending: Option<Pending>,
}

impl Witnessed {
    fn file(&mut self, to_the_end: bool) {
        if let Some(pending) = self.pending.take() {
            pending.file(Sha256Digest(std::mem::take(&mut self.hash).finalize().into()), to_the_end);
        }
    }
}

impl AnswerStream for Witnessed {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let piece = std::task::ready!(self.inner.poll_next(context));
        match &piece {
            Some(piece) => self.hash.update(piece),
            None => self.file(true),
        }
        Poll::Ready(piece)
    }
}

impl Drop for Witnessed {
    /// The client went away, or a limit ended the answer: what was handed out is what the receipt is about.
    fn drop(&mut self) {
        self.file(false);
    }
}

/// `GET /v1/aci/receipts/{id}`
pub(super) fn fetch(state: &State, call: &Call, id: &str) -> Result<Answer, ApiError> {
    no_query(call.query.as_deref())?;
    let kept = find(state, call, id)?;
    Ok(Answer::of_json(StatusCode::OK, kept.json.into()))
}

/// `GET /v1/signature/{id}`
pub(super) fn signature(state: &State, call: &Call, id: &str) -> Result<Answer, ApiError> {
    let [algorithm, model] = parameters(call.query.as_deref(), ["signing_algo", "model"], "signing_algo or model")?;
    let algorithm = signing_algorithm(algorithm.as_deref())?;
    if model.is_some_and(|model| state.find_model(&model).is_none()) {
        return Err(ApiError::ModelNotFound);
    }
    let text = find(state, call, id)?.text.ok_or(ApiError::NoSuchReceipt)?;
    let signed: Value = json!(state.identity().legacy().sign(algorithm, &text));
    Ok(Answer::json(StatusCode::OK, &signed))
}

/// The receipt, for whoever made the request. Another credential finds nothing, as if there were nothing.
fn find(state: &State, call: &Call, id: &str) -> Result<Kept, ApiError> {
    let kept = state.receipts().ledger().find(id, Instant::now()).cloned().ok_or(ApiError::NoSuchReceipt)?;
    match (kept.owner.0, call.presented) {
        (None, _) => Ok(kept),
        (Some(_), None) => Err(ApiError::ReceiptCredential),
        (Some(owner), Some(presented)) if bool::from(owner.ct_eq(&presented)) => Ok(kept),
        (Some(_), Some(_)) => Err(ApiError::NoSuchReceipt),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Origin;

    /// Whoever waits for the ledger while an epoch begins gets the keyset of the new one: with the old one it would begin every
    /// chain anew, and the next receipt the chains of the new keyset a second time.
    #[test]
    fn a_receipt_is_under_the_keyset_of_the_moment_in_which_it_takes_its_place() {
        let text = format!(
            "version = 1\n[model]\nname = \"m\"\nsha256 = \"{}\"\nsize_bytes = 1\n[clients]\naccess = \"anyone\"\n",
            "ab".repeat(32)
        );
        let document = deployment::parse(text.as_bytes()).expect("document");
        let origin = Origin { host_mode: true, insecure_host: false, document_sha256: [9; 32] };
        let identity = Identity::establish(&document, origin).expect("identity");
        let receipts = Receipts::new(&document, None);
        let old = identity.keyset_digest();
        let place = || receipts.place(&identity, Tenant(Some([1; 32])));
        let (first, chain) = place();
        assert_eq!(first.digest, old);
        let chain = chain.expect("a chain");
        assert!(Arc::ptr_eq(&chain, &place().1.expect("a chain")), "one chain under one keyset");
        let (late, new_chain) = std::thread::scope(|scope| {
            let ledger = receipts.ledger();
            let waiting = scope.spawn(place);
            std::thread::sleep(Duration::from_millis(200));
            identity.advance(Instant::now()).expect("the next epoch");
            drop(ledger);
            waiting.join().expect("no panic")
        });
        assert_ne!(late.digest, old);
        assert_eq!(late.digest, identity.keyset_digest());
        let new_chain = new_chain.expect("a chain");
        assert!(!Arc::ptr_eq(&chain, &new_chain), "chains begin anew with a keyset");
        assert!(Arc::ptr_eq(&new_chain, &place().1.expect("a chain")), "and once");
    }
}
