//! Requests.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{AnswerOpener, AnswerSealer};
use super::device::{Device, DeviceSigner, Member};
use super::keys::{EnvelopeKey, PublishedKey};
use super::{AEAD, INFO, decode, encode, is_kid, is_rid};
use crate::hpke::{CryptoRng, Kem, Unsealable, Wiped, receive, send};
use crate::refusal::Refusal;

/// A sealed request as it travels. Its clear members are checked for form; nothing is proven before [`open`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    pub(super) kid: String,
    pub(super) enc: String,
    pub(super) ciphertext: String,
    pub(super) aad: String,
    pub(super) ts: u64,
    pub(super) rid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device: Option<Member>,
}

impl Message {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] for anything but the documented members, `kid` and `rid` of other characters, a `ts` beyond
    /// 2^53 - 1, or an `aad` that is not the canonical form of the others.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let message: Self = serde_json::from_slice(body).map_err(|_| Refusal::Malformed)?;
        let named = is_kid(&message.kid) && is_rid(&message.rid);
        if !named || Some(&message.aad) != message.expected_aad().map(|aad| encode(&aad)).as_ref() {
            return Err(Refusal::Malformed);
        }
        Ok(message)
    }

    /// The name of the key that the request is for.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// When the client says that it made the request, in seconds since 1970.
    #[must_use]
    pub const fn ts(&self) -> u64 {
        self.ts
    }

    /// The client's name for the request, unique for its device.
    #[must_use]
    pub fn rid(&self) -> &str {
        &self.rid
    }

    /// The device that signed the request, or `None` where it has no device member.
    ///
    /// # Errors
    /// [`Refusal::Signature`] where the signature is not that device's, [`Refusal::Malformed`].
    pub fn device(&self) -> Result<Option<Device>, Refusal> {
        self.device.as_ref().map(|member| member.check(self)).transpose()
    }

    /// The request as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // strings and a number always become JSON
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// JCS of {kid, rid, ts, v: 1}; `None` where `ts` has none.
    fn expected_aad(&self) -> Option<Vec<u8>> {
        aad(&self.kid, &self.rid, self.ts)
    }
}

fn aad(kid: &str, rid: &str, ts: u64) -> Option<Vec<u8>> {
    crate::canonical(&json!({"kid": kid, "rid": rid, "ts": ts, "v": 1})).ok().map(String::into_bytes)
}

/// A request that decrypted.
pub struct Opened {
    /// The body of a chat completion.
    pub content: Wiped,
    /// The encapsulated key, for the replay set.
    pub enc: Vec<u8>,
    /// The token of a device that wants to be enrolled.
    pub enrolment: Option<Wiped>,
    /// Encrypts the answer, also where the content is refused.
    pub reply: AnswerSealer,
}

/// Opens a request. `keys` are those that are accepted now.
///
/// # Errors
/// [`Refusal`].
pub fn open(keys: &[&EnvelopeKey], message: &Message) -> Result<Opened, Refusal> {
    let key = keys.iter().find(|key| key.kid == message.kid && key.secret.kem() == Kem::X25519);
    let key = key.ok_or(Refusal::UnknownKey)?;
    let enc = decode(&message.enc).ok_or(Refusal::Malformed)?;
    let ciphertext = decode(&message.ciphertext).ok_or(Refusal::Malformed)?;
    let aad = message.expected_aad().ok_or(Refusal::Malformed)?;
    let mut receiver = receive(AEAD, &key.secret, &enc, INFO)?;
    let content = receiver.open(&aad, &ciphertext)?;
    let sealed = message.device.as_ref().and_then(|device| device.enrolment.as_deref());
    let sealed = sealed.map(|text| decode(text).ok_or(Refusal::Malformed)).transpose()?;
    let enrolment = sealed.map(|sealed| receiver.open(&aad, &sealed)).transpose()?;
    let reply = AnswerSealer::new(&message.rid, |label, secret| receiver.export(label, secret))
        .ok_or(Refusal::Undecryptable)?;
    Ok(Opened { content, enc, enrolment, reply })
}

/// A request before it is sealed.
pub struct Request<'a> {
    /// The body of a chat completion.
    pub content: &'a [u8],
    /// 16 to 64 letters, digits, `-` and `_`; unique, best random.
    pub rid: &'a str,
    /// Seconds since 1970.
    pub ts: u64,
    /// Signs the request where the appliance wants device keys.
    pub device: Option<DeviceSigner<'a>>,
}

/// Seals a request to a key that the attested keyset has.
///
/// # Errors
/// [`Unsealable`] for a key that is none, or a `rid` or `ts` out of form.
pub fn seal(
    key: &PublishedKey,
    request: &Request<'_>,
    rng: &mut impl CryptoRng,
) -> Result<(Message, AnswerOpener), Unsealable> {
    let public = key.key().filter(|_| is_rid(request.rid)).ok_or(Unsealable)?;
    let aad = aad(&key.kid, request.rid, request.ts).ok_or(Unsealable)?;
    let (enc, mut sender) = send(AEAD, &public, INFO, rng)?;
    let ciphertext = sender.seal(&aad, request.content)?;
    let mut message = Message {
        kid: key.kid.clone(),
        enc: encode(&enc),
        ciphertext: encode(&ciphertext),
        aad: encode(&aad),
        ts: request.ts,
        rid: request.rid.to_owned(),
        device: None,
    };
    if let Some(signer) = &request.device {
        let enrolment = signer.enrolment.map(|token| sender.seal(&aad, token.as_bytes())).transpose()?;
        message.device = Some(Member::sign(signer, &message, enrolment.map(|sealed| encode(&sealed))));
    }
    let opener = AnswerOpener::new(request.rid, |label, secret| sender.export(label, secret)).ok_or(Unsealable)?;
    Ok((message, opener))
}
