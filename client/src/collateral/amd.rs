//! AMD's key distribution service.
//!
//! Source: AMD publication 57230, "Versioned Chip Endorsement Key (VCEK) Certificate and KDS Interface Specification".

use super::{CollateralError, Service};

/// Largest certificate or revocation list, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// The certificate or the revocation list at a place, in DER.
pub(super) async fn fetched(service: &Service, place: &str) -> Result<Vec<u8>, CollateralError> {
    let body = service.get(place, MAX_BYTES).await?.body;
    // What is kept must not be the page of a portal or a proxy: it would be in the way for as long as it is kept.
    if is_one_sequence(&body) { Ok(body) } else { Err(service.other_form("not in DER")) }
}

/// Whether bytes are one DER SEQUENCE with a length of two bytes, as certificates and revocation lists are (X.690, section 8.1.3).
fn is_one_sequence(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x82, high, low, content @ ..] if content.len() == usize::from(u16::from_be_bytes([*high, *low])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_der_is_not_taken() {
        let sequence = [&[0x30, 0x82, 1, 0][..], &[7; 256]].concat();
        assert!(is_one_sequence(&sequence));
        let longer = [&sequence[..], &[0]].concat();
        for other in [&b"<html>"[..], b"", &sequence[..100], &longer, &[0x30, 0x82]] {
            assert!(!is_one_sequence(other), "{other:?}");
        }
    }
}
