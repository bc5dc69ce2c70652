//! Secrets for a running appliance: sealed to its attested key, signed by the operator, counted against rollback.
//!
//! HPKE base mode, X25519 with HKDF-SHA256 and ChaCha20-Poly1305. The exact bytes and vectors are in `docs/protocol.md`.

mod change;
mod message;
mod sealed;

pub use change::{Change, ChangeError, MAX_NAMES, MAX_VALUE};
pub use message::{MAX_MESSAGE, OperatorKey, SecretsKey, open, seal};
pub use sealed::{Kept, MAX_SEALED, Unopenable, keep, restore};
