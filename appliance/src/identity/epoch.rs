//! The keys of one epoch: one key a wire, and the set of what they opened.

use std::sync::{Mutex, PoisonError};

use protocol::envelope::EnvelopeKey;
use protocol::hpke::{Aead, Kem, SecretKey};
use protocol::keyset::algorithm;
use protocol::ohttp::GatewayKey;
use protocol::ratchet::Ratchet;
use protocol::replay::{ReplaySet, Seen};
use protocol::{PublicKey, Sha256Digest};
use zeroize::Zeroizing;

use super::IdentityError;

/// The gateway's ciphers, in its order: first the one that existing clients of the field expect at a fixed place.
const AEADS: [Aead; 3] = [Aead::Aes128Gcm, Aead::ChaCha20Poly1305, Aead::Aes256Gcm];

/// The keys of one epoch; wiped when the last request that uses them ends.
pub struct Epoch {
    number: u64,
    ohttp: [GatewayKey; 2],
    ehbp: SecretKey,
    envelope: EnvelopeKey,
    seen: Mutex<ReplaySet>,
    capacity: usize,
}

/// How full an epoch is after a request was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// There is room.
    Enough,
    /// The next epoch should begin.
    Little,
}

impl Epoch {
    /// The keys that the chain's present value gives. `first_id` is the OHTTP key id of the boot's first epoch.
    pub(super) fn draw(chain: &Ratchet, number: u64, first_id: u8, capacity: usize) -> Result<Self, IdentityError> {
        let secret = |role, kem| Ok::<_, IdentityError>(SecretKey::derive(kem, &*chain.key(role)?));
        let mut marks = Zeroizing::new([0; 32]);
        getrandom::fill(marks.as_mut_slice()).map_err(IdentityError::Random)?;
        // Two ids an epoch. They come round after 128 epochs, and at most four epochs are known at a time.
        let [turn, ..] = number.wrapping_mul(2).to_le_bytes();
        let id = first_id.wrapping_add(turn);
        let gateway = |key_id, secret| GatewayKey { key_id, secret, aeads: AEADS.to_vec() };
        let ohttp = [
            gateway(id, secret("ohttp", Kem::X25519)?),
            gateway(id.wrapping_add(1), secret("ohttp-xwing", Kem::XWing)?),
        ];
        let envelope = secret("envelope", Kem::X25519)?;
        let envelope = EnvelopeKey { kid: name("env", envelope.public_key().as_bytes()), secret: envelope };
        let ehbp = secret("ehbp", Kem::X25519)?;
        Ok(Self { number, ohttp, ehbp, envelope, seen: Mutex::new(ReplaySet::new(capacity, *marks)), capacity })
    }

    /// Its number in this boot, from 0.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Keys of OHTTP: X25519, then X-Wing.
    #[must_use]
    pub const fn ohttp(&self) -> &[GatewayKey; 2] {
        &self.ohttp
    }

    /// The key of EHBP.
    #[must_use]
    pub const fn ehbp(&self) -> &SecretKey {
        &self.ehbp
    }

    /// The key of the envelope.
    #[must_use]
    pub const fn envelope(&self) -> &EnvelopeKey {
        &self.envelope
    }

    /// Accepts a message that one of these keys opened, once in the keys' life.
    ///
    /// # Errors
    /// [`Seen`]
    pub fn accept(&self, wire: &str, message: &[u8]) -> Result<Room, Seen> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.accept(wire, message)?;
        // the last sixteenth is for requests that are on their way while the next epoch begins
        let few = self.capacity - self.capacity / 16;
        Ok(if seen.len() >= few { Room::Little } else { Room::Enough })
    }

    /// What the keyset lists, with the algorithms' names.
    pub(super) fn public_keys(&self) -> Vec<PublicKey> {
        let entry = |prefix, algo: &str, key: &[u8]| PublicKey {
            key_id: name(prefix, key),
            algo: algo.to_owned(),
            public_key: hex::encode(key),
        };
        let public = |secret: &SecretKey| secret.public_key().as_bytes().to_vec();
        let [x25519, xwing] = &self.ohttp;
        vec![
            entry("ohttp", algorithm::OHTTP, &public(&x25519.secret)),
            entry("ohttp", algorithm::OHTTP_XWING, &public(&xwing.secret)),
            entry("ehbp", algorithm::EHBP, &public(&self.ehbp)),
            entry("env", algorithm::ENVELOPE, &public(&self.envelope.secret)),
        ]
    }
}

/// A key's name: the same for the same key, another one at every boot.
fn name(prefix: &str, public: &[u8]) -> String {
    let digest = hex::encode(Sha256Digest::of(public).0);
    format!("{prefix}-{}", digest.get(..16).unwrap_or(&digest))
}
