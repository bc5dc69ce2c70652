//! What `GET /api/pubkey` and `GET /.well-known/jwks.json` answer.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{decode, encode, is_kid};
use crate::digest::Sha256Digest;
use crate::hpke::{Kem, PublicKey, SecretKey};

/// The suite's name on the key page.
pub(super) const SUITE: &str = "DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305";

/// A key that requests are sealed to. It must be of [`Kem::X25519`].
#[derive(Debug)]
pub struct EnvelopeKey {
    /// Names the key in requests: 1 to 64 letters, digits, `-` and `_`.
    pub kid: String,
    /// The key.
    pub secret: SecretKey,
}

impl EnvelopeKey {
    /// What clients are told of the key.
    #[must_use]
    pub fn published(&self) -> PublishedKey {
        PublishedKey { kid: self.kid.clone(), public_key: encode(self.secret.public_key().as_bytes()) }
    }
}

/// A key as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedKey {
    /// Names the key in requests.
    pub kid: String,
    /// 32 bytes, base64url.
    pub public_key: String,
}

impl PublishedKey {
    /// The key itself; `None` for bytes that are no key, or a name that is none.
    #[must_use]
    pub fn key(&self) -> Option<PublicKey> {
        let bytes = decode(&self.public_key).filter(|_| is_kid(&self.kid))?;
        PublicKey::from_bytes(Kem::X25519, &bytes).ok()
    }
}

/// What `GET /api/pubkey` answers. A client believes a key only if the attested keyset has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPage {
    /// The suite of all keys.
    pub suite: String,
    /// The key of this epoch.
    pub current: PublishedKey,
    /// The key of the next epoch, which is accepted already.
    pub next: Option<PublishedKey>,
    /// Digest of the keyset that lists the keys.
    pub keyset_digest: Sha256Digest,
    /// The appliance's time in seconds since 1970, for requests' `ts`.
    pub now: u64,
}

impl KeyPage {
    /// A page of these keys.
    #[must_use]
    pub fn new(current: &EnvelopeKey, next: Option<&EnvelopeKey>, keyset_digest: Sha256Digest, now: u64) -> Self {
        let (current, next) = (current.published(), next.map(EnvelopeKey::published));
        Self { suite: SUITE.to_owned(), current, next, keyset_digest, now }
    }
}

/// The keys as a JSON Web Key Set (RFC 7517, RFC 8037).
#[must_use]
pub fn jwks(keys: &[PublishedKey]) -> Value {
    let key =
        |key: &PublishedKey| json!({"crv": "X25519", "kid": key.kid, "kty": "OKP", "use": "enc", "x": key.public_key});
    json!({"keys": keys.iter().map(key).collect::<Vec<_>>()})
}
