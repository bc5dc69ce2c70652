//! AMD's key distribution service.
//!
//! Source: AMD publication 57230, "Versioned Chip Endorsement Key (VCEK) Certificate and KDS Interface Specification".

use super::{CollateralError, Library, cache::Age};

/// Largest certificate or revocation list, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// The certificate at a place. It is of one chip at one TCB and does not change.
pub(super) async fn certificate(library: &Library, place: &str) -> Result<Option<Vec<u8>>, CollateralError> {
    fetched(library, place, Age::Any).await
}

/// The revocation list at a place, of today.
pub(super) async fn revocation_list(library: &Library, place: &str) -> Result<Option<Vec<u8>>, CollateralError> {
    fetched(library, place, Age::Day).await
}

/// From the cache if it is young enough, from the service, or from the cache however old: the verifier judges dates.
async fn fetched(library: &Library, place: &str, age: Age) -> Result<Option<Vec<u8>>, CollateralError> {
    let name = format!("{}{place}", library.amd.address());
    let cached = |age| library.cache.as_ref().and_then(|cache| cache.get(&name, age));
    if let Some(bytes) = cached(if library.online { age } else { Age::Any }) {
        return Ok(Some(bytes));
    }
    if !library.online {
        return Ok(None);
    }
    match library.amd.get(place, MAX_BYTES).await {
        Ok(answer) => {
            if let Some(cache) = &library.cache {
                cache.put(&name, &answer.body);
            }
            Ok(Some(answer.body))
        }
        Err(problem) => cached(Age::Any).map(Some).ok_or(problem),
    }
}
