//! One way out of this machine, and the connections that are kept on it.

use std::sync::Arc;

use http::{Request, Response};

use crate::{
    answer::AnswerBody,
    call::Repeat,
    connection::{Connection, Dialer, IdlePool, RequestBody, ready_again},
    error::{Error, NetworkError},
};

/// A dialer and the idle connections that it made.
pub(crate) struct Way {
    dialer: Dialer,
    pool: Arc<IdlePool>,
}

impl Way {
    pub(crate) fn new(dialer: Dialer, pool: Arc<IdlePool>) -> Self {
        Self { dialer, pool }
    }

    pub(crate) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Sends a request and gives the answer with what `write` made beside the request. A kept connection that proves to be
    /// closed does not count as an attempt, but `write` is called again: what is sealed is never sent twice. What must not be
    /// sent twice uses no kept connection.
    pub(crate) async fn exchange<T>(
        &self,
        repeat: Repeat,
        mut write: impl FnMut() -> Result<(Request<RequestBody>, T), Error>,
    ) -> Result<(Response<AnswerBody>, T), Error> {
        let silence = self.dialer.patience().silence;
        if repeat == Repeat::Harmless {
            while let Some(connection) = self.pooled().await {
                let (request, beside) = write()?;
                match connection.exchange(request, silence).await {
                    Err(NetworkError::NoAnswer(_)) => {}
                    other => return Ok((other?.map(|body| body.returning_to(&self.pool).into()), beside)),
                }
            }
        }
        let connection = self.dialer.dial().await?;
        let (request, beside) = write()?;
        let answer = connection.exchange(request, silence).await?;
        Ok((answer.map(|body| body.returning_to(&self.pool).into()), beside))
    }

    async fn pooled(&self) -> Option<Connection> {
        while let Some(mut connection) = self.pool.take() {
            if ready_again(&mut connection).await.is_ok() {
                return Some(connection);
            }
        }
        None
    }
}
