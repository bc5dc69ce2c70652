//! The statement that evidence signs: keyset digest and nonce in one line with exact bytes (ACI section 3.2).

use std::fmt;

use crate::digest::{Sha256Digest, lower_hex_32};

/// A client's challenge: 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonce([u8; 32]);

/// A text that is not exactly 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nonce must be exactly 64 lower-case hexadecimal digits")]
pub struct NotANonce;

impl Nonce {
    /// A nonce of the given bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads the `nonce` parameter.
    ///
    /// # Errors
    /// [`NotANonce`] for any other text; the protocol demands the refusal.
    pub fn parse(text: &str) -> Result<Self, NotANonce> {
        lower_hex_32(text).map(Self).ok_or(NotANonce)
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The statement. Its parts are hexadecimal or fixed, so that nothing needs an escape.
#[must_use]
pub fn statement(keyset: Sha256Digest, nonce: Option<&Nonce>) -> String {
    let nonce = nonce.map_or_else(|| "null".to_owned(), |nonce| format!("\"{nonce}\""));
    format!("{{\"keyset_digest\":\"{keyset}\",\"nonce\":{nonce},\"purpose\":\"aci.report_data.v1\"}}")
}

/// SHA-256 of the statement.
#[must_use]
pub fn report_data(keyset: Sha256Digest, nonce: Option<&Nonce>) -> [u8; 32] {
    Sha256Digest::of(statement(keyset, nonce).as_bytes()).0
}

/// The 64 bytes that hardware signs: [`report_data`] and 32 zeros.
#[must_use]
pub fn report_data_slot(keyset: Sha256Digest, nonce: Option<&Nonce>) -> [u8; 64] {
    let mut slot = [0; 64];
    let (first, _) = slot.split_at_mut(32);
    first.copy_from_slice(&report_data(keyset, nonce));
    slot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_64_lower_case_digits_and_nothing_else() {
        let text = "00ff".repeat(16);
        assert_eq!(Nonce::parse(&text).expect("nonce").to_string(), text);
        for other in
            ["", "00", &"00FF".repeat(16), &"0g".repeat(32), &format!("{text}00"), &format!("0x{}", &text[2..])]
        {
            assert_eq!(Nonce::parse(other), Err(NotANonce), "{other}");
        }
    }

    #[test]
    fn the_slot_ends_in_zeros() {
        let slot = report_data_slot(Sha256Digest::of(b"k"), None);
        assert_eq!(slot[..32], report_data(Sha256Digest::of(b"k"), None));
        assert_eq!(slot[32..], [0; 32]);
    }
}
