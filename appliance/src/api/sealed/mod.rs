//! Requests inside of sealed messages: what opens them, and what seals the answers.
//!
//! A sealed request is opened, counted once, and goes where any request goes. What cannot be opened, or was opened before, is answered in
//! the clear and in one form; from there on every answer is sealed, errors too. That an epoch is full is sealed where the answer has
//! randomness of its own (OHTTP), and in the clear elsewhere.

mod ehbp;
mod envelope;
mod ohttp;
mod refuse;

use std::future::poll_fn;
use std::sync::Arc;

use protocol::date;
use protocol::hpke::Random;
use protocol::replay::Seen;

pub(super) use self::ehbp::{answer as answer_ehbp, keys as ehbp_keys};
pub(super) use self::envelope::{answer as answer_envelope, jwks, keys as envelope_keys};
pub(super) use self::ohttp::{answer as answer_ohttp, keys as ohttp_keys};
pub(super) use self::refuse::unknown_key;

use super::answer::AnswerBody;
use super::error::ApiError;
use super::state::{State, unix_seconds};
use crate::identity::{Epoch, Room};

/// The kernel's generator. Without random bytes an answer must not be sealed, and the machine must not go on.
fn random() -> Random<impl FnMut(&mut [u8])> {
    Random(|bytes: &mut [u8]| {
        if getrandom::fill(bytes).is_err() {
            std::process::abort();
        }
    })
}

/// Lets what `epoch`'s keys opened count once. It is asked after whoever sent it was admitted, so that strangers fill no set but the
/// small one of [`once_open`], and before anything else is done, so that nothing is done twice.
fn once(state: &State, epoch: &Arc<Epoch>, wire: &str, message: &[u8]) -> Result<(), ApiError> {
    let outcome = epoch.accept(wire, message);
    let current = Arc::ptr_eq(epoch, &state.identity().live().current);
    if current && matches!(outcome, Ok(Room::Little) | Err(Seen::Full)) {
        state.identity().press();
    }
    judged(state, outcome.map(drop))
}

/// As [`once`], for a request that everyone may send. That its share is full never ends an epoch.
fn once_open(state: &State, epoch: &Epoch, wire: &str, message: &[u8]) -> Result<(), ApiError> {
    judged(state, epoch.accept_open(wire, message))
}

fn judged(state: &State, outcome: Result<(), Seen>) -> Result<(), ApiError> {
    match outcome {
        Ok(()) => Ok(()),
        // whoever plays a message again learns no more than that it does not open
        Err(Seen::Before) => Err(ApiError::Undecryptable),
        Err(Seen::Full) => Err(ApiError::EpochFull { retry_after_s: state.identity().relief_s() }),
    }
}

/// The early filter by the host's clock.
fn in_time(state: &State, then: u64) -> Result<(), ApiError> {
    let wires = state.wires();
    let fresh = || date::is_fresh(unix_seconds(), then, wires.age_seconds.into(), wires.skew_seconds.into());
    if !wires.dates || fresh() { Ok(()) } else { Err(ApiError::Date) }
}

/// The whole of a body.
async fn gathered(body: AnswerBody) -> Vec<u8> {
    match body {
        AnswerBody::Whole(body) => body.to_vec(),
        AnswerBody::Stream(mut stream) => {
            let mut whole = Vec::new();
            while let Some(piece) = poll_fn(|context| stream.poll_next(context)).await {
                whole.extend_from_slice(&piece);
            }
            whole
        }
    }
}
