//! A vendor's web service: one GET at a time, over TLS with the web's authorities.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use hyper::body::Bytes;
use rustls::RootCertStore;

use super::CollateralError;
use crate::{
    address::Address,
    call::Call,
    connection::{AnswerBody, Dialer, Patience},
    error::{Error, NetworkError},
};

/// A service.
#[derive(Debug, Clone)]
pub struct Service {
    name: &'static str,
    dialer: Dialer,
}

/// A good answer.
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// The authorities that web browsers trust, as Mozilla lists them.
#[must_use]
pub fn web_roots() -> Arc<RootCertStore> {
    Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
}

impl Service {
    /// A service at an address, whose certificate leads to one of these roots.
    ///
    /// # Errors
    /// [`NetworkError`] for an address that is none, or if TLS cannot be set up.
    pub fn new(name: &'static str, address: &str, roots: Arc<RootCertStore>) -> Result<Self, NetworkError> {
        let address: Address = address.parse().map_err(|_| NetworkError::UnusableRequest)?;
        let patience = Patience { silence: std::time::Duration::from_secs(30), ..Patience::default() };
        Ok(Self { name, dialer: Dialer::to_the_web(address, roots, patience)? })
    }

    /// Its name, for people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn address(&self) -> &Address {
        self.dialer.address()
    }

    pub(super) fn other_form(&self, what: &'static str) -> CollateralError {
        CollateralError::Form { service: self.name, what }
    }

    /// Asks for a place. What does not fit into `limit` bytes is no answer.
    pub(super) async fn get(&self, place: &str, limit: usize) -> Result<Answer, CollateralError> {
        let unreachable = |source| CollateralError::Unreachable { service: self.name, source: Box::new(source) };
        let (status, headers, body) = self.exchange(place, limit).await.map_err(unreachable)?;
        if status == StatusCode::OK {
            Ok(Answer { headers, body })
        } else {
            Err(CollateralError::Status { service: self.name, status: status.as_u16() })
        }
    }

    async fn exchange(&self, place: &str, limit: usize) -> Result<(StatusCode, HeaderMap, Vec<u8>), Error> {
        let connection = self.dialer.dial().await?;
        let request = Call::get(place).with_body(self.dialer.address(), Bytes::new())?;
        let answer = connection.exchange(request, self.dialer.patience().silence).await?;
        let (head, mut body) = answer.map(AnswerBody::from).into_parts();
        let body = body.collect_up_to("the answer of a vendor's service", limit).await?;
        Ok((head.status, head.headers, body))
    }
}

impl From<CollateralError> for Error {
    fn from(problem: CollateralError) -> Self {
        NetworkError::Collateral(Box::new(problem)).into()
    }
}
