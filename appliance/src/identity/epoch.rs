//! The keys of one epoch: one key a wire, and the set of what they opened.

use std::sync::{Mutex, PoisonError};

use deployment::Wires;
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
    ohttp: Vec<GatewayKey>,
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
    pub(super) fn draw(
        chain: &Ratchet,
        number: u64,
        first_id: u8,
        capacity: usize,
        wires: &Wires,
    ) -> Result<Self, IdentityError> {
        let secret = |role, kem| Ok::<_, IdentityError>(SecretKey::derive(kem, &*chain.key(role)?));
        let mut marks = Zeroizing::new([0; 32]);
        getrandom::fill(marks.as_mut_slice()).map_err(IdentityError::Random)?;
        // Two ids an epoch. They come round after 128 epochs, and at most four epochs are known at a time.
        let [turn, ..] = number.wrapping_mul(2).to_le_bytes();
        let id = first_id.wrapping_add(turn);
        let gateway = |key_id, secret| GatewayKey { key_id, secret, aeads: AEADS.to_vec() };
        let mut ohttp = vec![gateway(id, secret("ohttp", Kem::X25519)?)];
        if wires.post_quantum {
            ohttp.push(gateway(id.wrapping_add(1), secret("ohttp-xwing", Kem::XWing)?));
        }
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

    /// Keys of OHTTP: X25519, then X-Wing where the document offers it.
    #[must_use]
    pub fn ohttp(&self) -> &[GatewayKey] {
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

    /// What the keyset lists of the wires that are served, with the algorithms' names.
    pub(super) fn public_keys(&self, wires: &Wires) -> Vec<PublicKey> {
        let entry = |prefix, algo: &str, key: &[u8]| PublicKey {
            key_id: name(prefix, key),
            algo: algo.to_owned(),
            public_key: hex::encode(key),
        };
        let public = |secret: &SecretKey| secret.public_key().as_bytes().to_vec();
        let gateway = self.ohttp.iter().map(|key| match key.secret.kem() {
            Kem::X25519 => (wires.ohttp, "ohttp", algorithm::OHTTP, &key.secret),
            Kem::XWing => (wires.ohttp, "ohttp", algorithm::OHTTP_XWING, &key.secret),
        });
        let others = [
            (wires.ehbp, "ehbp", algorithm::EHBP, &self.ehbp),
            (wires.envelope, "env", algorithm::ENVELOPE, &self.envelope.secret),
        ];
        let served = gateway.chain(others).filter(|(served, ..)| *served);
        served.map(|(_, prefix, algo, secret)| entry(prefix, algo, &public(secret))).collect()
    }
}

/// Names of the wires that are served, as capabilities and receipts have them.
pub(super) fn wire_names(wires: &Wires) -> Vec<&'static str> {
    let all =
        [(wires.ohttp, "ohttp"), (wires.ohttp, "ohttp-chunked"), (wires.ehbp, "ehbp"), (wires.envelope, "envelope")];
    all.into_iter().filter_map(|(served, name)| served.then_some(name)).collect()
}

/// A key's name: the same for the same key, another one at every boot.
fn name(prefix: &str, public: &[u8]) -> String {
    let digest = hex::encode(Sha256Digest::of(public).0);
    format!("{prefix}-{}", digest.get(..16).unwrap_or(&digest))
}
