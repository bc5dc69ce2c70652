//! The message around a change.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::change::Change;
use crate::hpke::{Aead, CryptoRng, Kem, PublicKey, SecretKey, Unsealable, receive, send};
use crate::refusal::Refusal;

/// Most bytes of a message: enough for 64 names with values of 1 KiB, or a chain of certificates.
pub const MAX_MESSAGE: usize = 128 << 10;

const AEAD: Aead = Aead::ChaCha20Poly1305;
const INFO: &[u8] = b"lethe secrets";
/// First line of what the operator signs, so that the signature means nothing elsewhere.
const PURPOSE: &str = "lethe secrets v1\n";

/// The key of the appliance that secrets are sealed to.
#[derive(Debug)]
pub struct SecretsKey {
    /// Its name in the keyset.
    pub kid: String,
    /// The key, of [`Kem::X25519`].
    pub secret: SecretKey,
}

/// The operator's Ed25519 key; wiped when it is dropped.
pub struct OperatorKey(Box<SigningKey>);

impl OperatorKey {
    /// The key of 32 random bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(Box::new(SigningKey::from_bytes(seed)))
    }

    /// The public half, which the deployment document has.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    v: u64,
    kid: String,
    counter: u64,
    enc: String,
    ciphertext: String,
    signature: String,
}

impl Message {
    /// JCS of {counter, kid, v}; `None` beyond 2^53.
    fn aad(&self) -> Option<String> {
        crate::canonical(&json!({"counter": self.counter, "kid": self.kid, "v": self.v})).ok()
    }

    /// The purpose and JCS of all members but the signature.
    fn signed(&self) -> Option<String> {
        let members = json!({
            "ciphertext": self.ciphertext, "counter": self.counter, "enc": self.enc, "kid": self.kid, "v": self.v,
        });
        crate::canonical(&members).ok().map(|members| PURPOSE.to_owned() + &members)
    }
}

/// Seals and signs a change. `kid` and `key` come from the attested keyset; `counter` is above all that were used before.
///
/// # Errors
/// [`Unsealable`] for a change that [`Change::check`] refuses, a counter beyond 2^53 - 1, a key of low order, or too much for
/// one message.
pub fn seal(
    kid: &str,
    key: &PublicKey,
    change: &Change,
    counter: u64,
    operator: &OperatorKey,
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, Unsealable> {
    change.check().map_err(|_| Unsealable)?;
    let (enc, mut sender) = send(AEAD, key, INFO, rng)?;
    let (kid, enc) = (kid.to_owned(), URL_SAFE_NO_PAD.encode(enc));
    let mut message = Message { v: 1, kid, counter, enc, ciphertext: String::new(), signature: String::new() };
    let aad = message.aad().ok_or(Unsealable)?;
    message.ciphertext = URL_SAFE_NO_PAD.encode(sender.seal(aad.as_bytes(), &change.to_json())?);
    let signed = message.signed().ok_or(Unsealable)?;
    message.signature = URL_SAFE_NO_PAD.encode(operator.0.sign(signed.as_bytes()).to_bytes());
    let body = serde_json::to_vec(&message).map_err(|_| Unsealable)?;
    if body.len() > MAX_MESSAGE { Err(Unsealable) } else { Ok(body) }
}

/// Opens a message of one of the `operators`, whose counter is above `last`, and gives the change with its counter.
///
/// The caller keeps the counter before it applies the change.
///
/// # Errors
/// [`Refusal`].
pub fn open(keys: &[&SecretsKey], operators: &[[u8; 32]], last: u64, body: &[u8]) -> Result<(Change, u64), Refusal> {
    if body.len() > MAX_MESSAGE {
        return Err(Refusal::TooLong);
    }
    let message: Message = serde_json::from_slice(body).map_err(|_| Refusal::Malformed)?;
    let (aad, signed) = (message.aad().ok_or(Refusal::Malformed)?, message.signed().ok_or(Refusal::Malformed)?);
    if message.v != 1 {
        return Err(Refusal::Malformed);
    }
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| Refusal::Malformed);
    let (enc, ciphertext) = (decode(&message.enc)?, decode(&message.ciphertext)?);
    let signature = Signature::from_slice(&decode(&message.signature)?).map_err(|_| Refusal::Signature)?;
    let is_signer = |operator: &[u8; 32]| {
        VerifyingKey::from_bytes(operator).is_ok_and(|key| key.verify_strict(signed.as_bytes(), &signature).is_ok())
    };
    if !operators.iter().any(is_signer) {
        return Err(Refusal::Signature);
    }
    if message.counter <= last {
        return Err(Refusal::Rollback);
    }
    let key = keys.iter().find(|key| key.kid == message.kid && key.secret.kem() == Kem::X25519);
    let mut receiver = receive(AEAD, &key.ok_or(Refusal::UnknownKey)?.secret, &enc, INFO)?;
    let json = receiver.open(aad.as_bytes(), &ciphertext)?;
    let change = Change::from_json(&json).ok_or(Refusal::Malformed)?;
    Ok((change, message.counter))
}
