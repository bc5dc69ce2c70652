//! Oblivious HTTP (RFC 9458) and its chunked form (draft-ietf-ohai-chunked-ohttp-08), both sides of both.
//!
//! What is encapsulated is Binary HTTP ([`crate::bhttp`]). A gateway opens a request with [`open_request`] or
//! [`open_chunked_request`] and answers with the [`Reply`] or [`ChunkedReply`] that comes with it; a client makes a request
//! with [`seal_request`] or [`seal_chunked_request`] and reads the answer with what comes with that.
//!
//! A gateway must refuse a request whose encapsulated key it has seen before ([`crate::replay`]): opening does not.

mod chunks;
mod client;
mod config;
mod gateway;

pub use chunks::{ChunkSealer, MAX_CHUNK};
pub use client::{AnswerError, ChunkOpener, PendingAnswer, Prepared, seal_chunked_request, seal_request};
pub use config::{ConfigError, KeyConfig, decode_list, encode_list};
pub use gateway::{ChunkedReply, GatewayKey, Opened, Reply, open_chunked_request, open_request};

use crate::hpke::{HKDF_SHA256, Suite};

/// Media type of a list of key configurations.
pub const KEYS_TYPE: &str = "application/ohttp-keys";
/// Media type of a request.
pub const REQUEST_TYPE: &str = "message/ohttp-req";
/// Media type of a response.
pub const RESPONSE_TYPE: &str = "message/ohttp-res";
/// Media type of a chunked request.
pub const CHUNKED_REQUEST_TYPE: &str = "message/ohttp-chunked-req";
/// Media type of a chunked response.
pub const CHUNKED_RESPONSE_TYPE: &str = "message/ohttp-chunked-res";
/// Problem type of a request for a key that is not offered (RFC 9458 section 5.2).
pub const KEY_PROBLEM: &str = "https://iana.org/assignments/http-problem-types#ohttp-key";
/// Problem type of a request whose date is not acceptable (RFC 9458 section 6.5.2).
pub const DATE_PROBLEM: &str = "https://iana.org/assignments/http-problem-types#date";

/// Labels that make the two forms different protocols.
struct Labels {
    request: &'static [u8],
    response: &'static [u8],
}

const WHOLE: Labels = Labels { request: b"message/bhttp request", response: b"message/bhttp response" };
const CHUNKED: Labels =
    Labels { request: b"message/bhttp chunked request", response: b"message/bhttp chunked response" };

/// What a request starts with: key and suite.
#[derive(Clone, Copy)]
struct Header {
    key_id: u8,
    suite: Suite,
}

/// Length of a [`Header`].
const HEADER_LEN: usize = 7;

impl Header {
    fn encode(self) -> [u8; HEADER_LEN] {
        let [kem_0, kem_1] = self.suite.kem.id().to_be_bytes();
        let [kdf_0, kdf_1] = HKDF_SHA256.to_be_bytes();
        let [aead_0, aead_1] = self.suite.aead.id().to_be_bytes();
        [self.key_id, kem_0, kem_1, kdf_0, kdf_1, aead_0, aead_1]
    }

    /// `None` for a suite that is not supported.
    fn decode(bytes: [u8; HEADER_LEN]) -> Option<Self> {
        let [key_id, kem_0, kem_1, kdf_0, kdf_1, aead_0, aead_1] = bytes;
        let id = |high, low| u16::from_be_bytes([high, low]);
        let suite = Suite::from_ids(id(kem_0, kem_1), id(kdf_0, kdf_1), id(aead_0, aead_1))?;
        Some(Self { key_id, suite })
    }

    /// `info` of the HPKE context.
    fn info(self, labels: &Labels) -> Vec<u8> {
        [labels.request, &[0], &self.encode()].concat()
    }
}
