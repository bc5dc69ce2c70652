//! Bearer tokens: `lth_` and 256 random bits in base64url without padding.
//!
//! Tokens are made by a tool, never chosen by a person, so that the SHA-256 in a public document gives nothing away:
//! nobody guesses 256 bits. That holds only if no other shape is ever accepted, so both sides check the shape.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What every token begins with; also a mark for tools that look for leaked secrets.
pub const PREFIX: &str = "lth_";

/// Random bytes in a token.
pub const RANDOM_BYTES: usize = 32;

/// Length of a token's text, in bytes: the prefix and 43 characters.
pub const TEXT_BYTES: usize = 47;

/// The text is not one that `lethe token new` makes. Says nothing of the text, which may be another service's secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token of `lethe token new`: {PREFIX} and 43 characters of base64url are expected")]
pub struct Malformed;

/// The text of a token made of `random`, which a caller has from the system's generator.
#[must_use]
pub fn text(random: &[u8; RANDOM_BYTES]) -> Zeroizing<String> {
    // The final length at once: a string that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(TEXT_BYTES));
    text.push_str(PREFIX);
    URL_SAFE_NO_PAD.encode_string(random, &mut text);
    text
}

/// Whether `text` has the shape of a token.
///
/// # Errors
/// [`Malformed`] otherwise, also for the 43-character texts whose last character has bits that no encoder sets.
pub fn check(text: &str) -> Result<(), Malformed> {
    let encoded = text.strip_prefix(PREFIX).filter(|_| text.len() == TEXT_BYTES).ok_or(Malformed)?;
    // One byte more than a token has: the decoder's own estimate for 43 characters.
    let mut random = Zeroizing::new([0_u8; RANDOM_BYTES + 1]);
    match URL_SAFE_NO_PAD.decode_slice(encoded, random.as_mut_slice()) {
        Ok(RANDOM_BYTES) => Ok(()),
        _ => Err(Malformed),
    }
}

/// SHA-256 of the whole text, `lth_` included: what `clients.tokens` holds.
///
/// # Errors
/// [`Malformed`] if `text` is of another shape, so that a password somebody chose never becomes a token.
pub fn digest(text: &str) -> Result<[u8; 32], Malformed> {
    check(text)?;
    Ok(Sha256::digest(text.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZEROS: &str = "lth_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn a_token_has_its_prefix_and_43_characters() {
        assert_eq!(*text(&[0; 32]), ZEROS);
        assert_eq!(text(&[0xff; 32]).len(), TEXT_BYTES);
        assert!(text(&[0xff; 32]).starts_with("lth_______"));
        assert_eq!(check(ZEROS), Ok(()));
    }

    // printf %s lth_AAA… | sha256sum
    #[test]
    fn the_digest_is_that_of_the_whole_text() {
        assert_eq!(
            digest(ZEROS).map(hex::encode),
            Ok("e67920fdfa82e6524597e5e6c1a5dfa8bd9b6a0c9fc68eb22a750e9e29e4a923".to_owned())
        );
    }

    #[test]
    fn another_shape_has_no_digest() {
        let long = format!("{ZEROS}A");
        let padded = format!("{}=", &ZEROS[..46]);
        let plus = ZEROS.replacen("_A", "_+", 1);
        let loose = format!("{}B", &ZEROS[..46]);
        let multibyte = format!("lth_{}", "é".repeat(21)) + "A";
        for text in ["", "lth_", "hunter2", &ZEROS[4..], &ZEROS[..46], &long, &padded, &plus, &loose, &multibyte] {
            assert_eq!(digest(text), Err(Malformed), "{text}");
        }
        assert_eq!(digest(&ZEROS.replacen("lth", "LTH", 1)), Err(Malformed));
    }
}
