//! One request and its attempts: another node while no byte of an answer has been passed on, within a time budget.

use std::{sync::Arc, time::Duration};

use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Bytes;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    node::{Lease, Node},
    nodes::{NoNode, Nodes},
    passing::Passing,
};
use crate::{
    call::{Call, Repeat},
    connection::AnswerBody,
    error::{Error, NetworkError, Refusal},
    retry::asked_wait,
};

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The last attempt's reason.
    #[error(transparent)]
    Node(#[from] Error),
    /// All nodes rest.
    #[error("every node failed too often and is left alone for a while")]
    NoNode(NoNode),
    /// No answer began in time.
    #[error("no answer began within the time budget of {} s", budget.as_secs_f32())]
    Budget {
        /// The budget.
        budget: Duration,
    },
}

/// What an answer's status says about where else to ask.
enum Next {
    /// Pass it on.
    Pass,
    /// The node did nothing and asks to be left alone for a while.
    Busy(Duration),
    /// The node failed.
    Failed,
    /// Another node may have what is asked for.
    Elsewhere,
}

impl Nodes {
    /// Sends a request whose body is at hand, to several nodes if need be, and gives the answer of the first one that has
    /// begun. A node's refusal or failure is passed on if no other node does better.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn relay(&self, call: &Call, body: &Bytes) -> Result<Response<Passing>, Failure> {
        let deadline = Instant::now() + self.settings().budget;
        let repeat = call.repeat();
        let mut tried: Vec<Arc<Node>> = Vec::new();
        let mut kept: Option<Response<Passing>> = None;
        let mut failure = None;
        let attempts = if self.is_single() { 1 } else { self.settings().attempts.max(1) };
        for attempt in 1..=attempts {
            let lease = match self.choose(&tried) {
                Ok(lease) => lease,
                Err(nobody) => {
                    failure.get_or_insert(Failure::NoNode(nobody));
                    break;
                }
            };
            tried.push(lease.node().clone());
            match timeout_at(deadline, self.attempt(lease, call, body, repeat)).await {
                Ok(Ok(answer)) => match self.next(&answer, call, repeat, &tried) {
                    Next::Pass => return Ok(answer),
                    Next::Busy(_) | Next::Elsewhere => {
                        kept = Some(answer);
                        continue;
                    }
                    Next::Failed => kept = Some(answer),
                },
                Ok(Err(error)) => {
                    let failed = is_of_the_network(&error) || matches!(error, Error::Refused(Refusal::KeysetChanged));
                    let again = repeat == Repeat::Harmless && failed || error.is_unsent();
                    failure = Some(error.into());
                    if !again {
                        break;
                    }
                }
                Err(_) => {
                    failure = Some(Failure::Budget { budget: self.settings().budget });
                    break;
                }
            }
            let next = Instant::now() + self.settings().waits().own_wait(attempt);
            if attempt == attempts || next >= deadline {
                break;
            }
            sleep_until(next).await;
        }
        match (kept, failure) {
            (Some(answer), _) => Ok(answer),
            (None, Some(failure)) => Err(failure),
            (None, None) => Err(Failure::Budget { budget: self.settings().budget }),
        }
    }

    async fn attempt(
        &self,
        lease: Lease,
        call: &Call,
        body: &Bytes,
        repeat: Repeat,
    ) -> Result<Response<Passing>, Error> {
        let node = lease.node().clone();
        let beginning = self.begin(lease, node.gate().send(call, body.clone()));
        if self.is_single() {
            return beginning.await;
        }
        tokio::select! {
            result = beginning => result,
            // It may still be calculating, but nobody can tell; another node can be asked.
            () = node.lost(), if repeat == Repeat::Harmless => {
                let what = "answer its health checks";
                Err(NetworkError::TimedOut { what, limit: self.settings().health_patience }.into())
            }
        }
    }

    /// Waits for the head of an answer and the first of its bytes.
    async fn begin(
        &self,
        mut lease: Lease,
        sending: impl Future<Output = Result<Response<AnswerBody>, Error>>,
    ) -> Result<Response<Passing>, Error> {
        let begun = async {
            let (head, mut body) = sending.await?.into_parts();
            let first = body.frame().await.transpose()?;
            Ok::<_, Error>((head, first, body))
        };
        match begun.await {
            Ok((head, first, body)) => {
                lease.answered(is_at_fault(head.status));
                Ok(Response::from_parts(head, Passing::new(first, body, lease)))
            }
            Err(error) => {
                if is_of_the_network(&error) {
                    lease.failed()
                } else {
                    lease.refused()
                }
                Err(error)
            }
        }
    }

    fn next(&self, answer: &Response<Passing>, call: &Call, repeat: Repeat, tried: &[Arc<Node>]) -> Next {
        let next = classify(answer, call, repeat);
        if let (Next::Busy(wait), Some(node)) = (&next, tried.last()) {
            node.rest(*wait);
        }
        if self.has_other(tried) { next } else { Next::Pass }
    }
}

fn classify(answer: &Response<Passing>, call: &Call, repeat: Repeat) -> Next {
    /// Where a node says only that it is busy.
    const REST: Duration = Duration::from_secs(1);
    let harmless = repeat == Repeat::Harmless;
    match answer.status() {
        // Too many requests: by its meaning, nothing was done.
        StatusCode::TOO_MANY_REQUESTS => Next::Busy(asked_wait(answer.headers()).unwrap_or(REST)),
        StatusCode::SERVICE_UNAVAILABLE if harmless => Next::Busy(asked_wait(answer.headers()).unwrap_or(REST)),
        status if harmless && is_at_fault(status) => Next::Failed,
        StatusCode::NOT_FOUND if harmless && is_of_one_node(&call.path) => Next::Elsewhere,
        _ => Next::Pass,
    }
}

/// Whether a status says that the node failed.
fn is_at_fault(status: StatusCode) -> bool {
    matches!(status, StatusCode::INTERNAL_SERVER_ERROR | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT)
}

/// Receipts and signatures lie at the node that made them, and nobody else knows which one that was.
fn is_of_one_node(path: &str) -> bool {
    path.starts_with("/v1/aci/receipts/") || path.starts_with("/v1/signature/")
}

/// Whether a node failed, as opposed to being refused or asked for nonsense.
fn is_of_the_network(error: &Error) -> bool {
    matches!(error, Error::Network(_) | Error::Server(_))
}
