//! Requests sealed as chunked OHTTP: whoever carries them, a relay or whatever ends a TLS connection, sees sizes and times alone.
//!
//! The key is one of the verified keyset's, never one that was only fetched: the list of key configurations gives such a key its
//! name of one byte and its ciphers, which evidence does not bind, and a wrong one makes a message that does not open.
//!
//! A request is sealed whole. The gateway opens a message only when its last byte has come, so that chunks on the way would save
//! memory alone; and bytes at hand can be sealed again, for another connection, another key, or another clock. An answer is
//! opened as it comes, and is an error without its authenticated final chunk.

mod gateway;
mod opening;
mod relay;
mod supply;
mod way;

use std::{fmt, str::FromStr};

pub use relay::{NotARelay, Relay};

pub(crate) use gateway::{Gateway, fetch_configs};
pub(crate) use opening::{Outcome, opened};
pub(crate) use way::Way;

/// What requests travel in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wire {
    /// Sealed where the verified keyset has a key for it, and over the pinned TLS connection alone otherwise.
    #[default]
    Auto,
    /// Sealed, or not at all.
    Ohttp,
    /// Over the pinned TLS connection.
    Tls,
}

/// A text that names no [`Wire`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a wire is auto, ohttp or tls")]
pub struct NotAWire;

impl FromStr for Wire {
    type Err = NotAWire;

    fn from_str(text: &str) -> Result<Self, NotAWire> {
        match text {
            "auto" => Ok(Self::Auto),
            "ohttp" => Ok(Self::Ohttp),
            "tls" => Ok(Self::Tls),
            _ => Err(NotAWire),
        }
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Auto => "auto",
            Self::Ohttp => "ohttp",
            Self::Tls => "tls",
        })
    }
}
