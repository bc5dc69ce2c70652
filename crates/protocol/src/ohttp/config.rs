//! Key configurations (RFC 9458 section 3).

use crate::hpke::{Aead, HKDF_SHA256, Kem, PublicKey, Suite};

/// A key of a gateway and the ciphers that it takes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyConfig {
    /// Names the key in requests.
    pub key_id: u8,
    /// The key.
    pub key: PublicKey,
    /// Ciphers in the gateway's order; with HKDF-SHA256 always.
    pub aeads: Vec<Aead>,
}

/// Bytes that hold no usable key configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A length does not fit, or a key is none.
    #[error("the key configuration is malformed")]
    Malformed,
    /// Every key or every suite is of an algorithm that is not supported.
    #[error("the key configuration has no supported algorithm")]
    Unsupported,
}

impl KeyConfig {
    /// The bare form: no length in front. EHBP serves one of these.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.key_id];
        out.extend(self.key.kem().id().to_be_bytes());
        out.extend_from_slice(self.key.as_bytes());
        // never more than three ciphers
        out.extend(u16::try_from(self.aeads.len() * 4).unwrap_or(u16::MAX).to_be_bytes());
        for aead in &self.aeads {
            out.extend(HKDF_SHA256.to_be_bytes());
            out.extend(aead.id().to_be_bytes());
        }
        out
    }

    /// Reads the bare form.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ConfigError> {
        let (key_id, rest) = bytes.split_first().ok_or(ConfigError::Malformed)?;
        let (kem, rest) = number(rest)?;
        let kem = Kem::from_id(kem).ok_or(ConfigError::Unsupported)?;
        let (key, rest) = rest.split_at_checked(kem.public_key_len()).ok_or(ConfigError::Malformed)?;
        let key = PublicKey::from_bytes(kem, key).map_err(|_| ConfigError::Malformed)?;
        let (length, algorithms) = number(rest)?;
        let (pairs, odd) = algorithms.as_chunks::<4>();
        if usize::from(length) != algorithms.len() || pairs.is_empty() || !odd.is_empty() {
            return Err(ConfigError::Malformed);
        }
        let aead = |[kdf_0, kdf_1, aead_0, aead_1]: &[u8; 4]| {
            let (kdf, aead) = (u16::from_be_bytes([*kdf_0, *kdf_1]), u16::from_be_bytes([*aead_0, *aead_1]));
            Suite::from_ids(kem.id(), kdf, aead).map(|suite| suite.aead)
        };
        let mut aeads = Vec::with_capacity(3);
        for aead in pairs.iter().filter_map(aead) {
            if !aeads.contains(&aead) {
                aeads.push(aead);
            }
        }
        if aeads.is_empty() { Err(ConfigError::Unsupported) } else { Ok(Self { key_id: *key_id, key, aeads }) }
    }
}

/// A list of configurations, each behind its length.
#[must_use]
pub fn encode_list(configs: &[KeyConfig]) -> Vec<u8> {
    let mut out = Vec::new();
    for config in configs.iter().map(KeyConfig::encode) {
        // the longest one, with an X-Wing key, has 1233 bytes
        out.extend(u16::try_from(config.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend(config);
    }
    out
}

/// Reads a list; configurations with algorithms that are not supported are left out.
///
/// # Errors
/// [`ConfigError`], also where nothing is left.
pub fn decode_list(bytes: &[u8]) -> Result<Vec<KeyConfig>, ConfigError> {
    let (mut rest, mut configs) = (bytes, Vec::new());
    while !rest.is_empty() {
        let (length, after) = number(rest)?;
        let (config, after) = after.split_at_checked(usize::from(length)).ok_or(ConfigError::Malformed)?;
        match KeyConfig::decode(config) {
            Ok(config) => configs.push(config),
            Err(ConfigError::Unsupported) => {}
            Err(error) => return Err(error),
        }
        rest = after;
    }
    if configs.is_empty() { Err(ConfigError::Unsupported) } else { Ok(configs) }
}

fn number(bytes: &[u8]) -> Result<(u16, &[u8]), ConfigError> {
    let (number, rest) = bytes.split_first_chunk::<2>().ok_or(ConfigError::Malformed)?;
    Ok((u16::from_be_bytes(*number), rest))
}
