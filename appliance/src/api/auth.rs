//! Bearer tokens.

use ::http::HeaderMap;
use ::http::header::AUTHORIZATION;
use deployment::{Access, Clients, token};
use subtle::{Choice, ConstantTimeEq};

use super::call::{Call, Tenant};
use super::error::ApiError;
use super::state::State;

/// Lets a request pass that has one of the document's tokens, or any where the document says so. Devices have no tokens.
///
/// An absent, a malformed and a wrong token get the same answer. The comparison looks at every entry of the list,
/// whichever matches.
///
/// # Errors
/// [`ApiError::Unauthorized`].
pub(super) fn admit(headers: &HeaderMap, clients: &Clients) -> Result<Tenant, ApiError> {
    match clients.access {
        Access::Anyone => Ok(Tenant(None)),
        Access::Device => Err(ApiError::Unauthorized),
        Access::Token | Access::Both => {
            let digest = bearer(headers).and_then(|token| token::digest(token).ok()).ok_or(ApiError::Unauthorized)?;
            let found = clients.tokens.iter().fold(Choice::from(0), |found, token| found | token.sha256.ct_eq(&digest));
            if bool::from(found) { Ok(Tenant(Some(digest))) } else { Err(ApiError::Unauthorized) }
        }
    }
}

/// Whether the credential of an admitted request has not been taken back since.
pub(super) fn is_still_good(state: &State, call: &Call) -> bool {
    let Some(credential) = call.tenant.0 else { return true };
    let clients = state.clients();
    if call.presented == Some(credential) {
        clients.tokens.iter().any(|token| token.sha256 == credential)
    } else {
        state.devices().knows(&clients, &credential)
    }
}

/// Whether an envelope is let pass for now, because the device that signed it is to be looked at.
pub(super) fn waits_for_device(headers: &HeaderMap, clients: &Clients) -> bool {
    match clients.access {
        Access::Device => true,
        Access::Both => !headers.contains_key(AUTHORIZATION),
        Access::Token | Access::Anyone => false,
    }
}

/// The token of the one `Authorization: Bearer` header.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;
    use deployment::Token;

    use super::*;

    fn clients(tokens: &[&str]) -> Clients {
        let entry = |text: &&str| Token { name: "t".to_owned(), sha256: token::digest(text).expect("token") };
        Clients { tokens: tokens.iter().map(entry).collect(), ..Clients::of(Access::Token) }
    }

    fn with(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_str(value).expect("value"))).collect()
    }

    #[test]
    fn a_token_of_the_list_passes_and_everything_else_does_not() {
        let texts: Vec<_> = (1..=3).map(|byte| token::text(&[byte; 32])).collect();
        let other = token::text(&[4; 32]);
        let clients = clients(&texts.iter().map(|text| text.as_str()).collect::<Vec<_>>());
        for text in &texts {
            let tenant = admit(&with(&[&format!("Bearer {}", text.as_str())]), &clients).expect("admitted");
            assert_eq!(tenant, Tenant(token::digest(text).ok()), "each token is a tenant of its own");
            assert!(admit(&with(&[&format!("bearer {}", text.as_str())]), &clients).is_ok());
        }
        let good = format!("Bearer {}", texts[0].as_str());
        let wrong = [
            vec![],
            vec!["Bearer"],
            vec!["Bearer "],
            vec![texts[0].as_str()],
            vec!["Basic abc"],
            vec![&good[..good.len() - 1]],
            vec![&good, &good],
        ];
        for values in wrong {
            assert!(matches!(admit(&with(&values), &clients), Err(ApiError::Unauthorized)), "{values:?}");
        }
        assert!(admit(&with(&[&format!("Bearer {}", other.as_str())]), &clients).is_err());
    }

    #[test]
    fn anyone_passes_only_where_the_document_says_so() {
        let mut clients = clients(&[]);
        assert!(admit(&with(&[]), &clients).is_err());
        clients.access = Access::Anyone;
        assert_eq!(admit(&with(&[]), &clients).ok(), Some(Tenant(None)));
    }
}
