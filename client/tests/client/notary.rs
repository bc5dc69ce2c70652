//! The receipts of the fake appliance, which can be told to lie.

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame};
use protocol::{
    PublicKey, Sha256Digest,
    receipt::{
        Draft, Head, ReceiptKey,
        event::{Launch, Model, Place, Usage},
    },
};
use sha2::{Digest as _, Sha256};

use crate::{fake::State, reply::AnswerBody};

/// How a receipt lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptLie {
    Nothing,
    /// It is of another answer.
    OtherAnswer,
    /// It is of another request.
    OtherRequest,
    /// Somebody added a member after it was signed.
    AddedMember,
    /// Another key signed it, under the name of the right one.
    OtherKey,
    /// It is of a keyset that nobody knows.
    OtherKeyset,
    /// It has another name than the header.
    OtherName,
    /// It is of another route.
    OtherRoute,
    /// It is of another kind of machine.
    OtherPlatform,
    /// It is promised and not there.
    Lost,
    /// There is none, and none is promised.
    Never,
}

pub struct Notary {
    pub lie: Mutex<ReceiptLie>,
    /// Receipts travel with sealed answers.
    pub carries: Mutex<bool>,
    pub fetched: Mutex<usize>,
    /// The seed of the key: another one is another boot.
    pub seed: Mutex<u8>,
    /// What the machine says was launched.
    pub measurement: Mutex<Option<String>>,
    /// Digest of the weights.
    pub weights: Mutex<[u8; 32]>,
    filed: Mutex<HashMap<String, (String, Option<String>)>>,
}

impl Notary {
    pub fn new() -> Self {
        Self {
            lie: Mutex::new(ReceiptLie::Nothing),
            carries: Mutex::new(true),
            fetched: Mutex::default(),
            seed: Mutex::new(9),
            measurement: Mutex::default(),
            weights: Mutex::new([0xab; 32]),
            filed: Mutex::default(),
        }
    }

    fn key(&self) -> ReceiptKey {
        ReceiptKey::from_seed(&[*self.seed.lock().unwrap(); 32]).with_id("receipt-1")
    }

    pub fn public_key(&self) -> PublicKey {
        self.key().public_key()
    }

    /// The receipt with this name, for whoever asked.
    pub fn fetch(&self, id: &str, headers: &HeaderMap) -> Option<String> {
        *self.fetched.lock().unwrap() += 1;
        let (json, owner) = self.filed.lock().unwrap().get(id)?.clone();
        (owner == authorization(headers)).then_some(json)
    }

    pub fn carried(&self, id: &str) -> Option<String> {
        Some(self.filed.lock().unwrap().get(id)?.0.clone())
    }

    /// Sees to the receipt of an answer.
    pub fn witness(
        self: &Arc<Self>,
        state: &Arc<State>,
        path: &str,
        headers: &HeaderMap,
        request: &[u8],
        answer: Response<AnswerBody>,
    ) -> Response<AnswerBody> {
        if *self.lie.lock().unwrap() == ReceiptLie::Never {
            return answer;
        }
        let id = format!("rcpt-{}", self.filed.lock().unwrap().len());
        let noted = Noted {
            notary: Arc::clone(self),
            state: Arc::clone(state),
            id: id.clone(),
            path: path.to_owned(),
            owner: authorization(headers),
            request: Sha256Digest::of(request),
            hash: Sha256::new(),
            inner: None,
        };
        let (mut head, body) = answer.into_parts();
        head.headers.insert("x-receipt-id", id.parse().unwrap());
        if *self.carries.lock().unwrap() && headers.get("x-receipt").is_some_and(|value| value == "trailer") {
            head.extensions.insert((Arc::clone(self), id));
        }
        Response::from_parts(head, Noted { inner: Some(body), ..noted }.boxed_unsync())
    }
}

fn authorization(headers: &HeaderMap) -> Option<String> {
    headers.get("authorization").map(|value| value.to_str().unwrap().to_owned())
}

/// An answer that is hashed as it is sent, and has a receipt at its end.
struct Noted {
    notary: Arc<Notary>,
    state: Arc<State>,
    id: String,
    path: String,
    owner: Option<String>,
    request: Sha256Digest,
    hash: Sha256,
    inner: Option<AnswerBody>,
}

impl Noted {
    fn file(&mut self) {
        let lie = *self.notary.lie.lock().unwrap();
        let other = |is: bool, right: Sha256Digest| if is { Sha256Digest::of(b"other") } else { right };
        let head = Head {
            receipt_id: if lie == ReceiptLie::OtherName { "rcpt-x".to_owned() } else { self.id.clone() },
            chat_id: None,
            model: Some("test/model".to_owned()),
            workload_keyset_digest: other(lie == ReceiptLie::OtherKeyset, self.state.keyset().digest().unwrap()),
            endpoint: if lie == ReceiptLie::OtherRoute { "/v1/completions".to_owned() } else { self.path.clone() },
            method: "POST".to_owned(),
            served_at: 1_790_000_000,
        };
        let mut draft = Draft::new(head, other(lie == ReceiptLie::OtherRequest, self.request));
        draft.forwarded(self.request);
        draft.push(&Model {
            name: "test/model".to_owned(),
            gguf_sha256: Sha256Digest(*self.notary.weights.lock().unwrap()),
            chat_template_sha256: None,
        });
        draft.push(&Usage { prompt_tokens: 3, completion_tokens: 4, finish_reason: "stop".to_owned() });
        let platform = if lie == ReceiptLie::OtherPlatform { "tdx".to_owned() } else { self.state.platform() };
        let measurement = self.notary.measurement.lock().unwrap().clone();
        draft.push(&Launch { tee_type: platform, measurement, boot_id: "cd".repeat(16), epoch: 7 });
        draft.push(&Place { counter: 0, previous: None });
        let key = match lie {
            ReceiptLie::OtherKey => ReceiptKey::from_seed(&[77; 32]).with_id("receipt-1"),
            _ => self.notary.key(),
        };
        let response = Sha256Digest(std::mem::take(&mut self.hash).finalize().into());
        let receipt = draft.sign(other(lie == ReceiptLie::OtherAnswer, response), &key).unwrap();
        let mut json = receipt.json().to_owned();
        if lie == ReceiptLie::AddedMember {
            json = json.replacen('{', "{\"added\":1,", 1);
        }
        if lie != ReceiptLie::Lost {
            self.notary.filed.lock().unwrap().insert(self.id.clone(), (json, self.owner.clone()));
        }
    }
}

impl Body for Noted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(inner).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                let data = frame.data_ref().unwrap().clone();
                self.hash.update(&data);
                if self.inner.as_ref().is_some_and(Body::is_end_stream) {
                    self.inner = None;
                    self.file();
                }
            }
            Some(Err(_)) => {}
            None => {
                self.inner = None;
                self.file();
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_none()
    }
}
