//! `/v1/operator/…`: messages of operators, sealed to the attested key, signed and counted.

use std::sync::Arc;

use ::http::StatusCode;
use serde::Serialize;

use super::answer::Answer;
use super::error::ApiError;
use super::event::Event;
use super::query::parameters;
use super::route::Route;
use super::secrets::Standing;
use super::state::State;

/// What the secrets are, without any of them.
#[derive(Serialize)]
struct Page {
    /// Counter of the last message that was accepted; the next one is above it.
    counter: u64,
    /// Whether nobody is served before secrets come.
    waiting: bool,
    /// Names; only for an operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    names: Option<Vec<String>>,
}

/// `GET /v1/operator/secrets`: the counter that the next message has to be above.
pub(super) fn standing(state: &State) -> Answer {
    let Standing { counter, .. } = state.secrets().standing();
    page(state, counter, None)
}

/// `GET /v1/operator/csr?names=a,b`: a request for a certificate of the attested TLS key, for the document's names if none are given.
///
/// Anyone may ask: it shows the public key and proves that somebody here has the private one, as every handshake does. Whether a name may be
/// had is for the authority to find out.
pub(super) fn tls_request(state: &State, query: Option<&str>) -> Result<Answer, ApiError> {
    let [names] = parameters(query, ["names"], "names")?;
    let names = names.map(|names| names.split(',').map(str::to_owned).collect::<Vec<_>>());
    let names = names.unwrap_or_else(|| state.names().to_vec());
    let request = state.identity().tls().request(&names).map_err(ApiError::Chain)?;
    Ok(Answer::whole(StatusCode::OK, "application/x-pem-file", request.into()))
}

fn page(state: &State, counter: u64, names: Option<Vec<String>>) -> Answer {
    Answer::json(StatusCode::OK, &Page { counter, waiting: state.secrets().are_awaited(), names })
}

/// `POST`: does what the message says, and answers with names or a sealed file.
pub(super) fn answer(state: &Arc<State>, route: &Route, message: &[u8]) -> Answer {
    let standing = match state.secrets().take(state.identity(), message) {
        Ok(standing) => standing,
        Err(refused) => return refused,
    };
    state.events().event(Event::Secrets { counter: standing.counter, held: standing.names.len() });
    match route {
        Route::SealSecrets => match state.secrets().seal(state.identity()) {
            Ok(file) => Answer::whole(StatusCode::OK, "application/octet-stream", file.into()),
            Err(error) => error.into(),
        },
        _ => page(state, standing.counter, Some(standing.names)),
    }
}
