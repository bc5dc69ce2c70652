//! An appliance that was accepted.

use protocol::{Keyset, Sha256Digest};

use super::{
    examine::Channel,
    labels::{Labels, Outcome, Subject},
};
use crate::pin::SpkiPin;

/// An appliance that the policy accepts, with what is known about it. [`super::examine`] alone makes one.
#[derive(Debug, Clone)]
pub struct Verified {
    pub(super) labels: Labels,
    pub(super) platform: String,
    pub(super) keyset: Keyset,
    pub(super) keyset_digest: Sha256Digest,
    pub(super) channel: Channel,
}

impl Verified {
    /// The six labels.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The platform.
    #[must_use]
    pub fn platform(&self) -> &str {
        &self.platform
    }

    /// The keys that the report endorses.
    #[must_use]
    pub fn keyset(&self) -> &Keyset {
        &self.keyset
    }

    /// Their digest.
    #[must_use]
    pub fn keyset_digest(&self) -> Sha256Digest {
        self.keyset_digest
    }

    /// The TLS key that every further connection has to prove; `None` on a UNIX socket.
    #[must_use]
    pub fn pin(&self) -> Option<SpkiPin> {
        match self.channel {
            Channel::Tls { pin, .. } => Some(pin),
            Channel::Local => None,
        }
    }

    /// Whether hardware vouches for the appliance. Without it, a changed key cannot be told from an impostor's.
    #[must_use]
    pub fn is_proven_by_hardware(&self) -> bool {
        self.labels.outcome(Subject::Hardware) == Some(Outcome::Accepted)
    }
}
