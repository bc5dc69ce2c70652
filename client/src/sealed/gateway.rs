//! The gateway's key, and messages to it.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Bytes;
use protocol::{
    Keyset,
    bhttp::{self, Field, RequestHead, write_content, write_end, write_request_head},
    date,
    hpke::{Aead, Kem, Wiped},
    keyset::algorithm,
    ohttp::{CHUNKED_REQUEST_TYPE, ChunkOpener, KeyConfig, decode_list},
    shape::{bucket, pad_message},
};

use super::{relay::Relay, supply::Supply, way::Way};
use crate::{
    appliance::now,
    call::Call,
    connection::RequestBody,
    error::{Error, NetworkError, Refusal},
};

/// The gateway's resource at the appliance, for keys and for messages.
const RESOURCE: &str = "/.well-known/ohttp-gateway";
/// Longest list of keys that is read, in bytes: 8 keys of each kind have 11 kB.
const MAX_KEYS_BYTES: usize = 64 * 1024;
/// Ciphers by preference. All are good; this one is fast on the processors that appliances have.
const CIPHERS: [Aead; 3] = [Aead::Aes256Gcm, Aead::Aes128Gcm, Aead::ChaCha20Poly1305];

/// A key of the verified keyset, with the name and the ciphers that the gateway gives it.
pub(crate) struct Gateway {
    supply: Arc<Supply>,
    /// Seconds that the appliance's clock is ahead of ours, as far as it said so.
    ahead: AtomicI64,
}

/// Asks for the list of key configurations. Nothing in it is believed for itself.
///
/// # Errors
/// The network's; [`Refusal::GatewayKeys`] for anything but a list.
pub(crate) async fn fetch_configs(way: &Way) -> Result<Vec<KeyConfig>, Error> {
    let call = Call::get(RESOURCE);
    let write = || Ok((call.with_body(way.dialer().address(), Bytes::new())?, ()));
    let (answer, ()) = way.exchange(call.repeat(), write).await?;
    let (head, mut body) = answer.into_parts();
    let bytes = body.collect_up_to("the list of OHTTP keys", MAX_KEYS_BYTES).await?;
    if head.status != StatusCode::OK {
        return Err(Refusal::GatewayKeys.into());
    }
    decode_list(&bytes).map_err(|_| Refusal::GatewayKeys.into())
}

/// The name that the keyset has for keys of a mechanism.
const fn algorithm_of(kem: Kem) -> &'static str {
    match kem {
        Kem::X25519 => algorithm::OHTTP,
        Kem::XWing => algorithm::OHTTP_XWING,
    }
}

impl Gateway {
    /// Whether the keyset has a key for sealed requests. What the report says beside the keyset is not bound by evidence and does
    /// not count.
    pub(crate) fn is_offered(keyset: &Keyset) -> bool {
        [Kem::X25519, Kem::XWing].iter().any(|kem| keyset.e2ee(algorithm_of(*kem)).next().is_some())
    }

    /// The first configuration whose key is in the keyset; one that holds against quantum computers, if there is any.
    pub(crate) fn choose(keyset: &Keyset, configs: &[KeyConfig]) -> Option<Self> {
        let listed = |config: &&KeyConfig| {
            let key = hex::encode(config.key.as_bytes());
            keyset.e2ee(algorithm_of(config.key.kem())).any(|entry| entry.public_key == key)
        };
        let post_quantum = configs.iter().filter(listed).find(|config| config.key.kem() == Kem::XWing);
        let config = post_quantum.or_else(|| configs.iter().find(listed))?;
        let aead = CIPHERS.into_iter().find(|aead| config.aeads.contains(aead))?;
        Some(Self { supply: Supply::new(config.clone(), aead), ahead: AtomicI64::new(0) })
    }

    /// Whether the key holds against quantum computers.
    pub(crate) fn is_post_quantum(&self) -> bool {
        self.supply.config().key.kem() == Kem::XWing
    }

    /// Takes over the appliance's time, in seconds since 1970.
    pub(crate) fn set_clock(&self, theirs: u64) {
        let ahead = i64::try_from(theirs).unwrap_or(i64::MAX).saturating_sub(now().unix());
        self.ahead.store(ahead, Ordering::Relaxed);
    }

