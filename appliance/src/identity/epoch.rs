//! The keys of one epoch: one key a wire, and the set of what they opened.

use std::sync::{Mutex, PoisonError};

use deployment::Wires;
use protocol::envelope::EnvelopeKey;
use protocol::hpke::{Aead, Kem, SecretKey};
use protocol::keyset::algorithm;
use protocol::ohttp::GatewayKey;
use protocol::ratchet::Ratchet;
use protocol::replay::{ReplaySet, Seen};
use protocol::secrets::SecretsKey;
use protocol::{PublicKey, Sha256Digest};

use super::{IdentityError, drawn};

/// The gateway's ciphers, in its order: first the one that existing clients of the field expect at a fixed place.
const AEADS: [Aead; 3] = [Aead::Aes128Gcm, Aead::ChaCha20Poly1305, Aead::Aes256Gcm];

/// Part of an epoch's messages that may go to routes for everyone.
const OPEN_SHARE: usize = 16;

/// The keys of one epoch; wiped when the last request that is being opened with them is open.
pub struct Epoch {
    number: u64,
    ohttp: Vec<GatewayKey>,
    ehbp: SecretKey,
    envelope: EnvelopeKey,
    secrets: SecretsKey,
    seen: Mutex<ReplaySet>,
    /// Messages for routes that are open to everyone: strangers fill this set and no other.
    seen_open: Mutex<ReplaySet>,
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
        let marks = drawn::<32>()?;
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
        let secrets = secret("secrets", Kem::X25519)?;
        let secrets = SecretsKey { kid: name("sec", secrets.public_key().as_bytes()), secret: secrets };
        let set = |capacity| Mutex::new(ReplaySet::new(capacity, *marks));
        let (seen, seen_open) = (set(capacity), set(capacity.div_ceil(OPEN_SHARE)));
        Ok(Self { number, ohttp, ehbp, envelope, secrets, seen, seen_open, capacity })
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

    /// The key of operators' messages.
    #[must_use]
    pub const fn secrets(&self) -> &SecretsKey {
        &self.secrets
    }

    /// Accepts a message that one of these keys opened and that is admitted to a route for few, once in the keys' life.
    ///
    /// # Errors
    /// [`Seen`]
    pub fn accept(&self, wire: &str, message: &[u8]) -> Result<Room, Seen> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.accept(wire, message)?;
        Ok(self.room(&seen))
    }

    fn room(&self, seen: &ReplaySet) -> Room {
        // the last sixteenth is for requests that are on their way while the next epoch begins
        let few = self.capacity - self.capacity / 16;
        if seen.len() >= few { Room::Little } else { Room::Enough }
    }

    /// Whether the epoch that comes next should begin.
    pub(super) fn is_nearly_full(&self) -> bool {
        self.room(&self.seen.lock().unwrap_or_else(PoisonError::into_inner)) == Room::Little
    }

    /// As [`Epoch::accept`], for a route that is open to everyone. Its share is small: what it answers can be had without sealing.
    ///
    /// # Errors
    /// [`Seen`]
    pub fn accept_open(&self, wire: &str, message: &[u8]) -> Result<(), Seen> {
        self.seen_open.lock().unwrap_or_else(PoisonError::into_inner).accept(wire, message)
    }

    /// What the keyset lists of the wires that are served, with the algorithms' names.
    pub(super) fn public_keys(&self, wires: &Wires, operators: bool) -> Vec<PublicKey> {
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
            (operators, "sec", algorithm::SECRETS, &self.secrets.secret),
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
