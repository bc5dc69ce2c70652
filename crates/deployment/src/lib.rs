//! The deployment document: what an operator decides, typed, bounded and explained.
//!
//! The document is TOML of at most [`MAX_BYTES`]. Its digest is taken over its exact bytes and compared with the
//! platform's register before a byte of it is parsed; parsing refuses unknown keys and values outside their range.
//!
//! [`KEYS`] is the one list of keys: what [`parse`] accepts, what [`explain`] and `docs/configuration.md` say, and what
//! a [`Draft`] writes all come from it.
#![forbid(unsafe_code)]

mod agree;
mod digest;
mod disk;
mod document;
mod draft;
mod error;
mod explain;
mod key;
mod keys;
mod nesting;
mod parse;
mod rule;
pub mod token;
mod walk;

pub use digest::{digest_sha256, digest_sha384};
pub use disk::{DISK_MAX_BYTES, DiskError, ENDORSEMENTS_MAX_BYTES, SEALED_MAX_BYTES, Wrapped, unwrap_disk, wrap_disk};
pub use document::{
    Access, Clients, Device, Document, Engine, Enrolment, Image, Kernels, Keys, Limits, Listen, ManifestDigest, Model,
    Network, OperatorKey, Receipts, Secrets, Shape, Template, Token, Wires,
};
pub use draft::Draft;
pub use error::DocumentError;
pub use explain::{explain, markdown};
pub use key::{Key, Kind, Presence, Section};
pub use keys::{KEYS, SECTIONS};
pub use parse::{faults, parse};
pub use rule::Rule;

/// Largest document that is read, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
