//! The deployment document: what an operator decides, typed, bounded and explained.
//!
//! The document is TOML of at most [`MAX_BYTES`]. Its digest is taken over its exact bytes and compared with the
//! platform's register before a byte of it is parsed; parsing refuses unknown keys and values outside their range.
#![forbid(unsafe_code)]

mod document;

pub use document::{Access, Clients, Document, Engine, Limits, Listen, Model, Network, Template, Token};

/// Largest document that is read, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