    /// The sealed request, for the appliance or for a relay, and what opens its answer.
    pub(crate) fn seal(
        &self,
        call: &Call,
        body: &[u8],
        authority: &str,
        way: &Way,
        relay: Option<&Relay>,
    ) -> Result<(Request<RequestBody>, ChunkOpener), Error> {
        let message = self.inner(call, body, authority);
        let sealed = self.supply.take().and_then(|prepared| prepared.seal(&message));
        let (sealed, opener) = sealed.map_err(|_| NetworkError::UnusableRequest)?;
        let mut outer = Call { method: Method::POST, ..Call::get(relay.map_or(RESOURCE, Relay::target)) };
        outer.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CHUNKED_REQUEST_TYPE));
        outer.headers.insert(HeaderName::from_static("incremental"), HeaderValue::from_static("?1"));
        Ok((outer.with_body(way.dialer().address(), sealed.into())?, opener))
    }

    /// The request in Binary HTTP, padded: how long a question is, is nobody's business.
    fn inner(&self, call: &Call, body: &[u8], authority: &str) -> Wiped {
        let mut fields: bhttp::Fields =
            call.headers.iter().map(|(name, value)| Field::new(name.as_str(), value.as_bytes())).collect();
        let time = now().unix().saturating_add(self.ahead.load(Ordering::Relaxed));
        fields.push(Field::new("date", date::write(u64::try_from(time).unwrap_or_default())));
        let head = RequestHead {
            method: call.method.to_string(),
            scheme: "https".to_owned(),
            authority: authority.to_owned(),
            path: call.path.clone(),
            fields,
        };
        let mut message = Wiped::new(Vec::with_capacity(bucket(body.len() + 1024)));
        write_request_head(&head, &mut message);
        write_content(body, &mut message);
        write_end(&[], &mut message);
        pad_message(&mut message, 0);
        message
    }
}

#[cfg(test)]
mod tests {
    use protocol::{PublicKey, hpke::SecretKey};

    use super::*;

    fn config(key_id: u8, kem: Kem, byte: u8, aeads: &[Aead]) -> KeyConfig {
        KeyConfig { key_id, key: SecretKey::derive(kem, &[byte; 32]).public_key(), aeads: aeads.to_vec() }
    }

    fn keyset(configs: &[&KeyConfig]) -> Keyset {
        let entry = |config: &&KeyConfig| PublicKey {
            key_id: config.key_id.to_string(),
            algo: algorithm_of(config.key.kem()).to_owned(),
            public_key: hex::encode(config.key.as_bytes()),
        };
        Keyset {
            subject: None,
            not_after: 1,
            receipt_signing_keys: Vec::new(),
            e2ee_public_keys: configs.iter().map(entry).collect(),
            tls_public_keys: Vec::new(),
        }
    }

    fn chosen(keyset: &Keyset, configs: &[KeyConfig]) -> Option<(u8, Aead)> {
        Gateway::choose(keyset, configs).map(|gateway| (gateway.supply.config().key_id, gateway.supply.aead()))
    }

    #[test]
    fn the_key_is_one_of_the_keyset_whatever_the_list_says() {
        let all = [Aead::Aes128Gcm, Aead::ChaCha20Poly1305, Aead::Aes256Gcm];
        let (ours, theirs) = (config(1, Kem::X25519, 1, &all), config(1, Kem::X25519, 2, &all));
        let next = config(2, Kem::X25519, 3, &all[..1]);
        let set = keyset(&[&ours, &next]);
        assert_eq!(chosen(&set, &[theirs.clone(), ours.clone()]), Some((1, Aead::Aes256Gcm)));
        assert_eq!(chosen(&set, &[theirs.clone(), next]), Some((2, Aead::Aes128Gcm)));
        assert_eq!(chosen(&set, &[theirs]), None);
        assert_eq!(chosen(&set, &[]), None);
        assert!(Gateway::is_offered(&set) && !Gateway::is_offered(&keyset(&[])));
    }

    #[test]
    fn a_key_of_another_role_is_no_key_for_this() {
        let ours = config(1, Kem::X25519, 1, &[Aead::Aes128Gcm]);
        let mut set = keyset(&[&ours]);
        set.e2ee_public_keys[0].algo = algorithm::EHBP.to_owned();
        assert_eq!(chosen(&set, &[ours]), None);
        assert!(!Gateway::is_offered(&set));
    }

    #[test]
    fn a_post_quantum_key_comes_first() {
        let (old, new) =
            (config(1, Kem::X25519, 1, &[Aead::Aes128Gcm]), config(2, Kem::XWing, 1, &[Aead::ChaCha20Poly1305]));
        assert_eq!(chosen(&keyset(&[&old, &new]), &[old.clone(), new.clone()]), Some((2, Aead::ChaCha20Poly1305)));
        assert_eq!(chosen(&keyset(&[&old]), &[old.clone(), new]), Some((1, Aead::Aes128Gcm)));
    }
}
