//! The bearer token that this program sends. Its form is the deployment document's business.

use std::{fmt, str::FromStr};

use deployment::token;
use zeroize::Zeroizing;

/// Why a text is not a token. It does not repeat the text.
pub use deployment::token::Malformed as TokenError;

/// A bearer token. It is wiped when dropped and has no `Debug` that shows it.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// Makes a token of 256 random bits.
    ///
    /// # Errors
    /// The operating system's, if it has no random numbers.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut secret = Zeroizing::new([0; token::RANDOM_BYTES]);
        getrandom::fill(secret.as_mut())?;
        Ok(Self(token::text(&secret)))
    }

    /// The text that is sent.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// SHA-256 of the whole text, prefix included, in hexadecimal: what a deployment document holds.
    ///
    /// # Errors
    /// None in fact: only texts of the right shape become tokens.
    pub fn sha256_hex(&self) -> Result<String, TokenError> {
        token::digest(&self.0).map(hex::encode)
    }

    /// Whether an `Authorization` header value carries a text with the shape of a token.
    #[must_use]
    pub fn is_in_header(value: &[u8]) -> bool {
        let Some((scheme, text)) = value.split_at_checked(7) else { return false };
        scheme.eq_ignore_ascii_case(b"bearer ")
            && std::str::from_utf8(text).is_ok_and(|text| token::check(text).is_ok())
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        token::check(text)?;
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_is_read_back_and_no_two_are_equal() {
        let token = Token::random().unwrap();
        assert_eq!(token.secret().parse::<Token>().unwrap().sha256_hex(), token.sha256_hex());
        assert_ne!(token.secret(), Token::random().unwrap().secret());
    }

    #[test]
    fn texts_of_another_shape_are_no_tokens() {
        let token = Token::random().unwrap();
        for other in ["", "sk-abc", &token.secret()[1..], &format!("{}A", token.secret())] {
            assert_eq!(other.parse::<Token>().err(), Some(TokenError), "{other}");
        }
    }

    #[test]
    fn a_header_with_another_services_key_does_not_count() {
        let token = Token::random().unwrap();
        assert!(Token::is_in_header(format!("Bearer {}", token.secret()).as_bytes()));
        assert!(!Token::is_in_header(b"Bearer sk-0123456789"));
        assert!(!Token::is_in_header(token.secret().as_bytes()));
    }

    #[test]
    fn a_token_does_not_show_in_debug_output() {
        let token = Token::random().unwrap();
        assert!(!format!("{token:?}").contains(&token.secret()[4..]));
    }
}
