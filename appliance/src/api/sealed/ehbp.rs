//! EHBP: sealed bodies on the ordinary routes.

use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::{HeaderName, HeaderValue, StatusCode};
use hyper::body::Bytes;
use protocol::ehbp::{ChunkSealer, Opened, RESPONSE_NONCE_HEADER, key_config, open_request};
use protocol::hpke::Wiped;
use protocol::{Refusal, Sha256Digest, ohttp};
use zeroize::Zeroizing;

use super::super::answer::{Answer, AnswerBody, AnswerStream, Bodied, plain};
use super::super::call::{Call, Wire};
use super::super::error::ApiError;
use super::super::state::State;
use super::{once, random, refuse};
use crate::identity::Epoch;

/// The wire's name.
const NAME: &str = "ehbp";

/// `GET /.well-known/hpke-keys`: the current key; the form has room for one.
pub(in super::super) fn keys(state: &State) -> Answer {
    let config = key_config(state.identity().live().current.ehbp());
    Answer::whole(StatusCode::OK, ohttp::KEYS_TYPE, config.into())
}

/// Opens the body, answers the request, and seals the answer's body. The call's route and headers were clear.
pub(in super::super) async fn answer(state: &Arc<State>, mut call: Call, key: &str, mut body: Bodied) -> Answer {
    let message = Sha256Digest::of(&body.bytes);
    let (mut content, nonce, sealer) = match open(state, key, &body.bytes) {
        Ok(opened) => opened,
        Err(refused) => return refuse::outside(state, &call, (NAME, message), refused),
    };
    body.bytes = Zeroizing::new(std::mem::take(&mut *content));
    call.wire = Wire::Sealed { name: NAME, message, pads_body: true, path: None, carries_receipt: false };
    let mut answer = plain(state, call, body).await;
    answer
        .headers
        .extend(HeaderValue::try_from(nonce).ok().map(|nonce| (HeaderName::from_static(RESPONSE_NONCE_HEADER), nonce)));
    answer.body = sealed(answer.body, sealer);
    answer
}

/// Opens a body, lets it count once, and begins the answer: with its nonce, and what seals it. The keys live no longer than this.
fn open(state: &State, key: &str, body: &[u8]) -> Result<(Wiped, String, ChunkSealer), Answer> {
    let (epoch, opened) = try_keys(state, key, body).map_err(|refusal| match refusal {
        Refusal::Undecryptable => refuse::ehbp_key(),
        refusal => refuse::unopened(refusal, state.limits().body_bytes),
    })?;
    once(state, &epoch, NAME, &opened.enc).map_err(|error| match error {
        // as what does not decrypt
        ApiError::Undecryptable => refuse::ehbp_key(),
        error => error.into(),
    })?;
    let (nonce, sealer) = opened.reply.start(&mut random()).map_err(|_| ApiError::Internal)?;
    Ok((opened.content, nonce, sealer))
}

/// Tries each key: the protocol names none.
fn try_keys(state: &State, key: &str, body: &[u8]) -> Result<(Arc<Epoch>, Opened), Refusal> {
    let limit = usize::try_from(state.limits().body_bytes).unwrap_or(usize::MAX);
    let live = state.identity().live();
    for epoch in live.all() {
        match open_request(&[epoch.ehbp()], key, body, limit) {
            Ok(opened) => return Ok((Arc::clone(epoch), opened)),
            Err(Refusal::Undecryptable) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Err(Refusal::Undecryptable)
}

fn sealed(body: AnswerBody, mut sealer: ChunkSealer) -> AnswerBody {
    match body {
        AnswerBody::Whole(body) => {
            let mut out = Vec::with_capacity(body.len() + 64);
            // after 2^64 chunks only; what is left out then is an answer that ends too early
            let _ = sealer.seal(&body, &mut out);
            AnswerBody::Whole(out.into())
        }
        AnswerBody::Stream(inner) => AnswerBody::Stream(Box::new(SealedStream { inner, sealer })),
    }
}

struct SealedStream {
    inner: Box<dyn AnswerStream>,
    sealer: ChunkSealer,
}

impl AnswerStream for SealedStream {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.inner.poll_next(context).map(|piece| {
            let mut out = Vec::new();
            self.sealer.seal(&piece?, &mut out).ok().map(|()| out.into())
        })
    }
}
